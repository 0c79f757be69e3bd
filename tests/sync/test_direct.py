"""What a thread runs itself: what crosses no thread, when a call goes on in the portal, and who may come between."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.from_thread import start_blocking_portal

import anyq
from anyq.conninfo import HostSpec
from anyq.sync.direct import MOST_SKIPS, Direct
from tests.support.activity import PATIENCE
from tests.support.server import Server
from tests.support.spying import in_python
from tests.support.tls_server import TlsServer


def test_nothing_crosses_to_the_portal(driven: anyq.Connection, crossings: list[str]) -> None:
    conn = driven
    assert conn.execute("SELECT %s::int", [1]).fetchone() == (1,)
    with pytest.raises(anyq.errors.DivisionByZero):
        conn.execute("SELECT 1 / 0")
    conn.rollback()
    with conn.transaction(), conn.transaction():
        conn.execute("SELECT 1")
    conn.execute("CREATE TEMP TABLE t (i int)")
    conn.commit()
    cursor = conn.cursor()
    cursor.executemany("INSERT INTO t VALUES (%s)", [(i,) for i in range(2500)])
    cursor.executemany("INSERT INTO t VALUES (%s)", ((i,) for i in range(2500)))
    with cursor.copy("COPY t FROM STDIN") as copy:
        copy.write_row((1,))
    with cursor.copy("COPY t TO STDOUT") as copy:
        assert len(list(copy.rows())) == 5001
    with conn.cursor() as streaming:
        assert len(list(streaming.stream("SELECT * FROM t"))) == 5001
    with conn.cursor("named") as named:
        named.execute("SELECT * FROM t")
        assert len(list(named)) == 5001
    with conn.pipeline() as pipeline:
        first = conn.execute("SELECT 1")
        conn.execute("SELECT 2")
        assert first.fetchone() == (1,)
        pipeline.sync()
    conn.notify("a", "b")
    assert len(conn.execute("SELECT repeat('x', 1000) FROM generate_series(1, 5000)").fetchall()) == 5000
    assert crossings == []


def test_a_threads_first_call_makes_its_worker(
    driven: anyq.Connection, crossings: list[str], background: Callable[..., Any]
) -> None:
    def work() -> None:
        for _ in range(3):
            driven.execute("SELECT 1")

    background(work).result()
    assert crossings == ["execute"]


class LooksNoted:
    """The channel of a connection, which notes for how long it is looked for a reply that is not there at once."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.looks: list[float] = []
        self.sent = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)

    def try_send(self, data: Any) -> int:
        self.sent = True
        count: int = self.channel.try_send(data)
        return count

    def try_receive(self, max_bytes: int) -> bytes | None:
        at_once, self.sent = self.sent, False
        received: bytes | None = None if at_once else self.channel.try_receive(max_bytes)
        return received

    def readable_within(self, seconds: float) -> bool:
        self.looks.append(seconds)
        found: bool = self.channel.readable_within(seconds)
        return found


@pytest.mark.parametrize("implementation", ["python", "chosen"])
def test_who_waits_alone_looks_for_the_reply(
    way: str,
    portal_backend: object,
    dsn: str,
    background: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    implementation: str,
) -> None:
    if way != "direct":
        pytest.skip("it is about what is run directly")
    if implementation == "python":
        in_python(monkeypatch)
    connect = partial(anyq.connect, dsn, autocommit=True, busy_wait=0.005)
    with connect() as conn, connect() as other, connect() as third:
        wire: Any = conn.inner.session.wire
        wire.channel = noting = LooksNoted(wire.channel)

        def looks() -> bool:
            noting.looks.clear()
            # One look in vain has the next ones skipped.
            for _ in range(MOST_SKIPS + 2):
                conn.execute("SELECT 1")
            return any(seconds > 0 for seconds in noting.looks)

        assert looks()
        third.execute("SELECT pg_advisory_lock(1, 2)")

        def wait() -> None:
            for query in ("SELECT 1", "SELECT pg_advisory_xact_lock(1, 2)"):  # a thread's first call is the portal's
                other.execute(query)

        waiting = background(wait)
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'advisory'"
        while third.execute(query, [other.info.backend_pid]).fetchone() == (0,):
            pass
        assert not looks()
        third.execute("SELECT pg_advisory_unlock(1, 2)")
        waiting.result()
        assert looks()
        assert not Direct.driving


def test_a_time_limit_is_the_portals(driven: anyq.Connection, crossings: list[str]) -> None:
    with anyq.sync.timeout(PATIENCE):
        driven.execute("SELECT 1")
    assert crossings == ["execute"]


def test_the_environment_switches_it_off(portal_backend: object, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYQ_SYNC", "portal")
    with anyq.connect(dsn) as conn:
        assert conn.calls._direct is None  # pyright: ignore[reportPrivateUsage]
        assert conn.execute("SELECT 1").fetchone() == (1,)
    monkeypatch.setenv("ANYQ_SYNC", "protal")
    with pytest.raises(anyq.ProgrammingError, match="ANYQ_SYNC must be 'direct' or 'portal', not 'protal'"):
        anyq.connect(dsn)
    assert not any(thread.name == "anyq portal" for thread in threading.enumerate())


def test_where_tasks_can_come_between_it_is_the_portals(dsn: str) -> None:
    """As in a portal of the caller's, or with a connection that was made there."""
    with start_blocking_portal() as portal, anyq.connect(dsn, portal=portal) as conn:
        assert conn.calls._direct is None  # pyright: ignore[reportPrivateUsage]


def test_what_has_a_stream_of_the_callers_is_the_portals(dsn: str, embedded_server: Server) -> None:
    """Nobody knows what its waits are, or who else has it."""
    tcp = embedded_server.tcp_dsn

    async def dial(host: HostSpec) -> Any:
        return await anyio.connect_tcp(host.host, host.port)

    with anyq.connect(tcp, dial=dial) as conn:
        assert conn.calls._direct is None  # pyright: ignore[reportPrivateUsage]
        assert conn.execute("SELECT 1").fetchone() == (1,)
    with start_blocking_portal() as portal:

        async def connect() -> anyq.AsyncConnection:
            return await anyq.AsyncConnection.connect(dsn)

        conn = anyq.Connection.from_async(portal.call(connect), portal=portal)
        assert conn.calls._direct is None  # pyright: ignore[reportPrivateUsage]
        assert conn.execute("SELECT 1").fetchone() == (1,)
        conn.close()


def test_where_there_is_no_poll_the_portal_serves(
    portal_backend: object, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.delattr("select.poll")
    with anyq.connect(dsn) as conn:
        assert conn.calls._direct is None  # pyright: ignore[reportPrivateUsage]
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_reading_async_connection_lets_tasks_in(driven: anyq.Connection, crossings: list[str]) -> None:
    inner = driven.async_connection

    async def ask() -> Any:
        cursor = await inner.execute("SELECT 1")
        return await cursor.fetchone()

    crossings.clear()
    assert driven.execute("SELECT 2").fetchone() == (2,)
    assert driven.calls.portal.call(1.0, ask) == (1,)
    assert crossings == ["execute", "ask"]


def test_tasks_are_let_in_as_a_call_begins(
    driven: anyq.Connection, crossings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Direct._begin

    def begin_late(self: Direct, turn: Any) -> bool:
        assert driven.async_connection  # as another thread reads it at this moment
        return begin(self, turn)

    in_python(monkeypatch)
    monkeypatch.setattr(Direct, "_begin", begin_late)
    assert driven.execute("SELECT 1").fetchone() == (1,)
    assert crossings == ["execute"]


def test_reading_async_connection_amid_a_call(driven: anyq.Connection, crossings: list[str]) -> None:
    """The call does not keep tasks waiting that get the connection so, until it is at its end."""
    direct: Any = driven.calls._direct
    wanted: list[bool] = []

    def read(notice: object) -> None:
        assert driven.async_connection
        wanted.append(direct._driver.wanted)

    driven.add_notice_handler(read)
    driven.execute("DO $$BEGIN RAISE NOTICE 'read'; END$$")
    assert wanted == [True]
    driven.execute("SELECT 1")
    assert crossings[-1] == "execute"


# -- others


def test_a_call_that_others_wait_behind_is_handed_over(
    driven: anyq.Connection, crossings: list[str], background: Callable[..., Any], until_active: Callable[..., None]
) -> None:
    driven.execute("SELECT 1")
    driven.commit()
    query = background(lambda: [driven.execute("SELECT 1"), driven.execute("SELECT pg_sleep(60)")])
    until_active(driven)
    crossings.clear()
    other = background(lambda: driven.execute("SELECT 2").fetchone())
    while "_go_on" not in crossings:
        pass
    driven.cancel()
    with pytest.raises(anyq.errors.QueryCanceled):
        query.result()
    with pytest.raises(anyq.errors.InFailedSqlTransaction):
        other.result()
    driven.rollback()
    assert driven.execute("SELECT 1").fetchone() == (1,)


def test_who_is_in_the_way_is_left_alone_for_longer_each_time(
    driven: anyq.Connection, crossings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    direct: Any = driven.calls._direct  # pyright: ignore[reportPrivateUsage]
    begin: Any = Direct._begin
    skips: list[int] = []

    def begin_and_want(self: Any, turn: Any) -> bool:
        begun: bool = begin(self, turn)
        turn.want()
        return begun

    with monkeypatch.context() as patched:
        in_python(patched)
        patched.setattr(Direct, "_begin", begin_and_want)
        for _ in range(8):
            direct._skip = 0
            assert driven.execute("SELECT 1").fetchone() == (1,)
            skips.append(direct._skip)
    assert skips == [1, 3, 7, 15, 31, MOST_SKIPS, MOST_SKIPS, MOST_SKIPS]
    assert crossings == ["_go_on"] * 8
    crossings.clear()
    for _ in range(MOST_SKIPS):
        driven.execute("SELECT 1")
    assert crossings == ["execute"] * MOST_SKIPS
    # The next one is not disturbed, and all is forgotten.
    driven.execute("SELECT 1")
    assert crossings == ["execute"] * MOST_SKIPS
    assert direct._last_skips == 0


def test_cancel_hands_nothing_over(
    driven: anyq.Connection, crossings: list[str], background: Callable[..., Any], until_active: Callable[..., None]
) -> None:
    query = background(lambda: [driven.execute("SELECT 1"), driven.execute("SELECT pg_sleep(60)")])
    until_active(driven)
    crossings.clear()
    driven.cancel()
    with pytest.raises(anyq.errors.QueryCanceled):
        query.result()
    assert crossings == ["cancel_now"]


def test_subscribers_wait_meanwhile(driven: anyq.Connection, background: Callable[..., Any]) -> None:
    driven.autocommit = True
    with driven.listen("a") as stream:
        waiting = background(lambda: [next(stream).payload for _ in range(20)])
        for number in range(20):
            assert driven.execute("SELECT %s::int", [number]).fetchone() == (number,)
            driven.notify("a", str(number))
        assert waiting.result() == [str(number) for number in range(20)]


def test_what_the_user_has_amid_a_call_cannot_use_the_connection(driven: anyq.Connection) -> None:
    def factory(cursor: Any) -> Any:
        driven.execute("SELECT 2")

    with pytest.raises(anyq.InterfaceError, match="amid a call of the same thread"):
        driven.cursor(row_factory=factory).execute("SELECT 1")
    assert driven.execute("SELECT 1").fetchone() == (1,)


def test_a_row_factory_may_use_another_connection(driven: anyq.Connection, observer: anyq.Connection) -> None:
    def factory(cursor: Any) -> Any:
        number = observer.execute("SELECT 2").fetchone()
        return lambda values: (number, values)

    assert driven.cursor(row_factory=factory).execute("SELECT 1").fetchone() == ((2,), (1,))


def test_closing_amid_a_call(driven: anyq.Connection) -> None:
    """As a handler of SIGTERM may do."""

    def factory(cursor: Any) -> Any:
        driven.close()
        return tuple

    driven.cursor(row_factory=factory).execute("SELECT 1")
    assert driven.closed and not driven.broken
    with pytest.raises(anyq.OperationalError, match="closed"):
        driven.execute("SELECT 1")


def test_the_server_goes_away(driven: anyq.Connection, observer: anyq.Connection) -> None:
    """The descriptor is closed by the loop, which may have registered it."""
    driven.execute("SELECT 1")
    observer.execute("SELECT pg_terminate_backend(%s)", [driven.info.backend_pid])
    with pytest.raises(anyq.OperationalError, match="terminating connection"):
        while True:
            driven.execute("SELECT 1")
    assert driven.closed and driven.broken
    stream: Any = driven.inner.session.wire.channel

    while stream.extra(SocketAttribute.raw_socket).fileno() != -1:
        observer.execute("SELECT 1")  # the loop closes it soon


def test_a_cursor_is_closed_while_another_thread_drives(
    driven: anyq.Connection, background: Callable[..., Any], until_active: Callable[..., None]
) -> None:
    """What it leaves to the loop waits there until the connection is given back."""
    driven.autocommit = True
    cursor = driven.cursor()
    stream = cursor.stream("SELECT generate_series(1, 100000)")
    next(stream)
    query = background(lambda: driven.execute("SELECT 1").fetchone())
    cursor.close()
    assert query.result() == (1,)
    # Whether the loop has come to it is not said.
    with pytest.raises(anyq.Error, match="the stream was ended|the cursor is closed"):
        for _ in stream:
            pass


def test_what_is_left_to_the_loop_is_not_left_behind_by_the_next_call(
    driven: anyq.Connection,
    observer: anyq.Connection,
    background: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That one has begun before the loop came to it, and waits for the server for as long as that takes."""
    key = driven.info.backend_pid
    observer.execute("SELECT pg_advisory_lock(%s)", [key])
    direct: Any = driven.calls._direct
    let_go_on = direct._let_go_on
    came = threading.Event()
    begun = threading.Event()

    def let_go_on_late() -> None:
        assert begun.wait(PATIENCE)
        let_go_on()

    def leave(notice: object) -> None:
        direct.post(came.set)
        while not direct._behind:
            pass
        direct._driver.wanted = False  # as if the call did not have to wait any more

    def begin(notice: object) -> None:
        begun.set()

    def unlock() -> bool:
        in_time = came.wait(PATIENCE)
        observer.execute("SELECT pg_advisory_unlock(%s)", [key])
        return in_time

    monkeypatch.setattr(direct, "_let_go_on", let_go_on_late)
    driven.add_notice_handler(leave)
    driven.execute("DO $$BEGIN RAISE NOTICE 'leave'; END$$")
    driven.remove_notice_handler(leave)
    driven.add_notice_handler(begin)
    waiting = background(unlock)
    driven.execute(f"DO $$BEGIN RAISE NOTICE 'begin'; PERFORM pg_advisory_xact_lock({key}); END$$")
    assert waiting.result()


@pytest.mark.any_loop
@pytest.mark.parametrize("by", ["an interrupt", "another"])
def test_a_server_that_never_lets_a_thread_wait(
    by: str, driven: anyq.Connection, crossings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is handed over at a checkpoint, as it is not known when it waits, if ever."""
    direct: Any = driven.calls._direct

    def come_between(notice: object) -> None:
        if by == "an interrupt":
            direct._driver.interrupts.pending = True
        else:
            direct.post(lambda: None)
            while not direct._behind:
                pass

    in_python(monkeypatch)
    monkeypatch.setattr(Direct, "_wait", lambda self, turn, events: True)
    driven.add_notice_handler(come_between)
    query = "DO $$BEGIN RAISE NOTICE 'now'; END$$; SELECT generate_series(1, 100000)"
    if by == "an interrupt":
        with pytest.raises(KeyboardInterrupt):
            driven.execute(query)
    else:
        cursor = driven.execute(query)
        assert cursor.nextset()
        assert len(cursor.fetchall()) == 100000
    assert "_go_on" in crossings
    driven.rollback()
    assert driven.execute("SELECT 1").fetchone() == (1,)


def test_in_an_event_loop_that_is_not_the_portals(driven: anyq.Connection, crossings: list[str]) -> None:
    async def main() -> Any:
        return driven.execute("SELECT 1").fetchone()

    assert anyio.run(main) == (1,)
    assert crossings == []


def test_no_descriptor_is_left(portal_backend: object, dsn: str) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("there is no /proc")

    def work() -> None:
        with anyq.connect(dsn) as conn:
            for _ in range(3):
                conn.execute("SELECT 1")

    work()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        work()
    assert len(os.listdir("/proc/self/fd")) <= before


# -- TLS


@pytest.fixture
def over_tls(
    way: str, portal_backend: object, tls_server: TlsServer, crossings: list[str]
) -> Iterator[anyq.Connection]:
    with anyq.connect(tls_server.dsn("anyq_scram"), sslmode="require", autocommit=True) as conn:
        assert conn.info.ssl_in_use
        crossings.clear()
        yield conn


@pytest.mark.every_way
def test_over_tls(way: str, over_tls: anyq.Connection, crossings: list[str]) -> None:
    """Records of both sides, bigger than a socket takes at once."""
    text = "x" * 3_000_000
    for _ in range(3):
        assert over_tls.execute("SELECT %s::text", [text]).fetchone() == (text,)
        assert over_tls.execute("SELECT generate_series(1, 3)").fetchall() == [(1,), (2,), (3,)]
    with over_tls.cursor() as cursor:
        assert sum(1 for _ in cursor.stream("SELECT repeat('x', 1000) FROM generate_series(1, 5000)")) == 5000
    if way == "direct":
        assert crossings == []


def test_tls_is_closed_in_good_order_amid_a_call(way: str, over_tls: anyq.Connection) -> None:
    if way != "direct":
        pytest.skip("it is about what is run directly")

    def factory(cursor: Any) -> Any:
        over_tls.close()
        return tuple

    over_tls.cursor(row_factory=factory).execute("SELECT 1")
    assert over_tls.closed and not over_tls.broken
