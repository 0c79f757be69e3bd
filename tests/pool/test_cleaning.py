"""What a client leaves on a connection, and what the next one finds: nothing of it, whatever it was."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import anyio
import pytest

from anyq import AsyncConnection, AsyncRawCursor, AsyncRawServerCursor, IsolationLevel
from anyq.errors import OperationalError
from anyq.pool import AsyncConnectionPool
from anyq.pool.cleaning import Settings, is_clean
from anyq.rows import dict_row
from tests.support.activity import PATIENCE, held_lock
from tests.support.pools import until
from tests.support.server import Server
from tests.support.two_phase import need_two_phase

pytestmark = pytest.mark.anyio

Leave = Callable[[AsyncConnection], Awaitable[object]]


def configure(conn: AsyncConnection) -> None:
    """What the user of this file's pools wants of each connection."""
    conn.prepare_threshold = 3
    conn.add_notify_handler(handler)
    conn.add_notice_handler(handler)


def handler(what: object) -> None:
    raise AssertionError(f"nobody is to be told of {what!r}")


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[AsyncConnectionPool]:
    """A pool of one connection."""
    async with AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE, configure=configure) as pool:
        yield pool


QUESTIONS = """
SELECT current_setting('work_mem'), current_setting('search_path'), current_setting('application_name'),
    current_user, current_setting('my.own', true), current_setting('transaction_isolation'),
    current_setting('transaction_read_only'),
    (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_cursors WHERE name <> ''),
    (SELECT count(*) FROM pg_class WHERE relpersistence = 't'),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
"""


async def state(conn: AsyncConnection) -> tuple[object, ...]:
    """Return what the next client finds."""
    hub = conn.notifications
    settings = (
        conn.autocommit,
        conn.isolation_level,
        conn.read_only,
        conn.deferrable,
        conn.prepare_threshold,
        conn.prepared_max,
        conn.notice_handlers,
        tuple(hub.handlers),
        conn.row_factory,
        conn.cursor_factory,
        conn.info.transaction_status,
        hub.generators.has_kept,
        conn.info.encoding,
    )
    row = await (await conn.execute(QUESTIONS)).fetchone()
    assert isinstance(row, tuple)
    await conn.rollback()
    return (*settings, *(value or None for value in row))


# -- what is undone


async def in_transaction(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TABLE never (n int)")


async def in_failed_transaction(conn: AsyncConnection) -> None:
    with pytest.raises(Exception, match="zero"):
        await conn.execute("SELECT 1/0")


async def settings(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("SET work_mem TO '1234kB'")
    await conn.execute("SET search_path TO nowhere")
    await conn.execute("SET application_name TO 'left'")
    await conn.execute("SET my.own TO 1")
    await conn.execute("SET client_encoding TO latin1")


async def settings_in_a_transaction(conn: AsyncConnection) -> None:
    await conn.execute("SET work_mem TO '1234kB'")
    await conn.commit()


async def settings_among_others(conn: AsyncConnection) -> None:
    await conn.execute("SELECT 1; SET work_mem TO '1234kB'; SELECT 2")
    await conn.commit()


async def settings_prepared(conn: AsyncConnection) -> None:
    await conn.execute("SET work_mem TO '1234kB'", prepare=True)
    await conn.commit()


async def settings_in_a_pipeline(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        await conn.execute("SET work_mem TO '1234kB'")
    await conn.commit()


async def settings_by_function(conn: AsyncConnection) -> None:
    await conn.execute("SELECT set_config('work_mem', %s, false)", ["1234kB"])
    await conn.commit()


async def settings_of_many(conn: AsyncConnection) -> None:
    await conn.cursor().executemany("SELECT set_config('work_mem', %s, false)", [["1234kB"], ["1235kB"]])
    await conn.commit()


async def settings_by_a_block(conn: AsyncConnection) -> None:
    await conn.execute("DO $$ BEGIN SET work_mem TO '1234kB'; PERFORM pg_advisory_lock(1); END $$")
    await conn.commit()


async def settings_explained(conn: AsyncConnection) -> None:
    await conn.execute("EXPLAIN ANALYZE SELECT set_config('work_mem', '1234kB', false)")
    await conn.commit()


async def settings_by_what_was_prepared(conn: AsyncConnection) -> None:
    await conn.execute("PREPARE left_by_name AS SELECT set_config('work_mem', '1234kB', false)")
    await conn.execute("EXECUTE left_by_name")
    await conn.commit()


async def settings_in_a_copy(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY (SELECT set_config('work_mem', '1234kB', false)) TO STDOUT") as copy:
        await copy.read()
    await conn.commit()


async def settings_by_an_insert(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TABLE left_by_nobody (n text)")
    await conn.execute("INSERT INTO left_by_nobody SELECT set_config('work_mem', '1234kB', false)")
    await conn.execute("DROP TABLE left_by_nobody")
    await conn.commit()


async def settings_streamed(conn: AsyncConnection) -> None:
    async with conn.cursor().stream("SELECT set_config('work_mem', %s, false)", ["1234kB"]) as rows:
        async for _ in rows:
            pass
    await conn.commit()


async def role(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("SET SESSION AUTHORIZATION pg_monitor")


async def set_role(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("SET ROLE pg_monitor")


async def characteristics(conn: AsyncConnection) -> None:
    await conn.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY")
    await conn.commit()


async def everything_discarded(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("DISCARD ALL")


async def raw_listen(conn: AsyncConnection) -> None:
    await conn.execute("LISTEN remains")
    await conn.commit()
    await conn.execute("NOTIFY remains")
    await conn.commit()


async def listen_after_all(conn: AsyncConnection) -> None:
    async with conn.listen("remains") as stream:
        await conn.notify("remains")
        await conn.commit()
        await stream.receive()
    await conn.rollback()


async def kept_notifications(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    conn.remove_notify_handler(handler)
    await conn.execute("LISTEN remains")
    await conn.execute("NOTIFY remains")
    async for _ in conn.notifies(stop_after=1):
        pass
    await conn.execute("NOTIFY remains")
    await conn.execute("UNLISTEN *")


async def temporary_table(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMPORARY TABLE left_over (n int)")
    await conn.commit()


async def temporary_table_of_a_query(conn: AsyncConnection) -> None:
    await conn.execute("SELECT 1 AS n INTO TEMP left_over")
    await conn.commit()


async def temporary_view(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMP VIEW left_over AS SELECT 1")
    await conn.commit()


async def temporary_by_copy(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TABLE pg_temp.left_over (n int)")
    await conn.commit()


async def cursor_with_hold(conn: AsyncConnection) -> None:
    cur = conn.cursor("left", withhold=True)
    await cur.execute("SELECT generate_series(1, 10)")
    await conn.commit()


async def declared_with_hold(conn: AsyncConnection) -> None:
    await conn.execute("DECLARE left_over CURSOR WITH HOLD FOR SELECT 1")
    await conn.commit()


async def named_cursor(conn: AsyncConnection) -> None:
    cur = conn.cursor("left")
    await cur.execute("SELECT generate_series(1, 10)")
    await cur.fetchone()


async def advisory_lock(conn: AsyncConnection) -> None:
    await conn.execute("SELECT pg_advisory_lock(7)")
    await conn.commit()


async def advisory_lock_tried(conn: AsyncConnection) -> None:
    await conn.execute("SELECT pg_try_advisory_lock_shared(7)")
    await conn.commit()


async def attributes(conn: AsyncConnection) -> None:
    await conn.set_isolation_level(IsolationLevel.SERIALIZABLE)
    await conn.set_read_only(True)
    await conn.set_deferrable(True)
    await conn.set_autocommit(True)
    conn.prepare_threshold = None
    conn.prepared_max = 7
    conn.row_factory = dict_row  # type: ignore[assignment]
    conn.cursor_factory = AsyncRawCursor


async def handlers(conn: AsyncConnection) -> None:
    conn.add_notify_handler(print)
    conn.add_notice_handler(print)
    conn.remove_notice_handler(handler)
    conn.remove_notify_handler(handler)


async def cancelled_statement(conn: AsyncConnection) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(conn.execute, "SELECT set_config('work_mem', '1234kB', false), pg_sleep(60)")
        await until(lambda: conn.session.wire.protocol.pending)
        group.cancel_scope.cancel()


async def cancelled_in_autocommit_mode(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await cancelled_statement(conn)


async def failed_setting(conn: AsyncConnection) -> None:
    """It was there, if for a moment only."""
    await conn.set_autocommit(True)
    with pytest.raises(Exception, match="zero"):
        await conn.execute("SET work_mem TO '1234kB'; COMMIT; SELECT 1/0")


async def forgotten_transaction(conn: AsyncConnection) -> None:
    block = conn.transaction()
    await block.__aenter__()
    await conn.execute("SET LOCAL work_mem TO '1234kB'")
    del block
    gc.collect()


async def forgotten_pipeline(conn: AsyncConnection) -> None:
    block = conn.pipeline()
    await block.__aenter__()
    await conn.execute("SET work_mem TO '1234kB'")
    del block
    gc.collect()


async def stream_left(conn: AsyncConnection) -> None:
    async with conn.cursor().stream("SELECT generate_series(1, 100000)") as rows:
        async for _ in rows:
            break


async def nothing(conn: AsyncConnection) -> None:
    await conn.execute("SELECT 1")
    await conn.commit()


UNDONE: list[Leave] = [
    *(nothing, in_transaction, in_failed_transaction, settings, settings_in_a_transaction, settings_among_others),
    *(settings_prepared, settings_in_a_pipeline, settings_by_function, settings_of_many, settings_streamed, role),
    *(set_role, characteristics, everything_discarded, raw_listen, listen_after_all, kept_notifications),
    *(temporary_table, temporary_table_of_a_query, temporary_view, temporary_by_copy, cursor_with_hold),
    *(declared_with_hold, named_cursor, advisory_lock, advisory_lock_tried, attributes, handlers, cancelled_statement),
    *(failed_setting, stream_left, settings_by_a_block, settings_explained, settings_by_what_was_prepared),
    *(settings_in_a_copy, settings_by_an_insert, forgotten_transaction, forgotten_pipeline),
    cancelled_in_autocommit_mode,
]


@pytest.mark.parametrize("leave", UNDONE)
async def test_what_is_undone(pool: AsyncConnectionPool, leave: Leave) -> None:
    async with pool.connection() as conn:
        conn.prepare_threshold = 3
        before = await state(conn)
    first = await pool.getconn()
    await leave(first)
    await pool.putconn(first)
    async with pool.connection() as conn:
        assert conn is first, "it is of use still"
        assert is_clean(conn, conn, Settings(conn, conn)), "nothing is left to be undone by the next client's statement"
        assert await state(conn) == before
        assert is_clean(conn, conn, Settings(conn, conn)), "the next return takes nothing"


ATTRIBUTES = {
    "autocommit": True,
    "isolation_level": IsolationLevel.SERIALIZABLE,
    "read_only": True,
    "deferrable": True,
    "prepare_threshold": 9,
    "prepared_max": 9,
    "row_factory": dict_row,
    "cursor_factory": AsyncRawCursor,
    "server_cursor_factory": AsyncRawServerCursor,
}


def told(settings: Settings) -> dict[str, object]:
    """Return what there is in settings."""
    return {name: getattr(settings, name) for name in (*ATTRIBUTES, "notice_handlers", "notify_handlers")}


@pytest.mark.parametrize("name", ATTRIBUTES)
async def test_each_attribute_alone(pool: AsyncConnectionPool, name: str) -> None:
    async with pool.connection() as conn:
        before = told(Settings(conn, conn))
        if name in ("autocommit", "isolation_level", "read_only", "deferrable"):
            await getattr(conn, f"set_{name}")(ATTRIBUTES[name])
        else:
            setattr(conn, name, ATTRIBUTES[name])
        changed = told(Settings(conn, conn))
        assert [field for field in before if before[field] != changed[field]] == [name]
    async with pool.connection() as again:
        assert again is conn
        assert told(Settings(conn, conn)) == before


async def test_what_was_prepared_under_another_search_path(dsn: str) -> None:
    """The reset gives names another meaning, so that the types of parameters are looked up again."""
    options = "-c search_path=of_all"
    async with AsyncConnectionPool(dsn, min_size=1, kwargs={"prepare_threshold": 0, "options": options}) as pool:
        try:
            async with pool.connection() as conn:
                for schema in ("of_all", "of_a_client"):
                    await conn.execute(f"CREATE SCHEMA {schema}")
                    await conn.execute(f"CREATE TYPE {schema}.label AS ENUM ('{schema}')")
                await conn.execute("SET search_path TO of_a_client")
                await conn.commit()
                for _ in range(3):
                    await conn.execute("SELECT %s::label", ["of_a_client"])
            async with pool.connection() as again:
                assert again is conn
                cur = await again.execute("SELECT %s::label", ["of_all"])
                assert await cur.fetchone() == ("of_all",)
        finally:
            async with pool.connection() as conn:
                await conn.execute("DROP SCHEMA of_all, of_a_client CASCADE")


# -- what nobody goes on with


async def open_copy(conn: AsyncConnection) -> object:
    await conn.execute("CREATE TEMP TABLE copied (n int)")
    copy = conn.cursor().copy("COPY copied FROM STDIN")
    await copy.__aenter__()
    return copy


async def open_copy_out(conn: AsyncConnection) -> object:
    copy = conn.cursor().copy("COPY (SELECT generate_series(1, 1000000)) TO STDOUT")
    await copy.__aenter__()
    return copy


async def open_stream(conn: AsyncConnection) -> object:
    stream = conn.cursor().stream("SELECT generate_series(1, 1000000)")
    await stream.__aenter__()
    await stream.__anext__()
    return stream


async def entered_transaction(conn: AsyncConnection) -> object:
    block = conn.transaction()
    await block.__aenter__()
    return block


async def entered_pipeline(conn: AsyncConnection) -> object:
    block = conn.pipeline()
    await block.__aenter__()
    await conn.execute("SELECT 1")
    return block


async def two_phase_begun(conn: AsyncConnection) -> None:
    await conn.tpc_begin("left")
    await conn.execute("SELECT 1")


async def two_phase_failed(conn: AsyncConnection) -> None:
    await conn.tpc_begin("left")
    with pytest.raises(Exception, match="zero"):
        await conn.execute("SELECT 1/0")
    with pytest.raises(Exception, match="rolled back and not prepared"):
        await conn.tpc_prepare()


async def subscription(conn: AsyncConnection) -> object:
    block = conn.listen("remains")
    await block.__aenter__()
    return block


async def generator(conn: AsyncConnection) -> object:
    await conn.set_autocommit(True)
    conn.remove_notify_handler(handler)
    await conn.execute("LISTEN remains")
    await conn.execute("NOTIFY remains")
    found = conn.notifies()
    await found.__anext__()
    return found


CLOSED: dict[Leave, str] = {
    open_copy: "a COPY was open",
    open_copy_out: "a COPY was open",
    open_stream: "a statement was under way",
    entered_transaction: "a transaction block was entered",
    entered_pipeline: "a pipeline block was entered",
    two_phase_begun: "there was a two-phase transaction",
    two_phase_failed: "there was a two-phase transaction",
    subscription: "somebody was listening",
    generator: "somebody was listening",
}


@pytest.mark.parametrize("leave", CLOSED)
async def test_what_somebody_may_go_on_with(
    pool: AsyncConnectionPool, leave: Leave, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool.connection() as conn:
        before = await state(conn)
    first = await pool.getconn()
    left = await leave(first)
    with anyio.fail_after(PATIENCE):
        await pool.putconn(first)
    assert first.closed
    assert CLOSED[leave] in caplog.text
    async with pool.connection() as conn:
        assert conn is not first
        assert await state(conn) == before
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["returns_bad"]) == (1, 1)
    if hasattr(left, "__aexit__"):
        with suppress(OperationalError):
            await left.__aexit__(None, None, None)


@pytest.mark.parametrize("by_hand", [True, False], ids=["putconn", "block"])
async def test_a_transaction_that_was_prepared(
    server: Server, pool: AsyncConnectionPool, by_hand: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays prepared for who ends it, and the next client has nothing of it."""
    need_two_phase(server)
    gid = f"prepared and left {by_hand}"
    async with AsyncExitStack() as stack:
        conn = await pool.getconn() if by_hand else await stack.enter_async_context(pool.connection())
        await conn.tpc_begin(gid)
        await conn.execute("SELECT pg_current_xact_id()")
        await conn.tpc_prepare()
    if by_hand:
        await pool.putconn(conn)
    assert conn.closed
    assert "there was a two-phase transaction" in caplog.text
    async with pool.connection() as other:
        await other.execute("SELECT 1")
        found = await (await other.execute("SELECT 1 FROM pg_prepared_xacts WHERE gid = %s", [gid])).fetchone()
    await pool.execute(f"ROLLBACK PREPARED '{gid}'")
    assert found == (1,)


async def test_a_statement_of_another_task(pool: AsyncConnectionPool, dsn: str) -> None:
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        first = await pool.getconn()

        async def other() -> None:
            with pytest.raises(Exception, match="closed"):
                await first.execute(lock.statement)

        group.start_soon(other)
        await lock.until_wanted(first.info.backend_pid)
        await pool.putconn(first)
        assert first.closed


async def test_told_of_a_transaction(pool: AsyncConnectionPool, caplog: pytest.LogCaptureFixture) -> None:
    conn = await pool.getconn()
    await conn.execute("SELECT 1")
    await pool.putconn(conn)
    assert [record.name for record in caplog.records] == ["anyq.pool"]
    assert "was returned to 'pool-" in caplog.text
    assert "in a transaction, which is rolled back" in caplog.text
    assert pool.get_stats()["returns_bad"] == 1


async def test_what_a_block_leaves_is_no_fault(pool: AsyncConnectionPool, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pool.connection() as conn:
            await conn.execute("SET work_mem TO '1234kB'")
            _ = 1 / 0
    assert not caplog.records
    assert pool.get_stats()["returns_bad"] == 0


# -- configured again, and the user's own reset


async def test_what_was_reset_is_configured_again(dsn: str) -> None:
    configured = 0

    async def configure(conn: AsyncConnection) -> None:
        nonlocal configured
        configured += 1
        await conn.execute("SET work_mem TO '777kB'")
        await conn.commit()
        conn.add_notify_handler(handler)

    async with AsyncConnectionPool(dsn, min_size=1, configure=configure) as pool:
        for leaves, expected in [(False, 1), (True, 2), (False, 2), (False, 2), (True, 3)]:
            async with pool.connection() as conn:
                assert await (await conn.execute("SHOW work_mem")).fetchone() == ("777kB",)
                assert conn.notifications.handlers == [handler]
                if leaves:
                    await conn.execute("SET work_mem TO '1234kB'")
            assert configured == expected
        assert pool.get_stats()["connections_num"] == 1


async def test_a_reset_of_the_users(dsn: str) -> None:
    """It comes last, and what it does is not undone."""
    times = 0

    async def reset(conn: AsyncConnection) -> None:
        nonlocal times
        times += 1
        assert conn.info.transaction_status.name == "IDLE"
        await conn.set_autocommit(True)
        await conn.execute("SET application_name TO 'reset'")
        await conn.set_autocommit(False)

    async with AsyncConnectionPool(dsn, min_size=1, reset=reset) as pool:
        for _ in range(2):
            async with pool.connection() as conn:
                await conn.execute("SELECT 1")
        async with pool.connection() as conn:
            assert await (await conn.execute("SHOW application_name")).fetchone() == ("reset",)
        assert (times, pool.get_stats()["connections_num"]) == (3, 1)


@pytest.mark.parametrize("what", ["raises", "leaves a transaction", "closes it"])
async def test_a_reset_that_goes_wrong(dsn: str, caplog: pytest.LogCaptureFixture, what: str) -> None:
    async def reset(conn: AsyncConnection) -> None:
        if what == "closes it":
            await conn.close()
            return
        await conn.execute("SELECT 1/0" if what == "raises" else "SELECT 1")

    messages = {"raises": "division by zero", "leaves a transaction": "reset has left a transaction open (INTRANS)"}
    async with AsyncConnectionPool(dsn, min_size=1, reset=reset) as pool:
        async with pool.connection() as conn:
            pass
        assert conn.closed
        assert messages.get(what, "it was lost") in caplog.text
        assert caplog.records[0].levelno == logging.WARNING
        async with pool.connection() as other:
            assert other is not conn


async def test_prepared_statements_and_adapters_stay(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as conn:
        await conn.execute("SELECT %s::int", [1], prepare=True)
    async with pool.connection() as conn:
        cur = await conn.execute("SELECT count(*) FROM pg_prepared_statements")
        assert await cur.fetchone() == (1,)


async def test_nothing_is_sent_for_nothing(pool: AsyncConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nothing is left on comes back without a message to the server, and without waiting."""
    async with pool.connection() as conn:
        await conn.execute("SELECT 1")
    conn = await pool.getconn()
    monkeypatch.setattr(pool.lender, "take_back", None)
    coroutine = pool.putconn(conn)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert pool.get_stats()["pool_available"] == 1
