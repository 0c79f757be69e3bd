from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import hashlib
import io
import operator
import os
import selectors
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
import trio.testing
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.stapled import StapledByteStream

from anyq.transport.socket import Channel, ForeignStream, SocketStream, as_channel
from anyq.transport.tls import TlsStream
from tests.support.certificates import Certificates
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


async def send_all(channel: Channel, data: bytes) -> None:
    """Send everything before reading anything, as a client with a long pipeline does."""
    rest = memoryview(data)
    while rest:
        rest = rest[channel.try_send(rest) :]
        if rest:
            await channel.wait(False, True)
    await channel.wait(False, True)


async def receive_all(channel: Channel, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = channel.try_receive(65536)
        if chunk is None:
            await channel.wait(True, False)
        else:
            assert chunk, "end of file"
            data += chunk
    return bytes(data)


async def receive_one(channel: Channel) -> bytes:
    while True:
        chunk = channel.try_receive(65536)
        if chunk is not None:
            return chunk
        await channel.wait(True, False)


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
    assert os.path.sameopenfile(fd, sockets[0].fileno())
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


# --- ForeignStream ---


class ScriptedStream(ByteStream):
    """A stream whose every send and receive happens when the test says so."""

    def __init__(self) -> None:
        self.feed, self._incoming = anyio.create_memory_object_stream[bytes | Exception](1000)
        self.sent = bytearray()
        self.sends = 0
        self.may_send = anyio.Semaphore(0)
        self.send_error: Exception | None = None
        self.closed = self.closed_by_force = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        item = await self._incoming.receive()
        if isinstance(item, Exception):
            raise item
        return item

    async def send(self, item: bytes) -> None:
        self.sends += 1
        await self.may_send.acquire()
        if self.send_error is not None:
            raise self.send_error
        self.sent += item

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True
        self.feed.close()
        self._incoming.close()
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException:
            self.closed_by_force = True
            raise


@pytest.fixture
async def scripted(anyio_backend: Any) -> AsyncIterator[ScriptedStream]:
    stream = ScriptedStream()
    yield stream
    await stream.aclose()


async def unix_pair(path: Path) -> tuple[ByteStream, ByteStream]:
    """Return the two ends of a connection that anyio has made."""
    accepted: list[ByteStream] = []
    listener = await anyio.create_unix_listener(path)

    async def handle(stream: ByteStream) -> None:
        accepted.append(stream)
        group.cancel_scope.cancel()

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        connected = await anyio.connect_unix(path)
        await anyio.sleep_forever()
    return connected, accepted[0]


@pytest.mark.parametrize("kind", ["anyio", "ours", "stapled"])
async def test_big_transfers_both_ways_at_once(tmp_path: Path, kind: str) -> None:
    """Both ends write everything before they read anything."""
    size = 8 * MEGABYTE
    if kind == "ours":
        ends: list[ByteStream] = [SocketStream(sock) for sock in socket.socketpair()]
    else:
        ends = [*await unix_pair(tmp_path / "socket")]
    if kind == "stapled":
        ends = [StapledByteStream(end, end) for end in ends]
    channels = [ForeignStream(end) for end in ends]
    digests: dict[int, str] = {}

    async def transfer(channel: Channel, number: int) -> None:
        await send_all(channel, bytes([number]) * size)
        digests[number] = hashlib.sha256(await receive_all(channel, size)).hexdigest()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number, channel in enumerate(channels):
                group.start_soon(transfer, channel, number)
    assert digests == {number: hashlib.sha256(bytes([1 - number]) * size).hexdigest() for number in (0, 1)}
    for channel in channels:
        await channel.aclose()


async def test_foreign_send_and_receive(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    scripted.may_send.release()
    assert channel.try_receive(10) is None
    assert channel.try_send(b"hel") == 3
    assert channel.try_send(memoryview(b"lo")) == 2
    assert scripted.sent == b""
    await channel.wait(False, True)
    assert scripted.sent == b"hello"
    scripted.feed.send_nowait(b"abcdef")
    await channel.wait(True, False)
    assert channel.try_receive(2) == b"ab"
    buffer = bytearray(b"......")
    assert channel.try_receive_into(memoryview(buffer)[:3]) == 3
    assert buffer == b"cde..."
    await channel.wait(True, False)
    assert channel.try_receive(10) == b"f"
    assert channel.try_receive(10) is None


async def test_foreign_wait_is_a_checkpoint(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await channel.wait(False, True)
    assert scope.cancelled_caught
    with pytest.raises(ValueError, match="readable, writable or both"):
        await channel.wait(False, False)


async def test_foreign_backpressure(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    assert channel.try_send(bytes(MEGABYTE)) == MEGABYTE
    assert channel.try_send(b"x") == 0
    for _ in range(16):
        scripted.may_send.release()
    await channel.wait(False, True)
    assert len(scripted.sent) == MEGABYTE
    assert channel.try_send(b"x") == 1


async def test_foreign_receives_while_sending(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"x")
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, False)
        await anyio.wait_all_tasks_blocked()
        for number in range(3):
            scripted.feed.send_nowait(bytes([number]))
            await anyio.wait_all_tasks_blocked()
        # Data has come, but what is on its way must arrive first.
        assert len(anyio.get_running_tasks()) > 2
        scripted.may_send.release()
    assert [channel.try_receive(10) for _ in range(4)] == [b"\0", b"\1", b"\2", None]
    assert scripted.sent == b"x"


async def test_foreign_returns_between_pieces(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(bytes(4 * 65536))
    scripted.feed.send_nowait(b"early")
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, True)
        await anyio.wait_all_tasks_blocked()
        scripted.may_send.release()
    assert channel.try_receive(10) == b"early"
    assert scripted.sends == 1
    assert len(scripted.sent) == 65536


async def test_foreign_leaves_no_task_behind(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    before = len(anyio.get_running_tasks())
    scripted.may_send.release()
    channel.try_send(b"x")
    await channel.wait(False, True)
    assert len(anyio.get_running_tasks()) == before


async def test_foreign_cancelled_send_breaks_the_channel(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"x")
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, False)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    for use in (
        lambda: channel.try_send(b"x"),
        lambda: channel.try_receive(1),
        lambda: channel.try_receive_into(memoryview(bytearray(1))),
    ):
        with pytest.raises(anyio.BrokenResourceError, match="cancellation"):
            use()
    with pytest.raises(anyio.BrokenResourceError, match="cancellation"):
        await channel.wait(True, False)
    await channel.aclose()
    assert scripted.closed


async def test_foreign_cancelled_receive_loses_nothing(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, channel, True, False)
            await anyio.wait_all_tasks_blocked()
            scripted.feed.send_nowait(b"data")
            group.cancel_scope.cancel()
        assert await receive_one(channel) == b"data"


async def test_foreign_cancelled_before_sending_tears_nothing(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"x")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await channel.wait(True, True)
    assert scope.cancelled_caught
    assert scripted.sends == 0
    scripted.may_send.release()
    await channel.wait(False, True)
    assert scripted.sent == b"x"


async def test_foreign_wake(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.wake()
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, channel, True, False)
            await anyio.wait_all_tasks_blocked()
            channel.wake()
    scripted.feed.send_nowait(b"data")
    assert await receive_one(channel) == b"data"


async def test_foreign_wake_while_sending(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(bytes(3 * 65536))
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, True)
        await anyio.wait_all_tasks_blocked()
        channel.wake()
        await anyio.wait_all_tasks_blocked()
        scripted.may_send.release()
    # Whole pieces only, and the rest is still there.
    assert len(scripted.sent) == 65536
    scripted.may_send.release()
    scripted.may_send.release()
    await channel.wait(False, True)
    assert len(scripted.sent) == 3 * 65536


async def test_foreign_wake_after_sending(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"x")
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, False)
        await anyio.wait_all_tasks_blocked()
        scripted.may_send.release()
        await anyio.wait_all_tasks_blocked()
        channel.wake()
    assert scripted.sent == b"x"


async def test_foreign_end_of_file(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    scripted.feed.send_nowait(b"last words")
    scripted.feed.close()
    assert await receive_one(channel) == b"last words"
    assert await receive_one(channel) == b""
    assert channel.try_receive_into(memoryview(bytearray(1))) == 0
    await channel.wait(True, False)


async def test_foreign_end_of_file_ends_a_blocked_send(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"x")
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, False, True)
        await anyio.wait_all_tasks_blocked()
        scripted.feed.send_nowait(b"last words")
        await anyio.wait_all_tasks_blocked()
        scripted.feed.close()
    assert channel.try_receive(100) == b"last words"
    assert channel.try_receive(100) == b""
    with pytest.raises(anyio.BrokenResourceError):
        channel.try_send(b"x")


async def test_foreign_receive_error(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    error = anyio.BrokenResourceError("lost")
    scripted.feed.send_nowait(b"last words")
    scripted.feed.send_nowait(error)
    assert await receive_one(channel) == b"last words"
    for _ in range(2):
        await channel.wait(True, False)
        with pytest.raises(anyio.BrokenResourceError, match="lost") as caught:
            channel.try_receive(100)
        assert caught.value.__cause__ is error


async def test_foreign_send_error_leaves_the_rest_to_read(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    scripted.send_error = BrokenPipeError(errno.EPIPE, "broken pipe")
    scripted.may_send.release()
    channel.try_send(b"x")
    await channel.wait(False, True)
    with pytest.raises(anyio.BrokenResourceError, match="broken pipe") as caught:
        channel.try_send(b"x")
    assert caught.value.__cause__ is scripted.send_error
    scripted.feed.send_nowait(b"last words")
    assert await receive_one(channel) == b"last words"


async def test_foreign_one_task_at_a_time(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, False)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await channel.wait(True, False)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("sending", [False, True])
async def test_foreign_close_reaches_the_waiting_task(scripted: ScriptedStream, sending: bool) -> None:
    channel = ForeignStream(scripted)
    if sending:
        channel.try_send(b"x")

    async def wait() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await channel.wait(True, False)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        channel.close_now()
        channel.close_now()
    with pytest.raises(anyio.ClosedResourceError):
        channel.try_send(b"x")
    with pytest.raises(anyio.ClosedResourceError):
        await channel.wait(True, False)
    with pytest.raises(anyio.ClosedResourceError):
        channel.fileno()
    await channel.aclose()
    assert scripted.closed


async def test_foreign_close_sends_the_rest(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"farewell")
    scripted.may_send.release()
    await channel.aclose()
    assert scripted.sent == b"farewell"
    assert scripted.closed and not scripted.closed_by_force


async def test_foreign_close_does_not_wait_for_long(scripted: ScriptedStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyq.transport.foreign._FLUSH_SECONDS", 0.01)
    channel = ForeignStream(scripted)
    channel.try_send(b"farewell")
    await channel.aclose()
    assert scripted.closed


async def test_foreign_cancelled_close(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"farewell")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await channel.aclose()
    assert scope.cancelled_caught
    assert scripted.closed_by_force
    with pytest.raises(anyio.ClosedResourceError):
        channel.try_receive(1)


async def test_foreign_fileno(tmp_path: Path) -> None:
    ours, theirs = await unix_pair(tmp_path / "socket")
    channel = ForeignStream(ours)
    fd = channel.fileno()
    assert fd == channel.fileno() != ours.extra(SocketAttribute.raw_socket).fileno()
    async with anyio.create_task_group() as group:
        group.start_soon(is_readable, fd)
        await anyio.wait_all_tasks_blocked()
        await theirs.send(b"x")
    assert await receive_one(channel) == b"x"
    channel.close_now()
    # The other side hears of it before the stream is closed.
    with pytest.raises(anyio.EndOfStream):
        await theirs.receive()
    await channel.aclose()
    await theirs.aclose()


async def test_foreign_without_a_socket(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    with pytest.raises(io.UnsupportedOperation, match="no file descriptor.*ScriptedStream") as caught:
        channel.fileno()
    assert isinstance(caught.value, OSError)


# --- as_channel ---


async def test_as_channel(stream: SocketStream, scripted: ScriptedStream) -> None:
    assert as_channel(stream) is stream
    channel = as_channel(scripted)
    assert isinstance(channel, ForeignStream)
    assert as_channel(channel) is channel
    with pytest.raises(TypeError, match="ByteStream, not socket"):
        as_channel(stream.extra(SocketAttribute.raw_socket))  # type: ignore[arg-type]
