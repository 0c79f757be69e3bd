"""An error of the server says where in which query it is, however that was executed, and shows no parameter."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import anyq.sync
from anyq import AsyncClientCursor, AsyncConnection, AsyncCursor, AsyncRawCursor
from anyq import errors as e
from anyq.conninfo import conninfo_to_dict
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.fakeserver import FakeClient, fake_server
from tests.support.server import Server

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]

Execute = Callable[[AsyncConnection, Any, Any], Awaitable[object]]


async def plainly(conn: AsyncConnection, query: Any, params: Any) -> None:
    await conn.execute(query, params)


async def prepared(conn: AsyncConnection, query: Any, params: Any) -> None:
    await conn.execute(query, params, prepare=True)


async def in_binary(conn: AsyncConnection, query: Any, params: Any) -> None:
    await conn.execute(query, params, binary=True)


async def by_literals(conn: AsyncConnection, query: Any, params: Any) -> None:
    await AsyncClientCursor(conn).execute(query, params)


async def raw(conn: AsyncConnection, query: Any, params: Any) -> None:
    await AsyncRawCursor(conn).execute(query.replace("%s", "$1"), params)


async def streamed(conn: AsyncConnection, query: Any, params: Any) -> None:
    async for _ in conn.cursor().stream(query, params):
        pass


async def streamed_by_literals(conn: AsyncConnection, query: Any, params: Any) -> None:
    async for _ in AsyncClientCursor(conn).stream(query, params):
        pass


async def many(conn: AsyncConnection, query: Any, params: Any) -> None:
    await conn.cursor().executemany(query, [params, params])


async def many_with_results(conn: AsyncConnection, query: Any, params: Any) -> None:
    await conn.cursor().executemany(query, iter([params, params]), returning=True)


WAYS: list[Execute] = [
    *(plainly, prepared, in_binary, by_literals, raw, streamed, streamed_by_literals, many, many_with_results)
]

SECRET = "hunter2"


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("execute", WAYS)
async def test_line_and_query(execute: Execute, autocommit: bool, conn: AsyncConnection) -> None:
    """Also where a BEGIN of the driver's goes before the query in the same text."""
    await conn.set_autocommit(autocommit)
    with pytest.raises(e.UndefinedColumn) as caught:
        await execute(conn, "SELECT %s,\n  foo", [SECRET])
    error: e.Error = caught.value
    assert error.query == "SELECT $1,\n  foo"
    assert str(error).split("\n")[1:] == ["LINE 2:   foo", "          ^"]
    assert error.diag.statement_position == "14"
    assert SECRET not in f"{error}{error!r}{vars(error)}"
    loaded = pickle.loads(pickle.dumps(error))
    assert (str(loaded), loaded.query) == (str(error), error.query)


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("query", ["SELECT foo", "SELECT 1; SELECT foo", b"SELECT foo", anyq.sql.SQL("SELECT foo")])
async def test_without_parameters(query: Any, autocommit: bool, conn: AsyncConnection) -> None:
    await conn.set_autocommit(autocommit)
    text = "SELECT 1; SELECT foo" if query == "SELECT 1; SELECT foo" else "SELECT foo"
    with pytest.raises(e.UndefinedColumn) as caught:
        await conn.execute(query)
    assert caught.value.query == text
    assert f"LINE 1: {text}\n{' ' * (8 + text.index('foo'))}^" in str(caught.value)


async def test_what_is_remembered(conn: AsyncConnection) -> None:
    """A statement that is prepared and bound by what is known of its text fails like any other."""
    await conn.set_autocommit(True)
    for _ in range(8):
        await conn.execute("SELECT 1 / %s::int", [1])
    for query in ("SELECT 1 / %s::int", "SELECT 1 / %s::int"):
        with pytest.raises(e.DivisionByZero) as caught:
            await conn.execute(query, [0])
        assert caught.value.query == "SELECT 1 / $1::int"


async def test_nothing_was_sent(conn: AsyncConnection) -> None:
    for query, params in (("SELECT %s", []), ("SELECT %s", [object()]), ("SELECT %x", [1])):
        with pytest.raises(e.ProgrammingError) as caught:
            await conn.execute(query, params)
        assert caught.value.query is None


async def test_a_connection_that_is_lost(conn: AsyncConnection) -> None:
    with pytest.raises(e.AdminShutdown) as caught:
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid()), %s::text", [SECRET])
    assert caught.value.query == "SELECT pg_terminate_backend(pg_backend_pid()), $1::text"


async def test_what_a_function_runs(conn: AsyncConnection) -> None:
    with pytest.raises(e.UndefinedColumn) as caught:
        await conn.execute("DO $$ BEGIN EXECUTE 'SELECT 1,\n foo'; END $$")
    lines = str(caught.value).split("\n")
    assert lines[1:5] == ["LINE 2:  foo", "         ^", "QUERY:  SELECT 1,", " foo"]
    assert lines[5].startswith("CONTEXT:  ")


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "EUC_JP", "SJIS", "GB18030"])
@pytest.mark.parametrize("cursor", [AsyncCursor, AsyncClientCursor])
async def test_client_encodings(encoding: str, cursor: type[AsyncCursor[Any]], conn: AsyncConnection) -> None:
    await conn.execute(f"SET client_encoding TO {encoding}")
    text = "é" if encoding == "LATIN1" else "日本"
    with pytest.raises(e.UndefinedColumn) as caught:
        await cursor(conn).execute(f"SELECT '{text}', %s::text, foo", [text * 3])
    error = caught.value
    assert error.query == f"SELECT '{text}', $1::text, foo"
    line, caret = str(error).split("\n")[1:3]
    assert line == f"LINE 1: {error.query}"
    assert len(caret) - 1 == line.index("foo") + (2 if text == "日本" else 0)


# What psycopg 3.3, with libpq 18, shows below the message.
LIBPQ = [
    ("SELECT foo", "LINE 1: SELECT foo", 15),
    ("SELECT 1 FROM nowhere", "LINE 1: SELECT 1 FROM nowhere", 22),
    ("SELECT\n1,\n  foo\nFROM (SELECT 1) t", "LINE 3:   foo", 10),
    ("SELECT\r\n1,\r\n\tfoo,\r\n2", "LINE 3:  foo,", 9),
    ("SELECT 1,\r\rfoo", "LINE 3: foo", 8),
    ("SELEC 1", "LINE 1: SELEC 1", 8),
    ("SELECT 'é', 'ü', foo", "LINE 1: SELECT 'é', 'ü', foo", 25),
    ("SELECT '日本語', foo", "LINE 1: SELECT '日本語', foo", 25),
    ("SELECT '\U0001f600', foo", "LINE 1: SELECT '\U0001f600', foo", 21),
    ("SELECT 1 +", "LINE 1: SELECT 1 +", 18),
    ("SELECT 1 AS x, nope(1)", "LINE 1: SELECT 1 AS x, nope(1)", 23),
    ("\n\n\n  SELECT foo\n\n", "LINE 4:   SELECT foo", 17),
    ("SELECT\t1,\tfoo", "LINE 1: SELECT 1, foo", 18),
    ("SELECT 1; SELECT foo", "LINE 1: SELECT 1; SELECT foo", 25),
    ("SELECT 1 WHERE 'a' = ", "LINE 1: SELECT 1 WHERE 'a' = ", 29),
    ("CREATE TABLE t (a int", "LINE 1: CREATE TABLE t (a int", 29),
    ("SELECT (\n", "LINE 2: ", 8),
    ("SELECT '\uff76\uff9e', foo", "LINE 1: SELECT '\uff76\uff9e', foo", 21),
    ("SELECT " + "1, " * 40 + "foo", "LINE 1: ..." + "1, " * 19 + "foo", 68),
    ("SELECT " + "1, " * 17 + "foo, 1, 1, 1", "LINE 1: ..., " + "1, " * 16 + "foo, 1, 1,...", 61),
]


@pytest.mark.parametrize(("query", "line", "caret"), LIBPQ)
async def test_as_libpq_shows_it(query: Any, line: str, caret: int, conn: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError) as caught:
        await conn.execute(query)
    assert str(caught.value).split("\n")[1:3] == [line, f"{' ' * caret}^"]


def test_synchronous(dsn: str) -> None:
    with anyq.sync.connect(dsn) as conn, pytest.raises(e.UndefinedColumn) as caught:
        anyq.sync.ClientCursor(conn).execute("SELECT %s,\n  foo", [SECRET])
    assert caught.value.query == "SELECT $1,\n  foo"
    assert str(caught.value).split("\n")[1:] == ["LINE 2:   foo", "          ^"]


# -- errors of connecting


async def refused(conninfo: str, error: type[e.Error] = e.OperationalError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        await AsyncConnection.connect(conninfo, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "error", "reason"),
    [
        ({"password": "wrong"}, e.InvalidPassword, "password authentication failed"),
        ({"dbname": "nothing like that"}, e.OperationalError, "does not exist"),
        ({"user": "nobody like that", "password": "x"}, e.OperationalError, ""),
        ({"require_auth": "none", "password": "x"}, e.OperationalError, "does not comply with require_auth"),
        ({"port": 1}, e.OperationalError, "nobody listens"),
        ({"options": "-c no.such_setting=1 -c work_mem=x"}, e.Error, "work_mem"),
        ({"sslmode": "require"}, e.OperationalError, "does not support TLS"),
        ({"target_session_attrs": "standby"}, e.OperationalError, "not in hot standby"),
    ],
)
async def test_a_login_that_fails_says_where_and_who(
    changed: dict[str, Any], error: type[e.Error], reason: str, embedded_server: Server
) -> None:
    options: dict[str, Any] = {**conninfo_to_dict(embedded_server.role_dsn("scram-sha-256")), **changed}
    message = await refused("", error, **options)
    who = f'user "{options["user"]}", database "{options["dbname"]}"'
    assert message.startswith(f'connection failed for {who}: host "{options["host"]}"')
    assert f", port {options['port']}: " in message and reason in message
    with pytest.raises(error) as caught:
        anyq.sync.connect(**options)
    assert str(caught.value).startswith(message[:60])


async def test_no_entry_in_pg_hba(embedded_server: Server) -> None:
    options = conninfo_to_dict(embedded_server.role_dsn("reject"))
    message = await refused("", **options)
    assert message.startswith(f'connection failed for user "{options["user"]}", database "{options["dbname"]}": host ')
    assert "pg_hba.conf" in message


async def test_a_unix_socket_and_a_name(embedded_server: Server) -> None:
    options = conninfo_to_dict(embedded_server.dsn)
    message = await refused("", **{**options, "dbname": "nothing"})
    socket = f'socket "{options["host"]}/.s.PGSQL.{options["port"]}"'
    assert message == f'connection failed for user "{options["user"]}", database "nothing": {socket}: ' + (
        'database "nothing" does not exist'
    )
    options = conninfo_to_dict(embedded_server.role_dsn("scram-sha-256"))
    message = await refused("", e.InvalidPassword, **{**options, "host": "localhost", "password": "wrong"})
    assert f': host "localhost" (127.0.0.1), port {options["port"]}: ' in message


async def test_each_attempt(embedded_server: Server) -> None:
    options = conninfo_to_dict(embedded_server.role_dsn("scram-sha-256"))
    options = {**options, "host": "/nowhere,127.0.0.1", "port": f"1,{options['port']}", "password": "wrong"}
    first, *lines = (await refused("", **options)).split("\n- ")
    assert first == f'connection failed for user "{options["user"]}", database "{options["dbname"]}", all 2 attempts:'
    assert lines[0].startswith('socket "/nowhere/.s.PGSQL.1": ')
    assert lines[1].startswith('host "127.0.0.1", port ') and "password authentication failed" in lines[1]


@pytest.mark.parametrize("step", ["start-up", "TLS", "password"])
async def test_a_server_that_does_not_answer(step: str) -> None:
    async def script(client: FakeClient) -> None:
        if step == "password":
            await client.expect(fm.Startup)
            await client.send(be.AuthenticationCleartextPassword())
        await client.stall()

    async with fake_server(script) as server:
        options = {"connect_timeout": 0.1, "password": "x", "sslmode": "require" if step == "TLS" else "disable"}
        message = await refused(server.conninfo, e.ConnectionTimeout, **options)
    where = f'host "127.0.0.1", port {server.port}: '
    assert message.startswith(f'connection failed for user "test", database "test": {where}')


async def test_what_is_on_the_way_of_a_stream_of_the_callers_is_not_known() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)

    async with fake_server(script) as server:
        stream = await anyio.connect_tcp("127.0.0.1", server.port)
        message = await refused("user=u dbname=d host=h", stream=stream)
    assert message.startswith('connection failed for user "u", database "d": the server closed the connection')
