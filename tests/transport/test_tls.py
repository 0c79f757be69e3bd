"""What is special about a stream with TLS on it; the rest is in test_socket.py, which runs over TLS too."""

from __future__ import annotations

import os
import select
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
import pytest
from anyio.abc import SocketAttribute

from anyq.transport.socket import SocketStream
from anyq.transport.tls import TlsStream
from tests.support.certificates import Certificates
from tests.support.loops import ALL_LOOPS
from tests.support.stepping import cancel_at_each_wait
from tests.support.tlspair import tls_ends

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *args: object) -> T:
    return await anyio.to_thread.run_sync(function, *args)


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def receive_all(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        assert chunk, "end of file"
        data += chunk
    return bytes(data)


async def receive_one(stream: TlsStream, size: int = 65536) -> bytes:
    while (chunk := stream.try_receive(size)) is None:
        await stream.wait(True, False)
    return chunk


async def test_what_was_negotiated(sockets: tuple[socket.socket, socket.socket], certificates: Certificates) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    assert stream.tls is not None
    cipher = peer.cipher()
    assert cipher is not None
    assert stream.tls.attributes == {
        "library": "OpenSSL",
        "protocol": "TLSv1.3",
        "cipher": cipher[0],
        "key_bits": str(cipher[2]),
        "compression": "off",
        "alpn": "postgresql",
    }
    assert stream.tls.verified
    assert stream.tls.certificate == certificates.der("right")
    stream.close_now()
    peer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_big_transfers_both_ways_at_once(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = certificates.server_context("right")
    context.maximum_version = version
    size = 4 * MEGABYTE
    stream, peer = await tls_ends(*sockets, certificates, server=context)
    other = os.urandom(size)
    mine = os.urandom(size)
    received = bytearray()

    def echo() -> bytes:
        peer.sendall(other)
        return receive_all(peer, size)

    async def receive() -> None:
        while len(received) < size:
            received.extend(await stream.receive())

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        # What the other end does not take yet is encrypted and kept, so this has to go on by itself.
        group.start_soon(stream.send, mine)
        assert await in_thread(echo) == mine
    assert received == other
    stream.close_now()
    peer.close()


async def test_receive_into_a_big_buffer(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    data = os.urandom(MEGABYTE)
    buffer = bytearray(MEGABYTE)
    view = memoryview(buffer)
    async with anyio.create_task_group() as group:
        group.start_soon(in_thread, peer.sendall, data)
        while view:
            got = stream.try_receive_into(view)
            if got is None:
                await stream.wait(True, False)
            else:
                assert got
                view = view[got:]
    assert buffer == data
    stream.close_now()
    peer.close()


async def test_nothing_is_left_behind_the_descriptor(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    """Who waits for the descriptor would never hear of what was decrypted already and not handed out."""
    stream, peer = await tls_ends(*sockets, certificates)
    received = 0
    async with anyio.create_task_group() as group:
        group.start_soon(in_thread, peer.sendall, bytes(MEGABYTE))
        while received < MEGABYTE:
            chunk = stream.try_receive(65536)
            if chunk is None:
                await stream.wait(True, False)
                continue
            received += len(chunk)
            assert len(chunk) <= 65536
            if not select.select([stream.fileno()], [], [], 0)[0]:
                rest = stream.try_receive(65536)
                # Something may have come in between these two lines; nothing has, if it is not readable still.
                assert rest is None or received + len(rest) <= MEGABYTE
                received += len(rest or b"")
    assert stream.try_receive(65536) is None
    stream.close_now()
    peer.close()


class Waiting:
    """A task that waits at a stream, and whether it still does when every task waits for something."""

    def __init__(self, group: anyio.abc.TaskGroup, stream: TlsStream, readable: bool, writable: bool) -> None:
        self._over = False
        group.start_soon(self._wait, stream, readable, writable)

    async def _wait(self, stream: TlsStream, readable: bool, writable: bool) -> None:
        await stream.wait(readable, writable)
        self._over = True

    async def still_waits(self) -> bool:
        await anyio.wait_all_tasks_blocked()
        return not self._over


async def test_what_is_left_is_told_by_wait(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    peer.sendall(b"abcdef")
    assert await receive_one(stream, 2) == b"ab"
    # The socket has nothing more; the rest of the record is in here.
    for mode in ((True, False), (True, True)):
        with anyio.fail_after(10):
            await stream.wait(*mode)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stream.wait(True, False)
    assert scope.cancelled_caught
    assert await receive_one(stream) == b"cdef"
    stream.close_now()
    peer.close()


async def test_waiting_for_room_is_not_ended_by_data(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    """Who waits for room alone would else go round and round while data lies in here that nobody takes."""
    stream, peer = await tls_ends(*sockets, certificates)
    peer.sendall(b"abcdef")
    assert await receive_one(stream, 2) == b"ab"
    while stream.try_send(bytes(MEGABYTE)):
        pass
    async with anyio.create_task_group() as group:
        assert await Waiting(group, stream, False, True).still_waits()
        group.cancel_scope.cancel()
    assert await receive_one(stream) == b"cdef"
    stream.close_now()
    peer.close()


async def test_backlog_is_sent_by_whoever_waits(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    """A task sleeps until something comes; what another task has sent meanwhile must not wait for that."""
    stream, peer = await tls_ends(*sockets, certificates)
    data = os.urandom(MEGABYTE)
    answer: list[bytes] = []

    async def read() -> None:
        answer.append(await receive_one(stream))

    def answer_when_all_is_there(size: int) -> bytes:
        got = receive_all(peer, size)
        peer.sendall(b"thanks")
        return got

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        taken = stream.try_send(data)
        assert 0 < taken < len(data)
        assert stream.try_send(data[taken:]) == 0
        assert await in_thread(answer_when_all_is_there, taken) == data[:taken]
    assert answer == [b"thanks"]
    stream.close_now()
    peer.close()


async def test_tickets_are_no_data(sockets: tuple[socket.socket, socket.socket], certificates: Certificates) -> None:
    """NewSessionTicket comes after the handshake (TLS 1.3); PostgreSQL sends none, what stands before it may."""
    context = certificates.server_context("right")
    context.num_tickets = 3
    stream, peer = await tls_ends(*sockets, certificates, server=context)
    await stream.wait(True, False)
    assert stream.try_receive(100) is None
    assert stream.try_receive_into(memoryview(bytearray(100))) is None
    peer.sendall(b"data")
    assert await receive_one(stream) == b"data"
    stream.close_now()
    peer.close()


async def test_goodbyes(sockets: tuple[socket.socket, socket.socket], certificates: Certificates) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    peer.sendall(b"last words")
    peer.settimeout(0)
    with suppress(ssl.SSLWantReadError):
        peer.unwrap()
    peer.settimeout(10)
    assert await receive_one(stream) == b"last words"
    assert await receive_one(stream) == b""
    assert await receive_one(stream) == b""
    assert stream.try_receive_into(memoryview(bytearray(1))) == 0
    stream.close_now()
    # It was answered; a connection that was cut off would be an SSLEOFError here.
    peer.unwrap().close()


async def test_close_says_goodbye(sockets: tuple[socket.socket, socket.socket], certificates: Certificates) -> None:
    context = certificates.server_context("right")
    stream, peer = await tls_ends(*sockets, certificates, server=context)
    peer.suppress_ragged_eofs = False  # type: ignore[attr-defined]
    stream.try_send(b"last words")
    stream.close_now()
    assert peer.recv(100) == b"last words"
    assert peer.recv(100) == b""
    peer.close()


async def test_end_without_goodbye_is_an_end(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    peer.sendall(b"last words")
    peer.close()
    assert await receive_one(stream) == b"last words"
    for _ in range(2):
        assert await receive_one(stream) == b""
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    stream.close_now()


@pytest.mark.parametrize("into", [False, True])
async def test_damaged_record(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates, into: bool
) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    with socket.socket(fileno=os.dup(peer.fileno())) as raw:
        raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    await stream.wait(True, False)
    with pytest.raises(anyio.BrokenResourceError, match="TLS failed: .*bad record mac") as caught:
        if into:
            stream.try_receive_into(memoryview(bytearray(10)))
        else:
            stream.try_receive(10)
    cause = caught.value.__cause__
    assert isinstance(cause, ssl.SSLError)
    assert str(cause) == str(caught.value)
    # The other side has been told.
    with pytest.raises(ssl.SSLError, match="(?i)bad.record.mac"):
        peer.recv(100)
    stream.close_now()
    peer.close()


async def test_send_after_the_other_side_has_gone(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    peer.sendall(b"last words")
    peer.close()
    data = bytearray(65536)
    with pytest.raises(anyio.BrokenResourceError) as caught:
        while True:
            stream.try_send(data)
            await stream.wait(False, True)
    # The traceback holds on to nothing of it.
    data.clear()
    assert isinstance(caught.value.__cause__, OSError)
    # What it said before is still to be read.
    assert await receive_one(stream) == b"last words"
    stream.close_now()


async def test_send_waits_until_all_is_on_its_way(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    data = os.urandom(MEGABYTE)
    async with anyio.create_task_group() as group:
        group.start_soon(stream.send, data)
        assert await in_thread(receive_all, peer, len(data)) == data
    assert not stream.has_backlog()
    stream.close_now()
    peer.close()


async def test_half_close_is_refused(sockets: tuple[socket.socket, socket.socket], certificates: Certificates) -> None:
    stream, peer = await tls_ends(*sockets, certificates)
    with pytest.raises(NotImplementedError, match="one direction"):
        await stream.send_eof()
    assert stream.extra(SocketAttribute.raw_socket) is sockets[0]
    stream.close_now()
    peer.close()


class Stubborn:
    """An SSL object that cannot encrypt before it has received something, as in a renegotiation (TLS 1.2)."""

    def __init__(self, ssl_object: ssl.SSLObject, incoming: ssl.MemoryBIO) -> None:
        self._object = ssl_object
        self._incoming = incoming
        self.stubborn = False

    def write(self, data: Any) -> int:
        if self.stubborn and not self._incoming.pending:
            raise ssl.SSLWantReadError
        return self._object.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._object, name)


async def test_sending_that_needs_input(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    wrapped: list[Stubborn] = []

    def wrap(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> Any:
        context = certificates.client_context()
        wrapped.append(Stubborn(context.wrap_bio(incoming, outgoing, server_hostname="localhost"), incoming))
        return wrapped[0]

    stream, peer = await tls_ends(*sockets, certificates, wrap=wrap)
    wrapped[0].stubborn = True
    assert stream.try_send(b"hello") == 0
    async with anyio.create_task_group() as group:
        # There is room all the time, and this is no busy loop.
        assert await Waiting(group, stream, False, True).still_waits()
        peer.sendall(b"input")
    assert stream.try_send(b"hello") == 5
    assert peer.recv(10) == b"hello"
    assert stream.try_receive(10) == b"input"
    # That is over: who waits for room finds it, and who waits for both is not woken by room that is no use.
    with anyio.fail_after(10):
        await stream.wait(False, True)
    wrapped[0].stubborn = False
    async with anyio.create_task_group() as group:
        assert await Waiting(group, stream, True, False).still_waits()
        peer.sendall(b"more")
    assert stream.try_receive(10) == b"more"
    stream.close_now()
    peer.close()


async def test_what_is_readable(sockets: tuple[socket.socket, socket.socket], certificates: Certificates) -> None:
    """A stream that holds data is readable, wherever the data is; one that is not readable holds none."""
    stream, peer = await tls_ends(*sockets, certificates)
    peer.sendall(b"abcdef")
    peer.sendall(b"ghi")
    taken = b""
    while len(taken) < 9:
        taken += await receive_one(stream, 1)
        if len(taken) == 9:
            break
        # In the socket, in a record that was taken in part, in one that was not: told in each case.
        with anyio.fail_after(10):
            await stream.wait(True, False)
    assert taken == b"abcdefghi"
    async with anyio.create_task_group() as group:
        assert await Waiting(group, stream, True, False).still_waits()
        group.cancel_scope.cancel()
    assert stream.try_receive(10) is None
    stream.close_now()
    peer.close()


# --- the handshake


def client_stream(sock: socket.socket, context: ssl.SSLContext, name: str | None = "localhost") -> TlsStream:
    return TlsStream(SocketStream(sock), partial(context.wrap_bio, server_hostname=name))


async def test_takes_the_socket_over(sockets: tuple[socket.socket, socket.socket], certificates: Certificates) -> None:
    below = SocketStream(sockets[0])
    fd = below.fileno()
    stream = TlsStream(below, partial(certificates.client_context().wrap_bio, server_hostname="x"))
    with pytest.raises(OSError):
        os.fstat(fd)
    with pytest.raises(anyio.ClosedResourceError):
        await below.receive()
    with pytest.raises(anyio.ClosedResourceError):
        below.detach()
    below.close_now()
    assert stream.peer == (socket.AF_UNIX, sockets[0].getpeername())
    assert stream.tls is None
    stream.close_now()
    assert sockets[1].recv(1) == b""


async def test_name_that_cannot_be_one_leaves_the_stream(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    below = SocketStream(sockets[0])
    for name in ("a..b", "", "x" * 100):
        with pytest.raises(ValueError):
            TlsStream(below, partial(certificates.client_context().wrap_bio, server_hostname=name))
    sockets[1].send(b"x")
    assert await below.receive() == b"x"
    below.close_now()


async def test_certificate_that_is_not_trusted(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    stream = client_stream(sockets[0], certificates.client_context())
    wrap = partial(certificates.server_context("stranger").wrap_socket, sockets[1], server_side=True)
    told: list[BaseException] = []

    async def accept() -> None:
        with pytest.raises(ssl.SSLError) as caught:
            (await in_thread(wrap)).recv(1)
        told.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(accept)
        with pytest.raises(ssl.SSLCertVerificationError):
            await stream.handshake()
    assert "alert" in str(told[0]).lower()
    stream.close_now()


@pytest.mark.parametrize("after", [0, 1, 100])
async def test_connection_cut_during_the_handshake(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates, after: int
) -> None:
    stream = client_stream(sockets[0], certificates.client_context())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificates.server_context("right").wrap_bio(incoming, outgoing, server_side=True)

    def cut() -> None:
        incoming.write(sockets[1].recv(65536))
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        sockets[1].sendall(outgoing.read()[:after])
        sockets[1].close()

    async with anyio.create_task_group() as group:
        group.start_soon(in_thread, cut)
        with pytest.raises(anyio.BrokenResourceError, match="during the TLS handshake"):
            await stream.handshake()
    stream.close_now()


async def test_something_else_than_tls(
    sockets: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    stream = client_stream(sockets[0], certificates.client_context())
    sockets[1].sendall(b"220 mail.example.com ESMTP\r\n")
    with pytest.raises(ssl.SSLError, match="(?i)wrong.version.number"):
        await stream.handshake()
    stream.close_now()


@pytest.mark.parametrize("natively", [False, True])
async def test_cancelled_at_each_wait(anyio_backend: Any, certificates: Certificates, natively: bool) -> None:
    if natively and anyio_backend[0] == "trio":
        pytest.skip("trio has one kind of cancellation")
    context = certificates.server_context("right")
    client = certificates.client_context()
    ends: list[socket.socket] = []

    async def handshake() -> None:
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        ends.append(theirs)
        stream = client_stream(ours, client)
        other = TlsStream(SocketStream(theirs.dup()), partial(context.wrap_bio, server_side=True))

        async def accept() -> None:
            with suppress(ssl.SSLError, anyio.BrokenResourceError):
                await other.handshake()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(accept)
                try:
                    await stream.handshake()
                finally:
                    stream.close_now()
        finally:
            stream.close_now()
            other.close_now()

    async def check() -> None:
        with ends.pop() as theirs, suppress(ConnectionResetError):
            # Closed, whatever has been said before.
            while theirs.recv(65536):
                pass

    assert await cancel_at_each_wait(handshake, check, natively=natively) > 1


# --- OpenSSL's own server, which can change keys


StartServer = Callable[[], "tuple[subprocess.Popen[bytes], int]"]


@pytest.fixture
def s_server(certificates: Certificates) -> Iterator[StartServer]:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs OpenSSL's command line")
    running: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[subprocess.Popen[bytes], int]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        files: list[str | Path] = ["-cert", certificates.certificate("right"), "-key", certificates.key("right")]
        process = subprocess.Popen(
            [
                *(program, "s_server", "-accept", f"127.0.0.1:{port}", *files),
                *("-alpn", "postgresql", "-naccept", "1", "-num_tickets", "0"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        running.append(process)
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"ACCEPT"):
            assert process.poll() is None
        return process, port

    yield start
    for process in running:
        process.kill()
        process.communicate()


async def test_new_keys(s_server: StartServer, certificates: Certificates) -> None:
    """KeyUpdate, with a request that we change ours as well (RFC 8446, section 4.6.3)."""
    process, port = await in_thread(s_server)
    assert process.stdin is not None and process.stdout is not None
    stream = client_stream(socket.create_connection(("127.0.0.1", port)), certificates.client_context())
    await stream.handshake()

    def say(text: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.flush()

    def wait_for(text: bytes) -> None:
        assert process.stdout is not None
        while text not in (line := process.stdout.readline()):
            assert line, "end of output"

    for number in range(3):
        if number:
            say(b"K\n")  # a command, if it is all that is read at once, and the handshake is over for the server too
            assert (await in_thread(select.select, [stream.fileno()], [], [], 10))[0]
            assert stream.try_receive(100) is None
        say(b"line %d\n" % number)
        received = b""
        while not received.endswith(b"\n"):
            received += await receive_one(stream)
        assert received == b"line %d\n" % number
        assert stream.try_send(b"answer %d\n" % number)
        await in_thread(wait_for, b"answer %d" % number)
    stream.close_now()
