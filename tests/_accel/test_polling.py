"""What is done with a socket, in each implementation."""

from __future__ import annotations

import errno
import importlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from anyq._accel import python
from tests.support.twins import COMPILED

IMPLEMENTATIONS: dict[str, ModuleType] = {"python": python}
if COMPILED:
    IMPLEMENTATIONS["cython"] = importlib.import_module("anyq._accel.polling")


@pytest.fixture(params=list(IMPLEMENTATIONS.values()), ids=list(IMPLEMENTATIONS))
def polling(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def test_whether_a_socket_is_readable_soon(polling: ModuleType) -> None:
    readable_within: Callable[[int, float], bool] = polling.readable_within
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            start = time.perf_counter()
            assert not readable_within(ours.fileno(), 0.01)
            assert time.perf_counter() - start >= 0.01
            # Other threads run meanwhile, so this one is not waited for in vain.
            sending = threading.Thread(target=theirs.send, args=(b"x",))
            sending.start()
            assert readable_within(ours.fileno(), 20)
            sending.join()
            # There already, and whatever the time is.
            assert readable_within(ours.fileno(), 0)
            assert ours.recv(10) == b"x"
            assert not readable_within(ours.fileno(), 0)
        # Its end is something to read.
        assert readable_within(ours.fileno(), 20)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 20_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(b"x" + data)[1:]])
def test_sending(
    polling: ModuleType, pair: tuple[socket.socket, socket.socket], size: int, kind: Callable[[bytes], bytes]
) -> None:
    ours, theirs = pair
    data = os.urandom(size)
    assert polling.send_now(ours, kind(data)) == size
    if size:
        assert theirs.recv(30_000) == data


@pytest.mark.parametrize("most", [1, 4095, 4096, 4097, 8192, 20_000])
def test_receiving_no_more_than_asked(
    polling: ModuleType, pair: tuple[socket.socket, socket.socket], most: int
) -> None:
    ours, theirs = pair
    data = os.urandom(10_000)
    theirs.sendall(data)
    received = polling.receive_now(ours, most)
    assert received == data[:most]
    rest = b""
    while (piece := polling.receive_now(ours, most)) is not None:
        rest += piece
    assert received + rest == data


@pytest.mark.parametrize("size", [0, 10, 4096, 5000])
def test_the_end_comes_behind_the_rest(
    polling: ModuleType, pair: tuple[socket.socket, socket.socket], size: int
) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * size)
    theirs.close()
    if size:
        assert polling.receive_now(ours, 10_000) == b"x" * size
    assert polling.receive_now(ours, 10_000) == b""


def test_what_would_block_is_said(polling: ModuleType, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    assert polling.receive_now(ours, 100) is None
    piece = bytes(100_000)
    sent = 0
    while (count := polling.send_now(ours, piece)) > 0:
        sent += count
    assert sent > 0
    assert polling.send_now(ours, b"x") == 0
    while sent > 0:
        sent -= len(theirs.recv(100_000))
    assert polling.send_now(ours, b"x") == 1


@pytest.mark.parametrize("size", [1, 5000])
def test_a_connection_that_was_reset(polling: ModuleType, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with pytest.raises(ConnectionResetError):
            polling.receive_now(ours, size)
        with pytest.raises(BrokenPipeError):
            polling.send_now(ours, bytes(size))


@pytest.mark.skipif(os.name == "nt", reason="a socket's descriptor is no file's there")
def test_the_number_of_a_closed_socket_may_be_a_strangers(
    polling: ModuleType, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    stranger, friend = socket.socketpair()
    with stranger, friend:
        number = ours.fileno()
        ours.close()
        os.dup2(stranger.fileno(), number)
        try:
            friend.sendall(b"for the stranger")
            friend.setblocking(False)
            for use, what in (polling.send_now, b"secret"), (polling.receive_now, 100):
                with pytest.raises(OSError) as caught:
                    use(ours, what)
                assert caught.value.errno == errno.EBADF
            with pytest.raises(BlockingIOError):
                friend.recv(100)
            assert stranger.recv(100) == b"for the stranger"
        finally:
            os.close(number)
