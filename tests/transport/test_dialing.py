from __future__ import annotations

import math
import os
import random
import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute

import anyq
from anyq import errors as e
from anyq.conninfo import ConnectOptions, HostSpec
from anyq.errors import ConnectionTimeout, OperationalError
from anyq.transport import dialing
from anyq.transport.dialing import host_deadline, interleave, open_host, open_same
from anyq.transport.failures import DialError, combine_errors
from anyq.transport.socket import SocketStream
from tests.support.deadlines import LIMIT, Deadlines
from tests.support.listeners import LOCALHOST, black_hole, dial, listen, listen_unix, options, resolve_to, tcp
from tests.support.loops import ALL_LOOPS
from tests.support.sockets import open_sockets

pytestmark = [
    pytest.mark.anyio,
    # Full queues, abstract sockets and 127.0.0.2 behave in their own ways elsewhere.
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's sockets"),
]


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def refuse_to_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("a name was looked up")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)


def hang_in_resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)


# --- reaching a server ---


async def test_tcp_with_name_resolution(resources: ExitStack) -> None:
    listener = listen(resources)
    port = listener.getsockname()[1]
    stream = await dial(options(tcp("localhost", port)))
    assert stream.peer == (socket.AF_INET, (LOCALHOST, port))
    server, _ = listener.accept()
    stream.try_send(b"hello")
    assert server.recv(10) == b"hello"
    server.close()
    stream.close_now()


@pytest.mark.parametrize("host", [tcp(LOCALHOST, 1), tcp("no.such.name.invalid", 1, LOCALHOST)])
async def test_numeric_addresses_are_not_looked_up(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, host: HostSpec
) -> None:
    refuse_to_resolve(monkeypatch)
    port = listen(resources).getsockname()[1]
    stream = await dial(options(HostSpec(host.host, host.hostaddr, port)))
    stream.close_now()


async def test_wait_that_ends_for_no_reason(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, deadlines: Deadlines
) -> None:
    """Waiting may end at any time; then the connection is not there yet."""
    listener = black_hole(resources)
    waits = 0
    wait = SocketStream.wait

    async def restless_wait(self: SocketStream, readable: bool, writable: bool) -> None:
        nonlocal waits
        waits += 1
        if waits < 5:
            await anyio.lowlevel.checkpoint()
        else:
            deadlines.pass_now()
            await wait(self, readable, writable)

    monkeypatch.setattr(SocketStream, "wait", restless_wait)
    with pytest.raises(ConnectionTimeout):
        await dial(options(tcp(LOCALHOST, listener.getsockname()[1]), connect_timeout=LIMIT))
    assert waits >= 5


async def test_unix_socket(resources: ExitStack, tmp_path: Path) -> None:
    listener = listen_unix(resources, tmp_path, 5433)
    stream = await dial(options(tcp(str(tmp_path), 5433)))
    assert stream.peer == (socket.AF_UNIX, f"{tmp_path}/.s.PGSQL.5433")
    listener.accept()[0].close()
    stream.close_now()


async def test_abstract_unix_socket(resources: ExitStack) -> None:
    name = f"@anyq-test-{os.getpid()}"
    listener = listen_unix(resources, name)
    stream = await dial(options(tcp(name, 5432)))
    listener.accept()[0].close()
    again = await open_same(stream.peer)
    listener.accept()[0].close()
    again.close_now()
    stream.close_now()


async def test_unix_socket_with_a_full_queue(resources: ExitStack, tmp_path: Path) -> None:
    listener = listen_unix(resources, tmp_path, backlog=0)
    filler = resources.enter_context(socket.socket(socket.AF_UNIX))
    filler.setblocking(False)
    filler.connect(listener.getsockname())
    with pytest.raises(BlockingIOError), socket.socket(socket.AF_UNIX) as another:
        another.setblocking(False)
        another.connect(listener.getsockname())

    async def connect() -> None:
        stream = await dial(options(tcp(str(tmp_path), 5432)))
        stream.close_now()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(connect)
            await anyio.wait_all_tasks_blocked()
            listener.accept()[0].close()


async def test_dialing_is_a_checkpoint(resources: ExitStack, tmp_path: Path, warm_loop: None) -> None:
    before = open_sockets()
    listen_unix(resources, tmp_path)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await dial(options(tcp(str(tmp_path), 5432)))
    assert scope.cancelled_caught
    resources.close()
    assert open_sockets() <= before


async def test_tcp_options(resources: ExitStack) -> None:
    port = listen(resources).getsockname()[1]
    stream = await dial(
        options(
            tcp(LOCALHOST, port),
            keepalives_idle=11,
            keepalives_interval=12,
            keepalives_count=13,
            tcp_user_timeout=14000,
        )
    )
    with stream.extra(SocketAttribute.raw_socket).dup() as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 11
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 12
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 13
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 14000
    stream.close_now()
    stream = await dial(options(tcp(LOCALHOST, port), keepalives=False, keepalives_idle=11))
    with stream.extra(SocketAttribute.raw_socket).dup() as sock:
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) != 11
    stream.close_now()


@pytest.mark.parametrize("value", [1 << 20, 1 << 80])
async def test_refused_tcp_option(value: int) -> None:
    with pytest.raises(OperationalError, match=f"refuses keepalives_count={value}"):
        await dial(options(tcp(LOCALHOST, 1), keepalives_count=value))


# --- several hosts and addresses ---


async def test_hosts_in_order(resources: ExitStack, tmp_path: Path) -> None:
    listen_unix(resources, tmp_path, 5433)
    listen_unix(resources, tmp_path, 5434)
    stream = await dial(options(*(tcp(str(tmp_path), port) for port in (5432, 5433, 5434))))
    assert stream.peer[1] == f"{tmp_path}/.s.PGSQL.5433"
    stream.close_now()


async def test_next_address_at_once_after_a_failure(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None
) -> None:
    before = open_sockets()
    monkeypatch.setattr(dialing, "_STAGGER", math.inf)
    resolve_to(monkeypatch, "127.0.0.3", "127.0.0.2", LOCALHOST)
    port = listen(resources).getsockname()[1]
    with anyio.fail_after(10):
        stream = await dial(options(tcp("name", port)))
    assert stream.peer[1] == (LOCALHOST, port)
    stream.close_now()
    resources.close()
    assert open_sockets() <= before


async def test_next_address_beside_one_that_hangs(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None
) -> None:
    before = open_sockets()
    monkeypatch.setattr(dialing, "_STAGGER", 0.01)
    port = black_hole(resources).getsockname()[1]
    listen(resources, "127.0.0.2", port)
    resolve_to(monkeypatch, LOCALHOST, "127.0.0.2")
    with anyio.fail_after(10):
        stream = await dial(options(tcp("name", port)))
    assert stream.peer[1] == ("127.0.0.2", port)
    stream.close_now()
    resources.close()
    assert open_sockets() <= before


async def test_only_one_of_two_winners_stays_open(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None
) -> None:
    before = open_sockets()
    monkeypatch.setattr(dialing, "_STAGGER", 0)
    port = listen(resources).getsockname()[1]
    listen(resources, "127.0.0.2", port)
    resolve_to(monkeypatch, LOCALHOST, "127.0.0.2")
    started = 0
    both_started = anyio.Event()
    connect = dialing.connect

    async def together(*args: Any) -> Any:
        nonlocal started
        stream = await connect(*args)
        started += 1
        if started == 2:
            both_started.set()
        # As if the cancellation came too late.
        with anyio.CancelScope(shield=True):
            await both_started.wait()
        return stream

    monkeypatch.setattr(dialing, "connect", together)
    stream = await dial(options(tcp("name", port)))
    assert started == 2
    stream.close_now()
    resources.close()
    assert open_sockets() <= before


def test_families_take_turns() -> None:
    four = [(socket.AF_INET, (f"127.0.0.{number}", 1)) for number in range(4)]
    six = [(socket.AF_INET6, (f"::{number}", 1, 0, 0)) for number in range(2)]
    expected = [six[0], four[0], six[1], four[1], four[2], four[3]]
    assert interleave([*six, *four]) == expected
    assert interleave([*six, *four[:1]]) == [six[0], four[0], six[1]]
    assert interleave([]) == []


async def test_duplicate_addresses_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, LOCALHOST, LOCALHOST)
    with pytest.raises(OperationalError) as caught:
        await dial(options(tcp("name", 1)))
    assert str(caught.value).count(LOCALHOST) == 1


# --- time limits ---


async def time_out(opts: ConnectOptions, deadlines: Deadlines, *, deadline: float | None = None) -> DialError:
    """Return the error of an attempt whose time is over when nothing goes on any more."""
    errors: list[DialError] = []

    async def attempt() -> None:
        with pytest.raises(DialError) as caught:
            await open_host(opts.hosts[0], opts, deadline=deadline)
        errors.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(attempt)
        await anyio.wait_all_tasks_blocked()
        deadlines.pass_now()
    (error,) = errors
    return error


async def test_connect_timeout_while_connecting(resources: ExitStack, warm_loop: None, deadlines: Deadlines) -> None:
    before = open_sockets()
    port = black_hole(resources).getsockname()[1]
    error = await time_out(options(tcp(LOCALHOST, port), connect_timeout=LIMIT), deadlines)
    assert f"no answer within {LIMIT:g} s (connect_timeout); check the address, and whether a firewall" in str(error)
    assert type(combine_errors([error])) is ConnectionTimeout
    resources.close()
    assert open_sockets() <= before


async def test_connect_timeout_in_name_resolution(monkeypatch: pytest.MonkeyPatch, deadlines: Deadlines) -> None:
    hang_in_resolving(monkeypatch)
    error = await time_out(options(tcp("name", 1), connect_timeout=LIMIT), deadlines)
    assert re.search('host "name", port 1: no answer .* from name resolution', str(error))


async def test_connect_timeout_with_a_full_queue(resources: ExitStack, tmp_path: Path, deadlines: Deadlines) -> None:
    listener = listen_unix(resources, tmp_path, backlog=0)
    filler = resources.enter_context(socket.socket(socket.AF_UNIX))
    filler.connect(listener.getsockname())
    error = await time_out(options(tcp(str(tmp_path), 5432), connect_timeout=LIMIT), deadlines)
    assert "no answer" in str(error)


async def test_connect_timeout_is_counted_anew_for_each_host(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = options(tcp(LOCALHOST, 1), connect_timeout=100)
    for now in (5.0, 7.0):
        monkeypatch.setattr(anyio, "current_time", lambda: now)  # noqa: B023 - called in this round only
        assert host_deadline(limited) == now + 100
        assert host_deadline(options(tcp(LOCALHOST, 1))) == math.inf


async def test_connect_timeout_covers_all_addresses(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None, deadlines: Deadlines
) -> None:
    before = open_sockets()
    monkeypatch.setattr(dialing, "_STAGGER", math.inf)
    connect = dialing.connect
    port = black_hole(resources).getsockname()[1]
    resolve_to(monkeypatch, "127.0.0.2", LOCALHOST)

    async def until_the_second(address: Any, *args: Any) -> Any:
        if address[1][0] == LOCALHOST:
            # The first has failed, or this one would not be tried.
            deadlines.pass_now()
        return await connect(address, *args)

    monkeypatch.setattr(dialing, "connect", until_the_second)
    with pytest.raises(OperationalError) as caught:
        await dial(options(tcp("name", port), connect_timeout=LIMIT))
    # One of them refused, so it was not only a matter of time.
    assert not isinstance(caught.value, ConnectionTimeout)
    assert "(127.0.0.2), port" in str(caught.value) and "refused" in str(caught.value)
    assert f"({LOCALHOST}), port {port}: no answer within {LIMIT:g} s" in str(caught.value)
    resources.close()
    assert open_sockets() <= before


async def test_open_host_takes_a_deadline(resources: ExitStack, deadlines: Deadlines) -> None:
    host = tcp(LOCALHOST, black_hole(resources).getsockname()[1])
    error = await time_out(options(host), deadlines, deadline=2 * LIMIT)
    assert "no answer in time" in str(error)
    assert [failure.timed_out for failure in error.failures] == [True]


# --- cancellation ---


async def cancel_when_blocked(opts: ConnectOptions) -> None:
    """Dial, cancel that when nothing goes on any more, and check that it ends by the cancellation."""
    ended = False

    async def run() -> None:
        nonlocal ended
        try:
            await dial(opts)
        except anyio.get_cancelled_exc_class():
            ended = True
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert ended


async def test_cancelled_in_name_resolution(monkeypatch: pytest.MonkeyPatch, warm_loop: None) -> None:
    before = open_sockets()
    hang_in_resolving(monkeypatch)
    await cancel_when_blocked(options(tcp("name", 1)))
    assert open_sockets() <= before


async def test_cancelled_while_connecting(resources: ExitStack, warm_loop: None) -> None:
    before = open_sockets()
    port = black_hole(resources).getsockname()[1]
    await cancel_when_blocked(options(tcp(LOCALHOST, port)))
    resources.close()
    assert open_sockets() <= before


async def test_cancelled_between_addresses(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None
) -> None:
    before = open_sockets()
    monkeypatch.setattr(dialing, "_STAGGER", math.inf)
    port = black_hole(resources).getsockname()[1]
    resolve_to(monkeypatch, LOCALHOST, "127.0.0.2")
    await cancel_when_blocked(options(tcp("name", port)))
    resources.close()
    assert open_sockets() <= before


async def test_cancelled_with_several_addresses_hanging(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None
) -> None:
    before = open_sockets()
    monkeypatch.setattr(dialing, "_STAGGER", 0)
    resolve_to(monkeypatch, LOCALHOST, "127.0.0.2")
    hanging = anyio.Event()
    count = 0

    async def connect(address: Any, opts: Any, backend: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            hanging.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(dialing, "connect", connect)
    async with anyio.create_task_group() as group:
        group.start_soon(dial, options(tcp("name", 1)))
        await hanging.wait()
        group.cancel_scope.cancel()
    resources.close()
    assert open_sockets() <= before


async def test_cancelled_at_a_full_queue(
    resources: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_loop: None
) -> None:
    before = open_sockets()
    monkeypatch.setattr(dialing, "_FULL_BACKLOG_DELAYS", (math.inf, math.inf))
    listener = listen_unix(resources, tmp_path, backlog=0)
    filler = resources.enter_context(socket.socket(socket.AF_UNIX))
    filler.connect(listener.getsockname())
    await cancel_when_blocked(options(tcp(str(tmp_path), 5432)))
    resources.close()
    assert open_sockets() <= before


@pytest.mark.parametrize("addresses", [1, 2])
async def test_cancelled_at_every_step(
    resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None, addresses: int
) -> None:
    """Cancel after any number of turns of the event loop: either there is a stream, or no socket."""
    # What was cancelled after it was connected stays in the queue, as nobody accepts.
    listener = listen(resources, backlog=1000)
    resolve_to(monkeypatch, *[LOCALHOST, "127.0.0.2"][:addresses])
    port = listener.getsockname()[1]
    before = open_sockets()
    done = 0

    async def run() -> None:
        nonlocal done
        stream = await dial(options(tcp("name", port)))
        done += 1
        stream.close_now()

    turns = 0
    while not done:
        turns += 1
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert open_sockets() <= before


async def test_cancelled_as_one_wins(resources: ExitStack, monkeypatch: pytest.MonkeyPatch, warm_loop: None) -> None:
    """The winner must not get lost when the cancellation comes while the others are being stopped."""
    before = open_sockets()
    monkeypatch.setattr(dialing, "_STAGGER", 0)
    port = listen(resources).getsockname()[1]
    resolve_to(monkeypatch, LOCALHOST, "127.0.0.2")
    scope = anyio.CancelScope()
    loser_waits = anyio.Event()
    connect = dialing.connect

    async def connect_or_hang(address: Any, *args: Any) -> Any:
        if address[1][0] == LOCALHOST:
            await loser_waits.wait()
            return await connect(address, *args)
        try:
            loser_waits.set()
            await anyio.sleep_forever()
        finally:
            scope.cancel()

    monkeypatch.setattr(dialing, "connect", connect_or_hang)
    with scope:
        await dial(options(tcp("name", port)))
        # The race was over before the cancellation could be delivered; then the stream is the caller's.
        pytest.fail("not cancelled")
    resources.close()
    assert open_sockets() <= before


# --- the same peer again ---


async def test_open_same(resources: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listen(resources)
    stream = await dial(options(tcp("localhost", listener.getsockname()[1])))
    stream.close_now()
    refuse_to_resolve(monkeypatch)
    again = await open_same(stream.peer, options(keepalives_count=5))
    assert again.peer == stream.peer
    assert again.extra(SocketAttribute.raw_socket).getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 5
    again.close_now()


async def test_open_same_fails(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match=f'connection to address "{LOCALHOST}", port 1 failed: .*refused'):
        await open_same((socket.AF_INET, (LOCALHOST, 1)))
    with pytest.raises(OperationalError, match=r'connection to socket "/.*/x" failed: No such'):
        await open_same((socket.AF_UNIX, f"{tmp_path}/x"))
    with pytest.raises(OperationalError, match=r'connection to socket "@no-such" failed: '):
        await open_same((socket.AF_UNIX, "\0no-such"))


@pytest.fixture
def reverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance that puts everything into the opposite order."""
    monkeypatch.setattr(random, "shuffle", lambda sequence: sequence.reverse())


def test_any_order_is_possible() -> None:
    hosts = tuple(HostSpec(name, None, 1) for name in "abc")
    options = ConnectOptions(hosts=hosts, user="u", dbname="d", load_balance_hosts=True)
    # One of the six is left out by chance once in 10 ** 30 times.
    seen = {tuple(dialing.attempts(options)) for _ in range(400)}
    assert len(seen) == 6


async def test_addresses_in_random_order(reverse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: int, **kwargs: Any) -> list[Any]:
        await anyio.lowlevel.checkpoint()
        return [info for each in ("127.0.0.2", "127.0.0.3", "127.0.0.4") for info in socket.getaddrinfo(each, port)]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    for option, last in [("random", "127.0.0.2"), ("disable", "127.0.0.4")]:
        with pytest.raises(e.OperationalError) as caught:
            await anyq.AsyncConnection.connect("host=name port=1 user=u", load_balance_hosts=option)
        assert last in str(caught.value).splitlines()[-1]
