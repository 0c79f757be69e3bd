"""Sockets of our own, as channels and as anyio streams; over TLS too."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import operator
import os
import selectors
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio
import trio.testing
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.stapled import StapledByteStream

from anyq.backends.blocking import BlockingBackend
from anyq.transport.foreign import ForeignStream
from anyq.transport.socket import SocketStream, as_channel
from anyq.transport.tls import TlsStream
from tests.support.certificates import Certificates
from tests.support.channels import receive_one
from tests.support.loops import ALL_LOOPS, is_readable, waits
from tests.support.tlspair import tls_ends

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


def over_tls() -> tuple[socket.socket, socket.socket]:
    """Stands for a connection with TLS on it, see `ends`."""
    return tcp_pair()


@pytest.fixture(params=[socket.socketpair, tcp_pair, over_tls], ids=["unix", "tcp", "tls"])
def sockets(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = request.param()
    with ours, theirs:
        yield ours, theirs


HALF_CLOSEABLE = pytest.mark.parametrize("sockets", [socket.socketpair, tcp_pair], ids=["unix", "tcp"], indirect=True)


@pytest.fixture
async def ends(
    request: pytest.FixtureRequest, anyio_backend: Any, sockets: tuple[socket.socket, socket.socket]
) -> AsyncIterator[tuple[SocketStream, socket.socket]]:
    """Our stream, and the other end of it, blocking but for a while only."""
    ours, theirs = sockets
    theirs.settimeout(10)
    if request.node.callspec.params["sockets"] is over_tls:
        certificates: Certificates = request.getfixturevalue("certificates")
        stream: SocketStream | TlsStream
        stream, theirs = await tls_ends(ours, theirs, certificates)
    else:
        stream = SocketStream(ours)
    yield stream, theirs
    stream.close_now()
    theirs.close()


@pytest.fixture
def stream(ends: tuple[SocketStream, socket.socket]) -> SocketStream:
    return ends[0]


@pytest.fixture
def peer(ends: tuple[SocketStream, socket.socket]) -> socket.socket:
    return ends[1]


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of an end of file (TCP)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def receive_from(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(sock.recv(size))


# --- SocketStream as a channel ---


async def test_send_and_receive(stream: SocketStream, peer: socket.socket) -> None:
    assert stream.try_receive(10) is None
    assert stream.try_send(b"hello") == 5
    assert stream.try_send(b"") == 0
    assert peer.recv(10) == b"hello"
    peer.send(b"abcdef")
    await stream.wait(True, False)
    assert stream.try_receive(2) == b"ab"
    buffer = bytearray(b"......")
    assert stream.try_receive_into(memoryview(buffer)[:3]) == 3
    assert buffer == b"cde..."
    assert stream.try_receive_into(memoryview(buffer)) == 1
    assert stream.try_receive_into(memoryview(buffer)) is None


async def test_full_socket_would_block(stream: SocketStream, peer: socket.socket) -> None:
    sent = 0
    while taken := stream.try_send(bytes(65536)):
        sent += taken
    async with anyio.create_task_group() as group:
        group.start_soon(waits, stream, False, True)
        await anyio.wait_all_tasks_blocked()
        # In a thread, as what TLS has encrypted is sent while the task waits.
        await anyio.to_thread.run_sync(receive_from, peer, sent)
    assert stream.try_send(b"x") == 1


async def test_end_of_file(stream: SocketStream, peer: socket.socket) -> None:
    peer.send(b"last words")
    peer.close()
    assert await receive_one(stream) == b"last words"
    await stream.wait(True, False)
    assert stream.try_receive(10) == b""
    assert stream.try_receive_into(memoryview(bytearray(10))) == 0


@pytest.mark.parametrize("sockets", [tcp_pair, over_tls], indirect=True)
@pytest.mark.parametrize("into", [False, True])
async def test_reset_connection(stream: SocketStream, peer: socket.socket, into: bool) -> None:
    reset(peer)
    await stream.wait(True, False)
    with pytest.raises(anyio.BrokenResourceError, match="reset by peer") as caught:
        if into:
            stream.try_receive_into(memoryview(bytearray(10)))
        else:
            stream.try_receive(10)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("sockets", [socket.socketpair], indirect=True)
async def test_broken_pipe(stream: SocketStream, peer: socket.socket) -> None:
    peer.close()
    await stream.wait(False, True)
    with pytest.raises(anyio.BrokenResourceError) as caught:
        stream.try_send(b"x")
    assert isinstance(caught.value.__cause__, BrokenPipeError)


async def test_closed(stream: SocketStream, peer: socket.socket) -> None:
    stream.close_now()
    stream.close_now()
    assert peer.recv(1) == b""
    for use in (
        lambda: stream.try_send(b"x"),
        lambda: stream.try_receive(1),
        lambda: stream.try_receive_into(memoryview(bytearray(1))),
        stream.fileno,
        lambda: stream.extra(SocketAttribute.local_address),
    ):
        with pytest.raises(anyio.ClosedResourceError):
            use()
    stream.wake()
    for operation in (
        lambda: stream.wait(True, False),
        lambda: stream.send(b"x"),
        stream.receive,
        stream.send_eof,
    ):
        if operation == stream.send_eof and isinstance(stream, TlsStream):
            continue
        with pytest.raises(anyio.ClosedResourceError):
            await operation()
    await stream.aclose()


async def test_cancelled_aclose_closes(stream: SocketStream, peer: socket.socket) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stream.aclose()
    assert scope.cancelled_caught
    assert peer.recv(1) == b""


async def test_close_and_wake_reach_the_waiting_task(stream: SocketStream) -> None:
    async def wait() -> None:
        await stream.wait(True, False)
        with pytest.raises(anyio.ClosedResourceError):
            await stream.wait(True, False)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        stream.wake()
        await anyio.wait_all_tasks_blocked()
        stream.close_now()


async def test_cancelled_wait_loses_nothing(stream: SocketStream, peer: socket.socket) -> None:
    for mode in ((True, False), (True, True)):
        while stream.try_send(bytes(65536)):
            pass
        async with anyio.create_task_group() as group:
            group.start_soon(waits, stream, *mode)
            await anyio.wait_all_tasks_blocked()
            peer.send(b"data")
            group.cancel_scope.cancel()
        assert await receive_one(stream) == b"data"


async def test_options_of_the_socket(stream: SocketStream, sockets: tuple[socket.socket, socket.socket]) -> None:
    ours = sockets[0]
    assert ours.gettimeout() == 0
    assert stream.peer == (ours.family, ours.getpeername())
    if ours.family == socket.AF_INET:
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_unclosed_stream_warns_and_closes(anyio_backend: Any) -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    stream: SocketStream | None = SocketStream(ours)
    assert stream is not None
    del ours
    theirs.send(b"x")
    await stream.wait(True, False)  # the event loop has it registered from here on
    stream.fileno()
    with pytest.warns(ResourceWarning, match="unclosed <anyq.transport.socket.SocketStream"):
        stream = None
        gc.collect()
    with contextlib.suppress(ConnectionResetError):  # for the byte that was not read
        assert theirs.recv(1) == b""
    # A number that is used again must not meet the old registration.
    again = SocketStream(theirs)
    await again.wait(True, False)
    again.close_now()


# --- the descriptor for the user ---


async def test_fileno_is_a_duplicate(stream: SocketStream, sockets: tuple[socket.socket, socket.socket]) -> None:
    fd = stream.fileno()
    assert fd == stream.fileno()
    assert fd != sockets[0].fileno()
    assert os.fstat(fd).st_ino == os.fstat(sockets[0].fileno()).st_ino
    stream.close_now()
    with pytest.raises(OSError) as caught:
        os.fstat(fd)
    assert caught.value.errno == errno.EBADF


async def test_fileno_with_selectors(stream: SocketStream, peer: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        assert not selector.select(0)
        peer.send(b"x")
        assert selector.select(10)
        assert await receive_one(stream) == b"x"
        assert not selector.select(0)


async def test_fileno_beside_our_own_registration(stream: SocketStream, peer: socket.socket) -> None:
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, stream, True, False)
            group.start_soon(is_readable, stream.fileno())
            await anyio.wait_all_tasks_blocked()
            peer.send(b"x")
        assert await receive_one(stream) == b"x"


@pytest.mark.parametrize("anyio_backend", ALL_LOOPS[:2], indirect=True)
async def test_fileno_with_add_reader(stream: SocketStream, peer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(stream.fileno(), event.set)
    for _ in range(2):
        event.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(waits, stream, True, False)
            group.start_soon(event.wait)
            await anyio.wait_all_tasks_blocked()
            peer.send(b"x")
        assert await receive_one(stream) == b"x"
    loop.remove_reader(stream.fileno())


# --- SocketStream as an anyio ByteStream ---


@HALF_CLOSEABLE
async def test_byte_stream(stream: SocketStream, sockets: tuple[socket.socket, socket.socket]) -> None:
    other = SocketStream(sockets[1])
    data = os.urandom(MEGABYTE)

    async def echo() -> None:
        async for chunk in other:
            await other.send(chunk)
        await other.send_eof()

    async def send() -> None:
        await stream.send(data)
        await stream.send_eof()

    received = bytearray()
    async with anyio.create_task_group() as group:
        group.start_soon(echo)
        group.start_soon(send)
        with pytest.raises(anyio.EndOfStream):
            while True:
                received += await stream.receive()
    assert received == data
    await other.aclose()


async def test_receive_at_most(stream: SocketStream, peer: socket.socket) -> None:
    peer.send(b"abc")
    assert await stream.receive(2) == b"ab"
    assert await stream.receive(2) == b"c"


async def test_one_receiver_and_one_sender(stream: SocketStream) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(stream.receive)
        group.start_soon(stream.send, bytes(64 * MEGABYTE))
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await stream.receive()
        with pytest.raises(anyio.BusyResourceError):
            await stream.send(b"x")
        if not isinstance(stream, TlsStream):
            with pytest.raises(anyio.BusyResourceError):
                await stream.send_eof()
        with pytest.raises(anyio.BusyResourceError):
            await stream.wait(False, True)
        group.cancel_scope.cancel()


async def test_close_during_receive_and_send(stream: SocketStream) -> None:
    async def expect_closed(operation: Callable[[], Any]) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await operation()

    async with anyio.create_task_group() as group:
        group.start_soon(expect_closed, stream.receive)
        group.start_soon(expect_closed, lambda: stream.send(bytes(64 * MEGABYTE)))
        await anyio.wait_all_tasks_blocked()
        stream.close_now()


@HALF_CLOSEABLE
async def test_send_eof_is_a_checkpoint(stream: SocketStream) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stream.send_eof()
    assert scope.cancelled_caught


@pytest.mark.parametrize("name", ["receive", "send", "aclose"])
async def test_byte_stream_methods_are_checkpoints(stream: SocketStream, peer: socket.socket, name: str) -> None:
    peer.send(b"x")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await getattr(stream, name)(*([b"x"] if name == "send" else []))
    assert scope.cancelled_caught
    if name == "receive":
        assert await stream.receive() == b"x"


async def test_socket_attributes(stream: SocketStream, sockets: tuple[socket.socket, socket.socket]) -> None:
    ours = sockets[0]
    assert stream.extra(SocketAttribute.raw_socket) is ours
    assert stream.extra(SocketAttribute.family) == ours.family
    assert stream.extra(SocketAttribute.local_address) == ours.getsockname()
    assert stream.extra(SocketAttribute.remote_address) == ours.getpeername()
    if ours.family == socket.AF_INET:
        assert stream.extra(SocketAttribute.local_port) == ours.getsockname()[1]
        assert stream.extra(SocketAttribute.remote_port) == ours.getpeername()[1]
    else:
        assert stream.extra(SocketAttribute.local_port, None) is None


async def test_works_below_other_streams(stream: SocketStream, peer: socket.socket) -> None:
    peer.send(b"one\ntwo\n")
    lines = BufferedByteReceiveStream(stream)
    assert await lines.receive_until(b"\n", 100) == b"one"
    assert await lines.receive_until(b"\n", 100) == b"two"


class AsTrio(trio.abc.HalfCloseableStream):
    """Our stream as trio's conformance kit wants it."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        # wait_send_all_might_not_block() is of the channel, and those are not to be mixed.
        self.guard = anyio.ResourceGuard("sending on")

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        try:
            self.guard.__enter__()
        except anyio.BusyResourceError as error:
            raise trio.BusyResourceError from error
        try:
            yield
        finally:
            self.guard.__exit__(None, None, None)

    async def translate(self, operation: Callable[[], Any]) -> Any:
        try:
            return await operation()
        except anyio.EndOfStream:
            return b""
        except anyio.BrokenResourceError as error:
            raise trio.BrokenResourceError from error
        except anyio.BusyResourceError as error:
            raise trio.BusyResourceError from error
        except anyio.ClosedResourceError as error:
            raise trio.ClosedResourceError from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self.guarded():
            await self.translate(lambda: self.stream.send(data))

    async def wait_send_all_might_not_block(self) -> None:
        with self.guarded():
            await self.translate(lambda: self.stream.wait(False, True))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be positive")
        # A socket would refuse what is no integer; TLS need not ask it.
        size = 65536 if max_bytes is None else operator.index(max_bytes)
        received: bytes = await self.translate(lambda: self.stream.receive(size))
        return received

    async def send_eof(self) -> None:
        with self.guarded():
            await self.translate(self.stream.send_eof)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def clog(ours: AsTrio, theirs: AsTrio) -> tuple[AsTrio, AsTrio]:
    for end in (ours, theirs):
        while end.stream.try_send(bytes(65536)):
            pass
    return ours, theirs


@pytest.mark.parametrize("anyio_backend", ALL_LOOPS[-1:], indirect=True)
async def test_trio_conformance_kit(anyio_backend: Any) -> None:
    # Not over TCP: a full TCP connection has room again a moment later, as its buffers grow.
    async def pair() -> tuple[AsTrio, AsTrio]:
        ours, theirs = socket.socketpair()
        return AsTrio(SocketStream(ours)), AsTrio(SocketStream(theirs))

    async def clogged_pair() -> tuple[AsTrio, AsTrio]:
        return await clog(*await pair())

    await trio.testing.check_half_closeable_stream(pair, clogged_pair)


@pytest.mark.parametrize("anyio_backend", ALL_LOOPS[-1:], indirect=True)
async def test_trio_conformance_kit_over_tls(anyio_backend: Any, certificates: Certificates) -> None:
    server = partial(certificates.server_context("right").wrap_bio, server_side=True)
    client = partial(certificates.client_context().wrap_bio, server_hostname="localhost")

    async def pair() -> tuple[AsTrio, AsTrio]:
        ours, theirs = socket.socketpair()
        ends = [TlsStream(SocketStream(ours), client), TlsStream(SocketStream(theirs), server)]
        async with anyio.create_task_group() as group:
            for end in ends:
                group.start_soon(end.handshake)
        return AsTrio(ends[0]), AsTrio(ends[1])

    async def clogged_pair() -> tuple[AsTrio, AsTrio]:
        return await clog(*await pair())

    await trio.testing.check_two_way_stream(pair, clogged_pair)


async def test_as_channel(stream: SocketStream) -> None:
    assert as_channel(stream) is stream
    with socket.socket() as sock:
        channel = as_channel(StapledByteStream(stream, stream))
        assert isinstance(channel, ForeignStream)
        assert as_channel(channel) is channel
        with pytest.raises(TypeError, match="ByteStream, not socket"):
            as_channel(sock)  # type: ignore[arg-type]


# -- lent to another backend


async def test_what_is_lent_is_waited_for_elsewhere(anyio_backend: Any) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = SocketStream(ours)
        backend = BlockingBackend(stream.backend, ours)
        for _ in range(2):
            stream.lend(backend, backend.waiter)
        assert stream.wait(True, False) is backend.waiter.wait(True, False)
        stream.wake()
        assert stream.backend is backend
        for _ in range(2):
            stream.take_back()
        assert stream.backend is not backend
        theirs.send(b"x")
        await stream.wait(True, False)
        assert stream.try_receive(10) == b"x"
        await stream.aclose()


async def test_what_is_lent_is_closed_by_the_loop(anyio_backend: Any) -> None:
    """Which may have the descriptor registered."""
    ours, theirs = socket.socketpair()
    with theirs:
        stream = SocketStream(ours)
        backend = BlockingBackend(stream.backend, ours)
        stream.lend(backend, backend.waiter)
        stream.close_now()
        stream.close_now()
        assert ours.fileno() != -1
        with pytest.raises(anyio.ClosedResourceError):
            stream.fileno()
        while ours.fileno() != -1:
            await anyio.lowlevel.checkpoint()
        stream.take_back()
        assert theirs.recv(1) == b""


def test_what_is_lent_is_closed_at_once_where_the_loop_has_ended() -> None:
    ours, theirs = socket.socketpair()

    async def lend() -> SocketStream:
        stream = SocketStream(ours)
        backend = BlockingBackend(stream.backend, ours)
        stream.lend(backend, backend.waiter)
        return stream

    with theirs:
        asyncio.run(lend()).close_now()
        assert ours.fileno() == -1
