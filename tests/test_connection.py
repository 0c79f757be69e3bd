"""AsyncConnection: making one, its transactions and settings, what it tells, its end."""

from __future__ import annotations

import gc
import selectors
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection, AsyncCursor, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.rows import dict_row
from tests.support import frontend_messages as fm
from tests.support.activity import held_lock, until_sleeping
from tests.support.fakeserver import FakeClient, FakeServer, fake_server
from tests.support.queries import one
from tests.support.server import Server
from tests.support.sockets import needs_proc, open_sockets

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


# -- making one


async def test_connect_is_awaited(dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    assert await one(conn, "SELECT 1") == 1
    assert not conn.closed
    await conn.close()
    assert conn.closed


async def test_connect_is_entered(dsn: str) -> None:
    async with AsyncConnection.connect(dsn) as conn:
        assert await one(conn, "SELECT 1") == 1
    assert conn.closed


async def test_an_awaited_connection_is_entered(dsn: str) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        assert await one(conn, "SELECT 1") == 1
    assert conn.closed


async def test_keywords_go_before_the_connection_string(dsn: str) -> None:
    async with AsyncConnection.connect(dsn, application_name="anyq's test") as conn:
        assert await one(conn, "SHOW application_name") == "anyq's test"


async def test_the_class_that_connects_is_the_class_that_is_made(dsn: str) -> None:
    class MyConnection(AsyncConnection):
        pass

    async with MyConnection.connect(dsn) as conn:
        assert type(conn) is MyConnection


async def test_factories(dsn: str) -> None:
    class MyCursor(anyq.AsyncCursor[Any]):
        pass

    async with AsyncConnection.connect(dsn, row_factory=dict_row, cursor_factory=MyCursor) as conn:
        cursor = await conn.execute("SELECT 1 AS a")
        assert type(cursor) is MyCursor
        assert await cursor.fetchall() == [{"a": 1}]


async def test_what_a_program_puts_in_the_place_of_execute_runs(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As what measures or mocks does, for a while."""
    execute = AsyncCursor.execute
    seen: list[object] = []

    async def watched(cursor: AsyncCursor[Any], query: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(query)
        return await execute(cursor, query, *args, **kwargs)

    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("SELECT 1")
        with monkeypatch.context() as patch:
            patch.setattr(AsyncCursor, "execute", watched)
            await conn.execute("SELECT 2")
            await conn.cursor().execute("SELECT 3")
        await conn.execute("SELECT 4")
    assert seen == ["SELECT 2", "SELECT 3"]


async def test_over_tcp(embedded_server: Server) -> None:
    async with AsyncConnection.connect(embedded_server.tcp_dsn) as conn:
        assert conn.info.hostaddr == "127.0.0.1"
        assert conn.info.port == embedded_server.port
        assert await one(conn, "SELECT host(inet_server_addr())") == "127.0.0.1"


async def test_on_a_stream_of_the_callers(embedded_server: Server) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", embedded_server.port)
    async with AsyncConnection.connect(embedded_server.tcp_dsn, stream=stream) as conn:
        assert await one(conn, "SELECT repeat('x', 1000000)") == "x" * 1_000_000
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        with pytest.raises(e.NotSupportedError, match="stream"):
            await conn.cancel_safe()
    # It belongs to the connection, which has closed it.
    assert raw.fileno() == -1


@pytest.mark.parametrize("how", ["close", "error", "lost"])
async def test_a_stream_of_the_callers_is_closed(how: str, embedded_server: Server, server: Server) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", embedded_server.port)
    conn = await AsyncConnection.connect(embedded_server.tcp_dsn, stream=stream)
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    if how == "close":
        await conn.close()
    elif how == "error":
        with pytest.raises(ZeroDivisionError):
            async with conn:
                raise ZeroDivisionError
    else:
        server.psql(f"SELECT pg_terminate_backend({conn.info.backend_pid})")
        with pytest.raises(e.OperationalError):
            await conn.execute("SELECT 1")
        assert conn.broken
        await conn.close()
    assert raw.fileno() == -1


async def test_a_farewell_on_a_stream_of_the_callers() -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Terminate)

    async with fake_server(script) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        async with AsyncConnection.connect(server.conninfo, stream=stream):
            pass


async def test_a_cancelled_statement_on_a_stream_of_the_callers_is_waited_for(embedded_server: Server) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", embedded_server.port)
    left = anyio.Event()
    async with (
        held_lock(embedded_server.dsn) as lock,
        AsyncConnection.connect(embedded_server.tcp_dsn, stream=stream, autocommit=True) as conn,
        anyio.create_task_group() as group,
    ):
        scope = anyio.CancelScope()

        async def wait_for_the_lock() -> None:
            with scope:
                await conn.execute(lock.statement)
            left.set()

        group.start_soon(wait_for_the_lock)
        await lock.until_wanted(conn.info.backend_pid)
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not left.is_set()
        await lock.release()
        with anyio.fail_after(PATIENCE):
            await left.wait()
        assert scope.cancelled_caught
        assert await one(conn, "SELECT 1") == 1


async def test_what_is_no_stream(dsn: str) -> None:
    with pytest.raises(TypeError, match="ByteStream"):
        await AsyncConnection.connect(dsn, stream=object())  # type: ignore[arg-type]


# -- connections that cannot be made


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def refused(*args: Any, count: bool = True, **kwargs: Any) -> e.Error:
    """Return the error that connecting raises, after looking whether it left a socket open.

    :param count: False while a server of this process has sockets as well.
    """
    before = open_sockets()
    with pytest.raises(e.Error) as caught, anyio.fail_after(PATIENCE):
        await AsyncConnection.connect(*args, **kwargs)
    error = caught.value
    assert isinstance(error, e.OperationalError | e.NotSupportedError)
    if count:
        assert open_sockets() == before
    return error


async def test_nobody_listens(closed_port: int) -> None:
    error = await refused(f"host=127.0.0.1 port={closed_port} user=me dbname=db")
    assert f'"127.0.0.1", port {closed_port}: Connection refused' in str(error)
    assert "listen_addresses" in str(error)


async def test_no_such_host() -> None:
    error = await refused("host=name.invalid user=me dbname=db")
    assert '"name.invalid"' in str(error)
    assert "spelling" in str(error)


async def test_no_such_socket() -> None:
    error = await refused("host=/no/such/dir user=me dbname=db")
    assert '"/no/such/dir/.s.PGSQL.5432"' in str(error)
    assert "unix_socket_directories" in str(error)


async def test_no_such_database(dsn: str) -> None:
    error = await refused(dsn, dbname="nosuchdb")
    assert error.sqlstate == "3D000"
    assert 'database "nosuchdb" does not exist' in str(error)
    assert error.diag.severity == "FATAL"


async def test_a_wrong_password(embedded_server: Server) -> None:
    error = await refused(embedded_server.tcp_dsn, password="wr0ng")
    assert isinstance(error, e.InvalidPassword)
    assert "wr0ng" not in str(error)


async def test_a_server_that_refuses_the_user(embedded_server: Server) -> None:
    error = await refused(embedded_server.role_dsn("reject"))
    assert "pg_hba.conf" in str(error)


@pytest.mark.parametrize("with_stream", [False, True])
async def test_a_server_that_says_nothing(with_stream: bool) -> None:
    async with fake_server(FakeClient.stall) as server:
        stream = await anyio.connect_tcp(server.host, server.port) if with_stream else None
        with anyio.fail_after(PATIENCE), pytest.raises(e.ConnectionTimeout, match="connect_timeout"):
            await AsyncConnection.connect(server.conninfo, connect_timeout=0.2, stream=stream)


async def test_a_server_that_stops_in_the_middle() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationOk())
        await client.stall()

    async with fake_server(script) as server:
        error = await refused(server.conninfo, connect_timeout=0.2, count=False)
        assert isinstance(error, e.ConnectionTimeout)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "check host and port"),
        (b"220 ready\r\n", "check host and port"),
        (b"", "check that host and port are those of PostgreSQL"),
        (b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05X", "transaction status"),
        (b"R\0\0\0\x08\0\0\0\0D\0\0\0\x06\0\0", "DATA_ROW in phase STARTING"),
    ],
)
async def test_a_server_that_is_no_postgresql(data: bytes, text: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send_raw(data)

    # One that goes away without a word may not know the version of the protocol, and is asked again.
    async with fake_server(*[script] * (1 if data else 2)) as server:
        assert text in str(await refused(server.conninfo, count=False))


async def test_several_hosts_the_last_of_which_lets_us_in(embedded_server: Server, closed_port: int) -> None:
    dsn = f"{embedded_server.tcp_dsn} host=/no/such/dir,127.0.0.1,127.0.0.1 port=1,{closed_port},{embedded_server.port}"
    async with AsyncConnection.connect(dsn) as conn:
        assert conn.info.port == embedded_server.port


async def test_several_hosts_none_of_which_lets_us_in(embedded_server: Server, closed_port: int) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": "57P03", "M": "starting up"}))

    async with fake_server(script) as server:
        ports = f"5432,{closed_port},{server.port},{embedded_server.port}"
        hosts = "/no/such/dir,127.0.0.1,127.0.0.1,127.0.0.1"
        error = await refused(f"{embedded_server.tcp_dsn} host={hosts} port={ports} password=nope", count=False)
    assert type(error) is e.OperationalError
    lines = str(error).splitlines()
    assert "all 4 attempts" in lines[0]
    reasons = ["/no/such/dir", "refused", "starting up", "password authentication"]
    for line, text in zip(lines[1:], reasons, strict=True):
        assert text in line


@pytest.mark.parametrize(
    ("conninfo", "text"),
    [("dbname=x nonsense=1", "nonsense"), ("port=abc", "port")],
)
async def test_wrong_keywords(conninfo: str, text: str) -> None:
    with pytest.raises(e.ProgrammingError, match=text):
        await AsyncConnection.connect(conninfo)


# -- leaving the block


async def test_the_end_of_the_block_commits(dsn: str, schema: str) -> None:
    async with AsyncConnection.connect(dsn) as conn:
        await conn.execute(f"CREATE TABLE {schema}.kept (a int)".encode())
    async with AsyncConnection.connect(dsn) as conn:
        assert await one(conn, f"SELECT count(*) FROM {schema}.kept") == 0


async def test_an_error_in_the_block_rolls_back(dsn: str, schema: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with AsyncConnection.connect(dsn) as conn:
            await conn.execute(f"CREATE TABLE {schema}.lost (a int)".encode())
            raise ZeroDivisionError
    assert conn.closed
    async with AsyncConnection.connect(dsn) as conn:
        assert await one(conn, f"SELECT to_regclass('{schema}.lost')::text") is None


async def test_a_cancellation_in_the_block_rolls_back(dsn: str, schema: str) -> None:
    with anyio.CancelScope() as scope:
        async with AsyncConnection.connect(dsn) as conn:
            await conn.execute(f"CREATE TABLE {schema}.lost (a int)".encode())
            scope.cancel()
            await conn.execute("SELECT 1")
    assert conn.closed
    async with AsyncConnection.connect(dsn) as conn:
        assert await one(conn, f"SELECT to_regclass('{schema}.lost')::text") is None


async def test_a_commit_that_fails_closes_the_connection_too(dsn: str) -> None:
    with pytest.raises(e.ForeignKeyViolation):
        async with AsyncConnection.connect(dsn) as conn:
            await conn.execute("CREATE TEMPORARY TABLE a (id int PRIMARY KEY)")
            await conn.execute("CREATE TEMPORARY TABLE b (id int REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
            await conn.execute("INSERT INTO b VALUES (1)")
    assert conn.closed


async def test_a_connection_closed_in_its_block(dsn: str) -> None:
    async with AsyncConnection.connect(dsn) as conn:
        await conn.close()
    assert conn.closed


# -- the end


async def test_closing(dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    cursor = conn.cursor()
    for _ in range(2):
        await conn.close()
        assert (conn.closed, conn.broken) == (True, False)
    assert conn.info.transaction_status is TransactionStatus.UNKNOWN
    assert conn.info.error_message == "the connection is closed"
    operations: list[Callable[[], Any]] = [
        lambda: conn.execute("SELECT 1"),
        lambda: cursor.execute("SELECT 1"),
        conn.commit,
        conn.rollback,
        lambda: conn.set_autocommit(True),
        lambda: conn.transaction().__aenter__(),
    ]
    for operation in operations:
        with pytest.raises(e.OperationalError, match="the connection is closed"):
            await operation()
    for call in (conn.cursor, conn.fileno):
        with pytest.raises(e.OperationalError, match="the connection is closed"):
            call()
    # There is nothing to cancel.
    await conn.cancel()
    await conn.cancel_safe(timeout=1)


async def test_what_is_libpqs(conn: AsyncConnection) -> None:
    """Whoever asks for it is told what there is; to others it is not there."""
    for thing, name, instead in [
        (conn, "pgconn", "conn.info"),
        (conn, "lock", "at the same time"),
        (conn, "wait", "await"),
        (conn.cursor(), "pgresult", "description"),
    ]:
        assert not hasattr(thing, name)
        with pytest.raises(AttributeError, match=rf"no '{name}', as there is no libpq in anyq: .*{instead}"):
            getattr(thing, name)


async def test_the_server_ends_the_connection(dsn: str, server: Server) -> None:
    conn = await AsyncConnection.connect(dsn)
    server.psql(f"SELECT pg_terminate_backend({conn.info.backend_pid})")
    with pytest.raises(e.AdminShutdown):
        await conn.execute("SELECT 1")
    assert (conn.closed, conn.broken) == (True, True)
    assert "terminating connection" in conn.info.error_message
    await conn.close()
    assert conn.broken


@needs_proc
async def test_closing_leaves_no_socket(dsn: str) -> None:
    before = open_sockets()
    async with AsyncConnection.connect(dsn) as conn:
        conn.fileno()
        assert open_sockets().total() == before.total() + 2
    assert open_sockets() == before


@needs_proc
async def test_a_connection_that_is_forgotten(dsn: str) -> None:
    before = open_sockets()
    conn = await AsyncConnection.connect(dsn)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del conn
        gc.collect()
    assert [str(warning.message) for warning in caught if "was never closed; use 'async with'" in str(warning.message)]
    assert {warning.category for warning in caught} == {ResourceWarning}
    assert open_sockets() == before


async def test_a_connection_that_is_open_at_the_end_of_the_program(
    dsn: str, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    """The interpreter takes apart what its finalizer needs, such as imports."""
    program = """
import sys, anyio, anyq
async def main():
    anyq.kept = await anyq.AsyncConnection.connect(sys.argv[1])
anyio.run(main, backend=sys.argv[2], backend_options=eval(sys.argv[3]))
"""
    done = await anyio.run_process(
        [sys.executable, "-W", "always", "-c", program, dsn, anyio_backend[0], repr(anyio_backend[1])]
    )
    assert b"was never closed; use 'async with'" in done.stderr
    assert b"Exception ignored" not in done.stderr


async def test_a_connection_that_is_closed_and_forgotten(dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    await conn.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del conn
        gc.collect()


# -- what it tells


async def test_repr(conn: AsyncConnection) -> None:
    assert "[IDLE]" in repr(conn)
    await conn.execute("SELECT 1")
    assert "[INTRANS]" in repr(conn)
    await conn.close()
    assert "[closed]" in repr(conn)


async def test_the_descriptor_becomes_readable(conn: AsyncConnection, server: Server) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(conn.fileno(), selectors.EVENT_READ)
        assert not selector.select(0)
        server.psql(f"SELECT pg_terminate_backend({conn.info.backend_pid})")
        assert selector.select(PATIENCE)
        assert conn.fileno() == conn.fileno()


async def test_the_descriptor_is_waited_for_while_queries_run(conn: AsyncConnection, dsn: str) -> None:
    """It is a duplicate, so the event loop does not mind that it is registered twice."""
    # Otherwise the reply to BEGIN makes it readable too, unless it is read before the event loop looks.
    await conn.set_autocommit(True)
    heard = anyio.Event()

    class Waitable:
        def fileno(self) -> int:
            return conn.fileno()

    async def wait() -> None:
        await anyio.wait_readable(Waitable())
        heard.set()

    rows: list[object] = []

    async def query(statement: str) -> None:
        rows.append(await one(conn, statement))

    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(query, lock.statement + "::text")
        await anyio.wait_all_tasks_blocked()  # the query's has looked, and would read the reply before that is heard of
        await lock.until_wanted(conn.info.backend_pid)
        assert not heard.is_set()
        await lock.release()
        with anyio.fail_after(PATIENCE):
            await heard.wait()
    assert rows == [""]


# -- notices


NOTICE = "DO $$ BEGIN RAISE NOTICE 'number %', 1; RAISE WARNING 'and 2'; END $$"


async def test_notices(conn: AsyncConnection) -> None:
    seen: list[tuple[str | None, str | None]] = []

    def handler(diagnostic: anyq.Diagnostic) -> None:
        seen.append((diagnostic.severity, diagnostic.message_primary))

    conn.add_notice_handler(handler)
    await conn.execute(NOTICE)
    assert seen == [("NOTICE", "number 1"), ("WARNING", "and 2")]
    conn.remove_notice_handler(handler)
    await conn.execute(NOTICE)
    assert len(seen) == 2
    with pytest.raises(ValueError, match="list.remove"):
        conn.remove_notice_handler(handler)


async def test_a_notice_handler_that_fails(conn: AsyncConnection, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str | None] = []

    def broken(diagnostic: anyq.Diagnostic) -> None:
        raise RuntimeError("broken handler")

    conn.add_notice_handler(broken)
    conn.add_notice_handler(lambda diagnostic: seen.append(diagnostic.message_primary))
    await conn.execute(NOTICE)
    assert seen == ["number 1", "and 2"]
    assert "broken handler" in caplog.text


# -- cancelling from outside


@pytest.mark.parametrize("method", ["cancel_safe", "cancel"])
async def test_cancel_safe(conn: AsyncConnection, method: str, dsn: str) -> None:
    async def sleep() -> None:
        with pytest.raises(e.QueryCanceled):
            await conn.execute("SELECT pg_sleep(1000)")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(sleep)
            await until_sleeping(dsn, conn.info.backend_pid)
            await getattr(conn, method)()
    await conn.rollback()
    assert await one(conn, "SELECT 1") == 1


async def test_cancel_safe_in_time() -> None:
    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.ignore_the_rest()

    async with fake_server(session, FakeClient.stall) as server, connect_to(server) as conn:
        with pytest.raises(e.CancellationTimeout, match=r"0\.1 s"):
            await conn.cancel_safe(timeout=0.1)


def connect_to(server: FakeServer) -> Any:
    return AsyncConnection.connect(server.conninfo)


async def test_the_drivers_own_queries_need_nothing_of_the_users(dsn: str) -> None:
    def no_rows(cursor: object) -> Any:
        raise AssertionError("the driver has rows of its own")

    async with AsyncConnection.connect(dsn, row_factory=no_rows, cursor_factory=anyq.AsyncClientCursor) as conn:
        await conn.notify("a channel", "a payload")
        with pytest.raises(e.UndefinedObject):
            await conn.change_password("nobody of this name", "secret")


# -- arguments of no use


async def coroutine_function(*args: object) -> None: ...


@pytest.mark.parametrize("name", ["prepare_threshold", "prepared_max"])
async def test_settings_of_prepared_statements(conn: AsyncConnection, name: str) -> None:
    before = getattr(conn, name)
    for wrong in ("x", 1.5, object(), []):
        with pytest.raises(TypeError, match=f"{name} must be an int, not"):
            setattr(conn, name, wrong)
    with pytest.raises(ValueError, match=f"{name} must be 0 or more, not -1"):
        setattr(conn, name, -1)
    assert getattr(conn, name) == before
    for right in (0, None):
        setattr(conn, name, right)
        assert getattr(conn, name) is right


async def test_handlers_that_cannot_be_called(conn: AsyncConnection) -> None:
    for wrong in (None, "x", 3, coroutine_function):
        with pytest.raises(TypeError, match="callback .*must be a.* function"):
            conn.add_notice_handler(wrong)  # type: ignore[arg-type]
    assert conn.notice_handlers == ()


async def test_a_time_to_cancel_that_is_none(conn: AsyncConnection) -> None:
    for wrong in ("x", object(), []):
        with pytest.raises(TypeError, match="timeout must be a number of seconds, or None, not"):
            await conn.cancel_safe(timeout=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must be a number of seconds, not nan"):
        await conn.cancel_safe(timeout=float("nan"))
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def test_a_password_that_is_none(conn: AsyncConnection) -> None:
    for wrong in (3, None, b"secret"):
        with pytest.raises(TypeError, match="the password must be a str, not") as caught:
            await conn.change_password("nobody", wrong)  # type: ignore[arg-type]
        assert "secret" not in str(caught.value)
