"""A stream of the caller's as a channel."""

from __future__ import annotations

import errno
import hashlib
import io
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.stapled import StapledByteStream

from anyq.transport.socket import Channel, ForeignStream, SocketStream
from tests.support.channels import receive_all, receive_one, send_all
from tests.support.loops import ALL_LOOPS, is_readable, waits

pytestmark = pytest.mark.anyio


MEGABYTE = 1 << 20


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


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


async def test_send_and_receive(scripted: ScriptedStream) -> None:
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


async def test_wait_is_a_checkpoint(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await channel.wait(False, True)
    assert scope.cancelled_caught
    with pytest.raises(ValueError, match="readable, writable or both"):
        await channel.wait(False, False)


async def test_backpressure(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    assert channel.try_send(bytes(MEGABYTE)) == MEGABYTE
    assert channel.try_send(b"x") == 0
    for _ in range(16):
        scripted.may_send.release()
    await channel.wait(False, True)
    assert len(scripted.sent) == MEGABYTE
    assert channel.try_send(b"x") == 1


async def test_receives_while_sending(scripted: ScriptedStream) -> None:
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


async def test_returns_between_pieces(scripted: ScriptedStream) -> None:
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


async def test_leaves_no_task_behind(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    before = len(anyio.get_running_tasks())
    scripted.may_send.release()
    channel.try_send(b"x")
    await channel.wait(False, True)
    assert len(anyio.get_running_tasks()) == before


async def test_cancelled_send_breaks_the_channel(scripted: ScriptedStream) -> None:
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


async def test_cancelled_receive_loses_nothing(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, channel, True, False)
            await anyio.wait_all_tasks_blocked()
            scripted.feed.send_nowait(b"data")
            group.cancel_scope.cancel()
        assert await receive_one(channel) == b"data"


async def test_cancelled_before_sending_tears_nothing(scripted: ScriptedStream) -> None:
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


async def test_wake(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.wake()
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, channel, True, False)
            await anyio.wait_all_tasks_blocked()
            channel.wake()
    scripted.feed.send_nowait(b"data")
    assert await receive_one(channel) == b"data"


async def test_wake_while_sending(scripted: ScriptedStream) -> None:
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


async def test_wake_after_sending(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"x")
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, False)
        await anyio.wait_all_tasks_blocked()
        scripted.may_send.release()
        await anyio.wait_all_tasks_blocked()
        channel.wake()
    assert scripted.sent == b"x"


async def test_end_of_file(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    scripted.feed.send_nowait(b"last words")
    scripted.feed.close()
    assert await receive_one(channel) == b"last words"
    assert await receive_one(channel) == b""
    assert channel.try_receive_into(memoryview(bytearray(1))) == 0
    await channel.wait(True, False)


async def test_end_of_file_ends_a_blocked_send(scripted: ScriptedStream) -> None:
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


async def test_receive_error(scripted: ScriptedStream) -> None:
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


async def test_send_error_leaves_the_rest_to_read(scripted: ScriptedStream) -> None:
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


async def test_one_task_at_a_time(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    async with anyio.create_task_group() as group:
        group.start_soon(waits, channel, True, False)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await channel.wait(True, False)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("sending", [False, True])
async def test_close_reaches_the_waiting_task(scripted: ScriptedStream, sending: bool) -> None:
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


async def test_close_sends_the_rest(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"farewell")
    scripted.may_send.release()
    await channel.aclose()
    assert scripted.sent == b"farewell"
    assert scripted.closed and not scripted.closed_by_force


async def test_close_does_not_wait_for_long(scripted: ScriptedStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyq.transport.foreign._FLUSH_SECONDS", 0.01)
    channel = ForeignStream(scripted)
    channel.try_send(b"farewell")
    await channel.aclose()
    assert scripted.closed


async def test_cancelled_close(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    channel.try_send(b"farewell")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await channel.aclose()
    assert scope.cancelled_caught
    assert scripted.closed_by_force
    with pytest.raises(anyio.ClosedResourceError):
        channel.try_receive(1)


async def test_fileno(tmp_path: Path) -> None:
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


async def test_without_a_socket(scripted: ScriptedStream) -> None:
    channel = ForeignStream(scripted)
    with pytest.raises(io.UnsupportedOperation, match="no file descriptor.*ScriptedStream") as caught:
        channel.fileno()
    assert isinstance(caught.value, OSError)
