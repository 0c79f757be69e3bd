"""Behind PgBouncer, in session and in transaction mode, and behind pgpool-II: real ones, where they are installed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq import errors as e
from tests.support.activity import until_sleeping
from tests.support.poolers import Pooler, PoolerMissing, find_program, pgbouncer, pgbouncer_version, pgpool
from tests.support.server import Server
from tests.support.stepping import cancel_when_blocked
from tests.support.two_phase import need_two_phase

pytestmark = [pytest.mark.anyio, pytest.mark.once]

PATIENCE = 30.0
MODES = ["session", "transaction", "pgpool"]


class Poolers:
    """The poolers of this module's tests, started when the first test asks for them."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._running: dict[str, Pooler | PoolerMissing] = {}

    def _start(self, name: str, run: Callable[[Server], AbstractContextManager[Pooler]]) -> Pooler:
        if name not in self._running:
            try:
                self._running[name] = self._stack.enter_context(run(self._server))
            except PoolerMissing as missing:
                self._running[name] = missing
        pooler = self._running[name]
        if isinstance(pooler, PoolerMissing):
            pytest.skip(str(pooler))
        return pooler

    @property
    def pgbouncer(self) -> Pooler:
        return self._start("pgbouncer", pgbouncer)

    @property
    def pgbouncer_version(self) -> tuple[int, ...]:
        assert self.pgbouncer
        return pgbouncer_version(find_program("pgbouncer", "pgbouncer"))

    @property
    def pgpool(self) -> Pooler:
        return self._start("pgpool", pgpool)

    def dsn(self, mode: str) -> str:
        """The connection string of the superuser through a pooler in that mode."""
        return self.pgpool.dsn("postgres") if mode == "pgpool" else self.pgbouncer.dsn(mode)


@pytest.fixture(scope="module")
def poolers(server: Server) -> Iterator[Poolers]:
    if not server.is_embedded:
        pytest.skip("a pooler needs the embedded server, and the tests were given an external one")
    with ExitStack() as stack:
        yield Poolers(server, stack)


def settings(mode: str) -> dict[str, Any]:
    """What the documentation says to connect with."""
    return {"prepare_threshold": None} if mode == "transaction" else {}


async def both_server_connections(poolers: Poolers) -> None:
    """Have both connections of the pool for transactions made, so that they take turns from now on."""
    async with (
        AsyncConnection.connect(poolers.dsn("transaction")) as one,
        AsyncConnection.connect(poolers.dsn("transaction")) as other,
    ):
        await one.execute("SELECT 1")
        await other.execute("SELECT 1")


async def value(conn: AsyncConnection, query: str, params: Any = None, **kwargs: Any) -> Any:
    cursor = await conn.execute(query, params, **kwargs)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


def test_what_is_said_where_one_is_missing() -> None:
    with pytest.raises(PoolerMissing, match="anyq-none is not installed; on Debian: apt-get install anyq-none-package"):
        find_program("anyq-none", "anyq-none-package")


# -- what works in every mode


@pytest.mark.parametrize("mode", MODES)
async def test_queries(mode: str, server: Server, poolers: Poolers) -> None:
    """By the simple protocol and by the extended one, and the statements that are run often enough to be prepared."""
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        assert conn.info.server_version == int(server.psql("SHOW server_version_num"))
        assert conn.info.encoding == "utf-8"
        assert await value(conn, "SELECT 1") == 1
        await conn.commit()
        for number in range(8):
            assert await value(conn, "SELECT %s::int", [number]) == number
            await conn.commit()
        assert await value(conn, "SELECT %s::int4[]", [[1, 2]], binary=True) == [1, 2]
        cursor = await conn.execute("SELECT 1; SELECT 'ä'")
        assert [await result.fetchall() async for result in cursor.results()] == [[(1,)], [("ä",)]]
        with pytest.raises(e.DivisionByZero):
            await conn.execute("SELECT 1 / %s", [0])
        await conn.rollback()
        assert await value(conn, "SELECT 2") == 2


@pytest.mark.parametrize("mode", MODES)
async def test_transactions(mode: str, poolers: Poolers, schema: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (n int)".encode())
        async with conn.transaction():
            await conn.execute(f"INSERT INTO {schema}.t VALUES (1)".encode())
            with pytest.raises(ZeroDivisionError):
                async with conn.transaction():
                    await conn.execute(f"INSERT INTO {schema}.t VALUES (2)".encode())
                    raise ZeroDivisionError
            await conn.execute(f"INSERT INTO {schema}.t VALUES (%s)".encode(), [3])
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction():
                await conn.execute(f"INSERT INTO {schema}.t VALUES (4)".encode())
                raise ZeroDivisionError
        cursor = await conn.execute(f"SELECT n FROM {schema}.t ORDER BY n".encode())
        assert await cursor.fetchall() == [(1,), (3,)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("autocommit", [False, True])
async def test_tasks_that_share_a_connection(autocommit: bool, mode: str, poolers: Poolers) -> None:
    """They are pipelined: many requests are on their way when the first reply comes."""
    found: dict[int, Any] = {}

    async def ask(conn: AsyncConnection, number: int) -> None:
        found[number] = await value(conn, "SELECT %s::int", [number])

    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=autocommit, **settings(mode)) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for number in range(30):
                    group.start_soon(ask, conn, number)
        assert found == {number: number for number in range(30)}
        assert await value(conn, "SELECT 'still here'") == "still here"


@pytest.mark.parametrize("mode", MODES)
async def test_executemany(mode: str, poolers: Poolers, schema: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (n int, s text)".encode())
        cursor = conn.cursor()
        with anyio.fail_after(PATIENCE):
            await cursor.executemany(
                f"INSERT INTO {schema}.t VALUES (%s, %s)".encode(), [(n, "x" * 100) for n in range(5000)]
            )
        assert cursor.rowcount == 5000
        await cursor.executemany("SELECT %s::int", [(1,), (2,)], returning=True)
        assert [await result.fetchone() async for result in cursor.results()] == [(1,), (2,)]
        assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 5000
        with pytest.raises(e.NotNullViolation):
            await conn.execute(f"ALTER TABLE {schema}.t ALTER n SET NOT NULL".encode())
            await cursor.executemany(f"INSERT INTO {schema}.t VALUES (%s, '')".encode(), [(1,), (None,), (2,)])
        assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 5000


@pytest.mark.parametrize("mode", MODES)
async def test_executemany_that_is_prepared(mode: str, poolers: Poolers, schema: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (n int)".encode())
        query = f"INSERT INTO {schema}.t VALUES (%s)".encode()
        with anyio.fail_after(PATIENCE):
            for _ in range(8):
                await conn.cursor().executemany(query, [(1,), (None,), (2,)])
            await conn.commit()
            for _ in range(2):
                with pytest.raises(e.InvalidTextRepresentation):
                    await conn.cursor().executemany(query, [("1",), ("x",)])
                await conn.rollback()
                await conn.cursor().executemany(query, [(None,), (1,)])
                await conn.commit()
        assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 28


@pytest.mark.parametrize("mode", MODES)
async def test_executemany_that_breaks_off(mode: str, poolers: Poolers, schema: str) -> None:
    """What was sent is undone, by an error that the driver makes the server raise."""

    def sets() -> Iterator[tuple[int]]:
        for number in range(3000):
            yield (number,)
        raise ZeroDivisionError

    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (n int)".encode())
        with anyio.fail_after(PATIENCE):
            with pytest.raises(ZeroDivisionError):
                await conn.cursor().executemany(f"INSERT INTO {schema}.t VALUES (%s)".encode(), sets())
            assert not conn.closed
            assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 0


@pytest.mark.parametrize("mode", MODES)
async def test_stream(mode: str, poolers: Poolers) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        total = 0
        with anyio.fail_after(PATIENCE):
            async for row in conn.cursor().stream("SELECT n, repeat('x', 100) FROM generate_series(1, %s) n", [20000]):
                total += row[0]
            assert total == 20000 * 20001 // 2
            async with conn.cursor().stream("SELECT generate_series(1, 100000000)") as rows:
                assert await anext(aiter(rows)) == (1,)
        await conn.rollback()
        assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_statement(mode: str, poolers: Poolers, dsn: str) -> None:
    """The request to cancel goes through the pooler, which passes it on to the right server process."""
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        pid = await value(conn, "SELECT pg_backend_pid()")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:

                async def sleep() -> None:
                    await conn.execute("SELECT pg_sleep(1000)")

                group.start_soon(sleep)
                await until_sleeping(dsn, pid)
                group.cancel_scope.cancel()
        assert not conn.closed
        await conn.rollback()
        assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_cancel_safe(mode: str, poolers: Poolers, dsn: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        pid = await value(conn, "SELECT pg_backend_pid()")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:

                async def sleep() -> None:
                    with pytest.raises(e.QueryCanceled):
                        await conn.execute("SELECT pg_sleep(1000)")

                group.start_soon(sleep)
                await until_sleeping(dsn, pid)
                await conn.cancel_safe()
        await conn.rollback()
        assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_server_settings_at_the_start(mode: str, poolers: Poolers) -> None:
    """What PgBouncer keeps track of comes through."""
    dsn = poolers.dsn(mode)
    async with AsyncConnection.connect(dsn, application_name="anyq é", **settings(mode)) as conn:
        assert await value(conn, "SHOW client_encoding") == "UTF8"
        if mode == "pgpool" or poolers.pgbouncer_version < (1, 24):
            # Whatever version was asked for first.
            assert conn.info.protocol_version == 30000
        # What is not ASCII in it the server replaces.
        expected = "anyq \\xc3\\xa9" if conn.info.server_version >= 160000 else "anyq ??"
        assert await value(conn, "SHOW application_name") in ("anyq é", expected)
    async with AsyncConnection.connect(dsn, client_encoding="LATIN1", **settings(mode)) as conn:
        assert conn.info.encoding == "iso8859-1"
        assert await value(conn, "SELECT 'é' || %s", ["ü"]) == "éü"


@pytest.mark.parametrize("mode", MODES)
async def test_a_pooler_that_is_gone(mode: str, server: Server, poolers: Poolers) -> None:
    """Everybody on its connections hears of it, and the next attempt to connect too."""
    run = pgpool if mode == "pgpool" else pgbouncer
    poolers.dsn(mode)  # skips where it is not installed
    with run(server) as pooler:
        dsn = pooler.dsn("postgres" if mode == "pgpool" else mode)
        async with (
            AsyncConnection.connect(dsn, **settings(mode)) as busy,
            AsyncConnection.connect(dsn, **settings(mode)) as idle,
        ):
            pid = await value(busy, "SELECT pg_backend_pid()")

            async def sleep() -> None:
                with pytest.raises(e.OperationalError):
                    await busy.execute("SELECT pg_sleep(1000)")

            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as group:
                    group.start_soon(sleep)
                    group.start_soon(idle.wait_disconnected)
                    await until_sleeping(server.dsn, pid)
                    pooler.kill()
            assert busy.broken and idle.broken
        with pytest.raises(e.OperationalError):
            await AsyncConnection.connect(dsn)


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("name", ["pgbouncer", "pgpool"])
async def test_scram(name: str, password: str, poolers: Poolers, server: Server) -> None:
    """It is the pooler that asks, and that has to prove that it knows the password."""
    role = server.roles["scram-sha-256"]
    pooler, dbname = (poolers.pgbouncer, "scram") if name == "pgbouncer" else (poolers.pgpool, "postgres")
    dsn = pooler.dsn(dbname, role.user, password or role.password)
    if password:
        with pytest.raises(e.OperationalError):
            await AsyncConnection.connect(dsn, require_auth="scram-sha-256")
    else:
        async with AsyncConnection.connect(dsn, require_auth="scram-sha-256", prepare_threshold=None) as conn:
            assert await value(conn, "SELECT current_user::text") == role.user


# -- PgBouncer


async def test_startup_parameters_that_pgbouncer_refuses(poolers: Poolers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message names them; `ignore_startup_parameters` is its setting for them."""
    dsn = poolers.dsn("session")
    monkeypatch.setenv("PGGEQO", "off")
    with pytest.raises(e.ProtocolViolation, match="unsupported startup parameter: geqo"):
        await AsyncConnection.connect(dsn)
    monkeypatch.delenv("PGGEQO")
    if poolers.pgbouncer_version < (1, 20):
        with pytest.raises(e.ProtocolViolation, match="unsupported startup parameter: options"):
            await AsyncConnection.connect(dsn, options="-c work_mem=1MB")


async def test_a_wait_for_a_server_connection_is_cancelled(poolers: Poolers) -> None:
    """The request to cancel has no server to go to, and PgBouncer lets the client wait on: the grace time ends it."""
    dsn = poolers.dsn("transaction")
    async with (
        AsyncConnection.connect(dsn, prepare_threshold=None) as one,
        AsyncConnection.connect(dsn, prepare_threshold=None) as other,
        AsyncConnection.connect(dsn, prepare_threshold=None, grace_period=0.2) as third,
    ):
        await one.execute("SELECT 1")
        await other.execute("SELECT 1")
        with anyio.fail_after(PATIENCE):
            await cancel_when_blocked(lambda: third.execute("SELECT 1"))
            with pytest.raises(e.OperationalError):
                await third.execute("SELECT 2")
        assert await value(one, "SELECT 1") == 1


async def test_a_place_in_the_pool_is_waited_for(poolers: Poolers) -> None:
    dsn = poolers.dsn("transaction")
    async with (
        AsyncConnection.connect(dsn, prepare_threshold=None) as one,
        AsyncConnection.connect(dsn, prepare_threshold=None) as other,
        AsyncConnection.connect(dsn, prepare_threshold=None) as third,
    ):
        await one.execute("SELECT 1")
        await other.execute("SELECT 1")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(third.execute, "SELECT 1")
                await anyio.wait_all_tasks_blocked()
                await one.commit()


# -- PgBouncer in transaction mode, with statements that are prepared all the same


@pytest.fixture
def without_prepared(poolers: Poolers) -> Poolers:
    """PgBouncer that does not know of prepared statements."""
    if poolers.pgbouncer_version >= (1, 21):
        pytest.skip("this PgBouncer keeps prepared statements")
    return poolers


@asynccontextmanager
async def elsewhere(poolers: Poolers, pid: int) -> AsyncIterator[AsyncConnection]:
    """Keep one server connection of the pool for transactions busy, so that everybody else gets the other one."""
    async with AsyncConnection.connect(poolers.dsn("transaction"), prepare_threshold=None) as blocker:
        with anyio.fail_after(PATIENCE):
            while await value(blocker, "SELECT pg_backend_pid()") != pid:
                # They take turns.
                await blocker.rollback()
        yield blocker


async def test_a_lost_statement_is_prepared_again(without_prepared: Poolers) -> None:
    """Outside a transaction, and with a transaction's first statement, which brings its BEGIN along."""
    await both_server_connections(without_prepared)
    dsn = without_prepared.dsn("transaction")
    for autocommit in (True, False):
        async with AsyncConnection.connect(dsn, autocommit=autocommit, prepare_threshold=0) as conn:
            pid = await value(conn, "SELECT pg_backend_pid() + %s::int", [0])
            await conn.commit()
            async with elsewhere(without_prepared, pid):
                assert await value(conn, "SELECT pg_backend_pid() + %s::int", [0]) != pid
                await conn.commit()


@pytest.mark.parametrize("autocommit", [True, False])
async def test_a_lost_statement_of_executemany_is_prepared_again(without_prepared: Poolers, autocommit: bool) -> None:
    async def pids(conn: AsyncConnection) -> set[Any]:
        cur = conn.cursor()
        sets: list[list[Any]] = [[0], [0], [None], [0]]
        await cur.executemany("SELECT pg_backend_pid() + coalesce(%s, 0)", sets, returning=True)
        found = [await result.fetchone() async for result in cur.results()]
        await conn.commit()
        return set(found)

    await both_server_connections(without_prepared)
    async with AsyncConnection.connect(
        without_prepared.dsn("transaction"), autocommit=autocommit, prepare_threshold=0
    ) as conn:
        ((pid,),) = await pids(conn)
        async with elsewhere(without_prepared, pid):
            for _ in range(2):
                ((other,),) = await pids(conn)
                assert other != pid


async def test_a_lost_statement_inside_a_transaction(without_prepared: Poolers) -> None:
    """The transaction is lost with it, so it is the caller who has to know."""
    await both_server_connections(without_prepared)
    dsn = without_prepared.dsn("transaction")
    async with AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=0) as conn:
        pid = await value(conn, "SELECT pg_backend_pid() + %s::int", [0])
        async with elsewhere(without_prepared, pid):
            with pytest.raises(e.InvalidSqlStatementName, match="prepare_threshold=None") as caught:
                async with conn.transaction():
                    await conn.execute("SELECT 1", prepare=False)
                    await conn.execute("SELECT pg_backend_pid() + %s::int", [0])
            assert caught.value.sqlstate == "26000"
            assert "max_prepared_statements" in (caught.value.diag.message_hint or "")
            # Now it is known, and prepared where it is needed.
            async with conn.transaction():
                await conn.execute("SELECT 1", prepare=False)
                assert await value(conn, "SELECT pg_backend_pid() + %s::int", [0]) != pid


async def test_nobody_runs_the_statement_of_another(without_prepared: Poolers) -> None:
    """Statements that one connection has left on a server connection are never taken for another's."""
    await both_server_connections(without_prepared)
    for query, expected in (("SELECT 'one', %s", "one"), ("SELECT 'two', %s", "two")):
        async with AsyncConnection.connect(
            without_prepared.dsn("transaction"), autocommit=True, prepare_threshold=0
        ) as conn:
            for _ in range(4):
                assert await value(conn, query, ["x"]) == expected


@pytest.mark.parametrize("autocommit", [False, True])
async def test_prepared_statements_that_pgbouncer_keeps(autocommit: bool, poolers: Poolers) -> None:
    """From 1.21 on, with its max_prepared_statements: nothing has to be turned off."""
    if poolers.pgbouncer_version < (1, 21):
        pytest.skip("the PgBouncer that is installed keeps no prepared statements: 1.21 is the first that does")
    await both_server_connections(poolers)
    async with AsyncConnection.connect(poolers.dsn("transaction"), autocommit=autocommit, prepare_threshold=0) as conn:
        for number in range(6):
            async with conn.transaction():
                for _ in range(2):
                    assert await value(conn, "SELECT %s::int", [number]) == number


# -- what a transaction mode cannot keep


async def test_settings_in_transaction_mode(poolers: Poolers) -> None:
    """PgBouncer carries some of them over to the next server connection; the others stay behind."""
    await both_server_connections(poolers)
    dsn = poolers.dsn("transaction")
    async with AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None) as conn:
        async with conn.transaction():
            pid = await value(conn, "SELECT pg_backend_pid()")
            await conn.execute("SET timezone = 'Asia/Tokyo'; SET datestyle = 'ISO, DMY'")
            await conn.execute("SET work_mem = '123MB'; SET intervalstyle = 'iso_8601'")
        async with elsewhere(poolers, pid) as somebody_else:
            assert await value(conn, "SHOW timezone") == "Asia/Tokyo"
            assert await value(conn, "SHOW datestyle") == "ISO, DMY"
            assert str(await value(conn, "SELECT timestamptz '01/02/2026 00:00Z'")) == "2026-02-01 09:00:00+09:00"
            assert await value(conn, "SHOW work_mem") != "123MB"
            assert await value(somebody_else, "SHOW work_mem") == "123MB"
            assert await value(somebody_else, "SHOW timezone") != "Asia/Tokyo"
            if poolers.pgbouncer_version < (1, 20):
                assert await value(conn, "SHOW intervalstyle") == "postgres"
                assert await value(somebody_else, "SHOW intervalstyle") == "iso_8601"
            await somebody_else.execute("RESET work_mem; RESET intervalstyle")
            await somebody_else.commit()


# -- notifications


@pytest.mark.parametrize("mode", ["session", "pgpool"])
async def test_listen(mode: str, poolers: Poolers, dsn: str) -> None:
    async with (
        AsyncConnection.connect(poolers.dsn(mode), autocommit=True) as conn,
        AsyncConnection.connect(dsn, autocommit=True) as other,
    ):
        with anyio.fail_after(PATIENCE):
            async with conn.listen("anyq_pooler") as stream:
                await conn.notify("anyq_pooler", "own")
                assert (await stream.receive()).payload == "own"
                await other.notify("anyq_pooler", "another's")
                assert (await stream.receive()).payload == "another's"


async def test_listen_in_transaction_mode(poolers: Poolers) -> None:
    """It stays behind on a server connection that is somebody else's afterwards; so the manual says not to."""
    await both_server_connections(poolers)
    dsn = poolers.dsn("transaction")
    channels = "SELECT array_agg(channel) FROM pg_listening_channels() channel"
    async with AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None) as conn:
        async with conn.transaction():
            pid = await value(conn, "SELECT pg_backend_pid()")
            await conn.execute("LISTEN anyq_left_behind")
        async with elsewhere(poolers, pid) as somebody_else:
            assert await value(conn, channels) is None
            assert await value(somebody_else, channels) == ["anyq_left_behind"]
            await somebody_else.execute("UNLISTEN *")
            await somebody_else.commit()


# -- COPY, named cursors, pipelines, two-phase commit


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
async def test_copy(mode: str, options: str, poolers: Poolers, schema: str) -> None:
    rows = [(n, f"row {n}") for n in range(20_000)]
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:
        with anyio.fail_after(PATIENCE):
            await conn.execute(f"CREATE TABLE {schema}.t (n int, x text)".encode())
            async with conn.cursor().copy(f"COPY {schema}.t FROM STDIN{options}".encode()) as copy:
                copy.set_types(["int4", "text"])
                for row in rows:
                    await copy.write_row(row)
            for transaction in (False, True):
                async with conn.transaction() if transaction else nullcontext():
                    query = f"COPY (SELECT * FROM {schema}.t ORDER BY n) TO STDOUT{options}"
                    async with conn.cursor().copy(query.encode()) as copy:
                        copy.set_types(["int4", "text"])
                        assert [row async for row in copy.rows()] == rows
                    assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_copy_that_is_left_early(mode: str, poolers: Poolers, schema: str) -> None:
    """The request to cancel goes through the pooler. In a transaction it takes that with it."""
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:
        with anyio.fail_after(PATIENCE):
            for rows in (3, 100_000_000):
                async with conn.cursor().copy(f"COPY (SELECT generate_series(1, {rows})) TO STDOUT".encode()) as copy:
                    assert await copy.read() == b"1\n"
                assert not conn.closed
                assert await value(conn, "SELECT 1") == 1
            await conn.execute(f"CREATE TABLE {schema}.t (n int)".encode())
            for size in (1, 100_000):
                with pytest.raises(ZeroDivisionError):
                    async with conn.cursor().copy(f"COPY {schema}.t FROM STDIN".encode()) as copy:
                        await copy.write("1\n" * size)
                        raise ZeroDivisionError
                assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 0
            with pytest.raises(e.InFailedSqlTransaction):
                async with conn.transaction():
                    async with conn.cursor().copy("COPY (SELECT generate_series(1, 100000000)) TO STDOUT") as copy:
                        assert await copy.read() == b"1\n"
                    await conn.execute("SELECT 1")
            assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_copy_that_is_cancelled(mode: str, poolers: Poolers, server: Server, dsn: str, schema: str) -> None:
    """While it waits for the server to send something, or to take it."""
    server.psql(f"CREATE TABLE {schema}.t (n int CHECK (pg_sleep(1000) IS NOT NULL))")
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:

        async def read() -> None:
            async with conn.cursor().copy("COPY (SELECT pg_sleep(1000)) TO STDOUT") as copy:
                await copy.read()

        async def write() -> None:
            async with conn.cursor().copy(f"COPY {schema}.t FROM STDIN".encode()) as copy:
                await copy.write("1\n")

        for busy in (read, write):
            with anyio.fail_after(PATIENCE), pytest.raises(e.InFailedSqlTransaction):
                async with conn.transaction(), anyio.create_task_group() as group:
                    pid = await value(conn, "SELECT pg_backend_pid()")
                    group.start_soon(busy)
                    await until_sleeping(dsn, pid)
                    group.cancel_scope.cancel()
            assert not conn.closed
            assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_named_cursors(mode: str, poolers: Poolers) -> None:
    query = "SELECT n, repeat('x', 10) FROM generate_series(1, %s) n"
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        with anyio.fail_after(PATIENCE):
            async with conn.cursor("named", scrollable=True) as cur:
                await cur.execute(query, [1000])
                assert [row[0] async for row in cur] == list(range(1, 1001))
                await cur.scroll(5, mode="absolute")
                assert (await cur.fetchone() or (0,))[0] == 6
            # Left with rows that were not fetched.
            async with conn.cursor("named") as cur:
                await cur.execute(query, [1000])
                assert len(await cur.fetchmany(10)) == 10
            await conn.commit()
            assert await value(conn, "SELECT 1") == 1


async def test_pgpool_knows_no_named_cursors(poolers: Poolers) -> None:
    """It wants to have seen the Bind of what is described, and closes the connection otherwise."""
    for withhold in (False, True):
        async with AsyncConnection.connect(poolers.dsn("pgpool")) as conn:
            with anyio.fail_after(PATIENCE):
                with pytest.raises(e.InternalError_, match="unable to get the bind message"):
                    await conn.cursor("named", withhold=withhold).execute("SELECT generate_series(1, %s)", [10])
                assert conn.closed
    # Nothing is described where one is declared by hand.
    async with AsyncConnection.connect(poolers.dsn("pgpool")) as conn:
        with anyio.fail_after(PATIENCE):
            await conn.execute("DECLARE named CURSOR FOR SELECT generate_series(1, 10)")
            cur = await conn.execute("FETCH 3 FROM named")
            assert await cur.fetchall() == [(1,), (2,), (3,)]


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_cursors_with_hold(mode: str, poolers: Poolers) -> None:
    """Beyond their transaction they are where they were declared, which in transaction mode may be anywhere."""
    if mode == "transaction":
        await both_server_connections(poolers)
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        cur = conn.cursor("held", withhold=True)
        await cur.execute("SELECT generate_series(1, 1000)")
        await conn.commit()
        if mode == "transaction":
            with pytest.raises(e.InvalidCursorName):
                for _ in range(2):
                    await conn.rollback()
                    await cur.fetchmany(10)
            await conn.rollback()
        else:
            assert len(await cur.fetchall()) == 1000
        await cur.close()
        await conn.rollback()
        assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("autocommit", [False, True])
async def test_pipelines(autocommit: bool, mode: str, poolers: Poolers, schema: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=autocommit, **settings(mode)) as conn:
        with anyio.fail_after(PATIENCE):
            await conn.execute(f"CREATE TABLE {schema}.t (n int PRIMARY KEY)".encode())
            insert = f"INSERT INTO {schema}.t VALUES (%s)".encode()
            async with conn.pipeline():
                for n in range(1000):
                    await conn.execute(insert, [n])
                cur = await conn.execute(f"SELECT count(*) FROM {schema}.t".encode())
                assert await cur.fetchone() == (1000,)
            await conn.commit()
            with pytest.raises(e.UniqueViolation):
                async with conn.pipeline():
                    for n in (1001, 1, 1002):
                        await conn.execute(insert, [n])
            await conn.rollback()
            assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 1000
            async with conn.pipeline():
                with pytest.raises(e.UniqueViolation):
                    async with conn.transaction():
                        await conn.execute(insert, [1])
                async with conn.transaction():
                    await conn.execute(insert, [1003])
            await conn.commit()
            assert await value(conn, f"SELECT max(n) FROM {schema}.t") == 1003


@pytest.mark.parametrize("mode", MODES)
async def test_much_in_both_directions_in_a_pipeline(mode: str, poolers: Poolers) -> None:
    text = "x" * 200_000
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        with anyio.fail_after(PATIENCE):
            async with conn.pipeline():
                cursors = [await conn.execute("SELECT %s::text", [text]) for _ in range(50)]
                for cur in cursors:
                    assert await cur.fetchone() == (text,)
        assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_two_phase_commit(mode: str, poolers: Poolers, server: Server, schema: str) -> None:
    """What is prepared belongs to no connection, neither here nor there."""
    need_two_phase(server)
    server.psql(f"CREATE TABLE {schema}.t (n int)")
    async with (
        AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn,
        AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as other,
    ):
        with anyio.fail_after(PATIENCE):
            for n in (1, 2, 3):
                xid = conn.xid(n, f"{schema}-{mode}", "pooled")
                await conn.tpc_begin(xid)
                await conn.execute(f"INSERT INTO {schema}.t VALUES (%s)".encode(), [n])
                await conn.tpc_prepare()
                if n == 1:
                    await conn.tpc_commit()
                elif n == 2:
                    await conn.tpc_rollback()
            # The third was left to somebody else.
            found = [one for one in await other.tpc_recover() if one.gtrid == f"{schema}-{mode}"]
            assert [one.format_id for one in found] == [3]
            await other.tpc_commit(found[0])
            await conn.tpc_rollback() if conn.info.transaction_status.name != "IDLE" else None
            assert server.psql(f"SELECT string_agg(n::text, ',' ORDER BY n) FROM {schema}.t") == "1,3"
