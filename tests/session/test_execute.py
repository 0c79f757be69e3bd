"""Executing a statement: when it is prepared, what is remembered of it, when it is sent again.

The account of prepared statements by itself is tested in tests/statements/test_prepared.py, what is sent in
test_composer.py there.
"""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anyq import AsyncClientCursor, AsyncConnection, AsyncRawCursor, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.statements import composer
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE
from tests.support.fakeserver import FAILED, IN_TRANSACTION, READY, FakeClient, fake_server
from tests.support.state import status
from tests.support.victims import WAITS, as_victim

pytestmark = pytest.mark.anyio


async def on_server(conn: AsyncConnection) -> list[str]:
    """The texts of the statements that the server holds for the session, the oldest first."""
    # As names are counted up, they are in the order of time.
    cur = await conn.execute(
        "SELECT statement FROM pg_prepared_statements WHERE NOT from_sql ORDER BY length(name), name", prepare=False
    )
    return [row[0] for row in await cur.fetchall()]


@pytest.fixture
async def auto(conn: AsyncConnection) -> AsyncConnection:
    """The connection, in autocommit mode."""
    await conn.set_autocommit(True)
    return conn


# -- when


async def test_after_five_executions(conn: AsyncConnection) -> None:
    assert conn.prepare_threshold == 5
    for number in range(1, 9):
        cur = await conn.execute("SELECT %s::int", [number])
        assert await cur.fetchone() == (number,)
        assert await on_server(conn) == (["SELECT $1::int"] if number > 5 else [])


async def test_without_parameters_too(conn: AsyncConnection) -> None:
    for _ in range(7):
        assert await (await conn.execute("SELECT 'x'")).fetchall() == [("x",)]
    assert await on_server(conn) == ["SELECT 'x'"]


async def test_whichever_cursor_executes(conn: AsyncConnection) -> None:
    one, other = conn.cursor(), conn.cursor()
    for _ in range(3):
        await one.execute("SELECT %s::int", [1])
        await other.execute("SELECT %s::int", [1])
    assert await on_server(conn) == ["SELECT $1::int"]


@pytest.mark.parametrize("threshold", [0, 1, 2])
async def test_another_threshold(dsn: str, anyio_backend: Any, threshold: int) -> None:
    async with AsyncConnection.connect(dsn, prepare_threshold=threshold) as conn:
        assert conn.prepare_threshold == threshold
        for number in range(threshold + 2):
            assert await on_server(conn) == (["SELECT $1::int"] if number > threshold else [])
            await conn.execute("SELECT %s::int", [number])


async def test_never(conn: AsyncConnection) -> None:
    conn.prepare_threshold = None
    for _ in range(10):
        await conn.execute("SELECT %s::int", [1])
    await conn.execute("SELECT %s::int", [1], prepare=True)
    assert await on_server(conn) == []
    conn.prepare_threshold = 0
    await conn.execute("SELECT %s::int", [1])
    assert await on_server(conn) == ["SELECT $1::int"]


async def test_on_request(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    await cur.execute("SELECT %s::int", [1], prepare=True)
    await conn.execute("SELECT 1", prepare=True)
    assert await on_server(conn) == ["SELECT $1::int", "SELECT 1"]
    for _ in range(10):
        await cur.execute("SELECT %s::text", ["x"], prepare=False)
    assert await on_server(conn) == ["SELECT $1::int", "SELECT 1"]
    # It is used where it is there.
    for number in range(3):
        assert await (await cur.execute("SELECT %s::int", [number])).fetchone() == (number,)
        assert await (await cur.execute("SELECT %s::int", [number], prepare=False)).fetchone() == (number,)
    assert len(await on_server(conn)) == 2


async def test_types_make_other_statements(conn: AsyncConnection) -> None:
    for value in (1, "x", None, 2**40, 2):
        assert await (await conn.execute("SELECT %s", [value], prepare=True)).fetchone() == (value,)
    assert await on_server(conn) == ["SELECT $1"] * 3


async def test_several_statements_are_never_prepared(conn: AsyncConnection) -> None:
    for _ in range(10):
        cur = await conn.execute("SELECT 1; SELECT 2")
        assert [await result.fetchall() async for result in cur.results()] == [[(1,)], [(2,)]]
    assert await on_server(conn) == []
    with pytest.raises(e.SyntaxError):
        await conn.execute("SELECT 1; SELECT 2", prepare=True)
    await conn.rollback()
    assert await on_server(conn) == []


async def test_a_semicolon_in_a_statement_with_parameters(conn: AsyncConnection) -> None:
    for _ in range(7):
        assert await (await conn.execute("SELECT ';' || %s", ["x"])).fetchone() == (";x",)
    assert await on_server(conn) == ["SELECT ';' || $1"]


async def test_statements_without_rows(auto: AsyncConnection) -> None:
    await auto.execute("CREATE TEMP TABLE t (a int)")
    for number in range(8):
        cur = await auto.execute("INSERT INTO t VALUES (%s)", [number])
        assert (cur.rowcount, cur.description) == (1, None)
    assert await on_server(auto) == ["INSERT INTO t VALUES ($1)"]
    assert await (await auto.execute("SELECT count(*) FROM t")).fetchone() == (8,)


async def test_a_statement_that_fails_is_not_prepared_again_and_again(auto: AsyncConnection) -> None:
    for _ in range(8):
        with pytest.raises(e.UndefinedColumn):
            await auto.execute("SELECT wrong, %s", [1])
    assert await on_server(auto) == []
    # One that can be parsed and fails when it runs is.
    for _ in range(8):
        with pytest.raises(e.DivisionByZero):
            await auto.execute("SELECT 1 / %s", [0])
    assert await on_server(auto) == ["SELECT 1 / $1"]
    assert await (await auto.execute("SELECT 1 / %s", [1])).fetchone() == (1,)


async def test_the_transaction_is_rolled_back_and_the_statement_stays(conn: AsyncConnection) -> None:
    await conn.execute("SELECT %s::int", [1], prepare=True)
    await conn.rollback()
    assert await on_server(conn) == ["SELECT $1::int"]
    assert await (await conn.execute("SELECT %s::int", [2])).fetchone() == (2,)


async def test_descriptions_of_prepared_statements(conn: AsyncConnection) -> None:
    for _ in range(8):
        cur = await conn.execute("SELECT %s::int AS a, 'x'::varchar(3) AS b", [1])
        assert repr(cur.description) == (
            "[<Column 'a', type: int4 (oid: 23)>, <Column 'b', type: varchar(3) (oid: 1043)>]"
        )
        assert (cur.statusmessage, cur.rowcount) == ("SELECT 1", 1)


async def test_adapters_changed_after_it_was_prepared(conn: AsyncConnection) -> None:
    from anyq.adapt import Loader

    class Doubled(Loader):
        def load(self, data: bytes) -> Any:
            return int(data) * 2

    class DoubledBinary(Doubled):
        from anyq.protocol.constants import Format

        format = Format.BINARY

        def load(self, data: bytes) -> Any:
            return int.from_bytes(data, "big") * 2

    for _ in range(7):
        assert await (await conn.execute("SELECT %s::int", [4])).fetchone() == (4,)
    cur = conn.cursor()
    cur.adapters.register_loader("int4", Doubled)
    cur.adapters.register_loader("int4", DoubledBinary)
    assert await (await cur.execute("SELECT %s::int", [4])).fetchone() == (8,)
    assert await (await conn.execute("SELECT %s::int", [4])).fetchone() == (4,)
    conn.adapters.register_loader("int4", Doubled)
    conn.adapters.register_loader("int4", DoubledBinary)
    assert await (await conn.execute("SELECT %s::int", [4])).fetchone() == (8,)


# -- what is remembered of a query's text


async def check(conn: AsyncConnection, value: Any, query: str = "SELECT %s") -> None:
    assert await (await conn.execute(query, (value,))).fetchall() == [(value,)]


async def test_parameters_of_other_kinds_between_others(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    for _ in range(3):
        for value in (1, 2, 40_000, 2**40, None, "x", 3, 1.5, [1, 2], [None, 3], True, 2**70):
            await check(conn, value)
            await check(conn, value)


async def test_other_kinds_from_some_time_on(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    for value in ("x", "y", *range(40), "z"):
        await check(conn, value)
    assert sorted(await on_server(conn)) == ["SELECT $1"] * 2


async def test_named_parameters(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    for number in range(5):
        cur = await conn.execute("SELECT %(b)s::int, %(a)s, %(b)s::int", {"a": "x", "b": number})
        assert await cur.fetchall() == [(number, "x", number)]
    with pytest.raises(e.ProgrammingError, match="missing: b"):
        await conn.execute("SELECT %(b)s::int, %(a)s, %(b)s::int", {"a": "x"})
    with pytest.raises(TypeError, match="require a mapping"):
        await conn.execute("SELECT %(b)s::int, %(a)s, %(b)s::int", ("x", 1))
    cur = await conn.execute("SELECT %(b)s::int, %(a)s, %(b)s::int", {"a": "y", "b": 6})
    assert await cur.fetchall() == [(6, "y", 6)]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ((), e.ProgrammingError, "1 placeholders but 0 parameters"),
        ((1, 2), e.ProgrammingError, "1 placeholders but 2 parameters"),
        ("x", TypeError, "should be a sequence or a mapping, got str"),
        (5, TypeError, "should be a sequence or a mapping, got int"),
        ({"a": 1}, TypeError, "require a sequence of parameters"),
        ((object(),), e.ProgrammingError, "object"),
        (("\0",), e.DataError, "NUL"),
    ],
)
async def test_wrong_parameters_of_a_known_query(
    conn: AsyncConnection, params: Any, error: type[Exception], message: str
) -> None:
    conn.prepare_threshold = 0
    await check(conn, "x")
    await check(conn, "y")
    with pytest.raises(error, match=message):
        await conn.execute("SELECT %s", params)
    await check(conn, "z")
    assert await on_server(conn) == ["SELECT $1"]


async def test_a_percent_sign_with_and_without_parameters(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    for _ in range(3):
        assert await (await conn.execute("SELECT '50%%'")).fetchall() == [("50%%",)]
        assert await (await conn.execute("SELECT '50%%'", ())).fetchall() == [("50%",)]


async def test_whichever_cursor_asks(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    for _ in range(3):
        for cursor in (conn.cursor(), conn.cursor(binary=True), AsyncClientCursor(conn)):
            await cursor.execute("SELECT %s, 1", ["x"])
            assert await cursor.fetchall() == [("x", 1)]
            assert cursor.description is not None
        raw = AsyncRawCursor(conn)
        await raw.execute("SELECT '%s'", ())
        assert await raw.fetchall() == [("%s",)]


async def test_an_encoding_that_is_set_later(auto: AsyncConnection) -> None:
    auto.prepare_threshold = 0
    query = "SELECT 'é', %s"
    for encoding in ("latin1", "utf8", "latin1"):
        await auto.execute(f"SET client_encoding TO {encoding}")
        for value in ("ä", "ö"):
            cur = await auto.execute(query, (value,))
            assert await cur.fetchall() == [("é", value)]


async def test_a_dumper_that_is_registered_later(conn: AsyncConnection) -> None:
    from anyq.types.string import StrDumper

    class Louder(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.upper().encode()

    conn.prepare_threshold = 0
    await check(conn, "x")
    await check(conn, "x")
    cur = conn.cursor()
    cur.adapters.register_dumper(str, Louder)
    for _ in range(2):
        assert await (await cur.execute("SELECT %s", ("x",))).fetchall() == [("X",)]
        await check(conn, "x")
    conn.adapters.register_dumper(str, Louder)
    for _ in range(2):
        assert await (await conn.execute("SELECT %s", ("x",))).fetchall() == [("X",)]


@pytest.mark.parametrize("command", ["DEALLOCATE ALL", "/* all */ DISCARD ALL"])
async def test_a_command_that_forgets_all_again_and_again(auto: AsyncConnection, command: Any) -> None:
    auto.prepare_threshold = 0
    for number in range(4):
        await check(auto, number)
        await check(auto, number)
        await auto.execute(command)
    await check(auto, 5)


async def test_the_end_of_a_transaction_again_and_again(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    for number in range(4):
        await check(conn, number)
        assert conn.info.transaction_status is TransactionStatus.INTRANS
        await conn.execute("COMMIT")
        assert status(conn) is TransactionStatus.IDLE
        # In a transaction of its own, with a BEGIN before it.
        await check(conn, number)
        await conn.rollback()


async def test_evicted_between_two_executions(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    conn.prepared_max = 1
    for number in range(4):
        await check(conn, number)
        await check(conn, number)
        await check(conn, f"{number}", "SELECT %s::text")
    assert len(conn.session.composer.statements) == 1


async def test_many_queries(conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composer, "MAX_REMEMBERED", 3)
    conn.prepare_threshold = 0
    for _ in range(3):
        for number in range(5):
            assert await (await conn.execute(f"SELECT {number}, %s", (number,))).fetchall() == [(number, number)]
            assert len(conn.session.composer.remembered) <= 3


# -- many tasks


async def test_by_many_tasks_at_once(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    seen: list[Any] = []

    async def run(number: int) -> None:
        for _ in range(10):
            seen.append(await (await conn.execute("SELECT %s::int", [number])).fetchone())

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(run, number)
    assert sorted(seen) == sorted((number,) for number in range(10) for _ in range(10))
    assert await on_server(conn) == ["SELECT $1::int"]


async def test_failures_of_many_tasks_at_once(auto: AsyncConnection) -> None:
    auto.prepare_threshold = 0
    seen: list[Any] = []

    async def run(number: int) -> None:
        for divisor in (0, 1, 0, 1):
            try:
                seen.append(await (await auto.execute("SELECT %s / %s", [number, divisor])).fetchone())
            except e.DivisionByZero:
                seen.append(None)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(run, number)
    assert seen.count(None) == 20
    assert sorted(row for row in seen if row) == sorted((number,) for number in range(10) for _ in range(2))


# -- how many


async def test_the_least_recently_used_are_closed(conn: AsyncConnection) -> None:
    conn.prepared_max = 3
    for text in "abc":
        await conn.execute(f"SELECT '{text}'".encode(), prepare=True)
    await conn.execute("SELECT 'a'", prepare=True)
    await conn.execute("SELECT 'd'", prepare=True)
    # Closed with the next statement, whatever it is, so that it costs no round trip.
    await conn.execute("SELECT 0", prepare=False)
    assert await on_server(conn) == ["SELECT 'a'", "SELECT 'c'", "SELECT 'd'"]
    for text in "abcd":
        assert await (await conn.execute(f"SELECT '{text}'".encode(), prepare=True)).fetchone() == (text,)
    await conn.execute("SELECT 0", prepare=False)
    assert len(await on_server(conn)) == 3


async def test_none_at_all(conn: AsyncConnection) -> None:
    conn.prepared_max = 0
    for _ in range(8):
        await conn.execute("SELECT %s::int", [1], prepare=True)
    assert await on_server(conn) == []


async def test_any_number(conn: AsyncConnection) -> None:
    assert conn.prepared_max == 100
    conn.prepared_max = None
    for number in range(110):
        await conn.execute(f"SELECT {number}".encode(), prepare=True)
    assert len(await on_server(conn)) == 110


# -- statements that the server has dropped


@pytest.mark.parametrize("command", ["DEALLOCATE ALL", "DISCARD ALL", "deallocate  all;"])
async def test_all_are_deallocated(auto: AsyncConnection, command: Any) -> None:
    await auto.execute("SELECT %s::int", [1], prepare=True)
    await auto.execute(command)
    assert await on_server(auto) == []
    for number in range(8):
        assert await (await auto.execute("SELECT %s::int", [number])).fetchone() == (number,)
    # It is counted from the beginning.
    assert await on_server(auto) == ["SELECT $1::int"]


async def test_all_are_deallocated_in_a_transaction(conn: AsyncConnection) -> None:
    await conn.execute("SELECT %s::int", [1], prepare=True)
    await conn.execute("DEALLOCATE ALL")
    await conn.rollback()
    assert await (await conn.execute("SELECT %s::int", [1])).fetchone() == (1,)


async def in_a_function(conn: AsyncConnection, statement: str) -> None:
    """Run a statement where nothing tells the driver of it."""
    await conn.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.run(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END'"
    )
    await conn.execute("SELECT pg_temp.run(%s)", [statement], prepare=False)


async def test_deallocated_by_a_function(auto: AsyncConnection) -> None:
    # Nothing tells the driver; it notices when the statement is missing.
    await in_a_function(auto, "SELECT 1")
    await auto.execute("SELECT %s::int", [1], prepare=True)
    await auto.execute("SELECT pg_temp.run('DEALLOCATE ALL')", prepare=False)
    assert await on_server(auto) == []
    for number in range(8):
        assert await (await auto.execute("SELECT %s::int", [number])).fetchone() == (number,)


async def test_deallocated_by_a_function_in_a_transaction(conn: AsyncConnection) -> None:
    await in_a_function(conn, "SELECT 1")
    for number in range(2):
        await conn.execute(f"SELECT %s::int, {number}", [1], prepare=True)
    await conn.execute("SELECT pg_temp.run('DEALLOCATE ALL')", prepare=False)
    with pytest.raises(e.InvalidSqlStatementName):
        await conn.execute("SELECT %s::int, 0", [1])
    await conn.rollback()
    # The others are gone too, which need not be found out one by one.
    for number in range(2):
        assert await (await conn.execute(f"SELECT %s::int, {number}", [1])).fetchone() == (1, number)


async def test_the_first_statement_of_a_transaction_is_repeated(conn: AsyncConnection) -> None:
    await in_a_function(conn, "SELECT 1")
    await conn.execute("SELECT %s::int", [1], prepare=True)
    await conn.execute("SELECT pg_temp.run('DEALLOCATE ALL')", prepare=False)
    await conn.commit()
    # The BEGIN that goes with it is the driver's own, so that nothing is lost with it.
    assert await (await conn.execute("SELECT %s::int", [1])).fetchone() == (1,)
    assert conn.info.transaction_status is TransactionStatus.INTRANS


@pytest.mark.parametrize("command", ["DEALLOCATE ALL", "DEALLOCATE  all", "/* x */ DEALLOCATE ALL"])
@pytest.mark.parametrize("prepare", [True, None])
async def test_all_are_deallocated_again_and_again_in_one_transaction(
    conn: AsyncConnection, command: Any, prepare: bool | None
) -> None:
    """It drops itself as well, if it was prepared."""
    conn.prepare_threshold = 0
    for number in range(4):
        await check(conn, number)
        await conn.execute(command, prepare=prepare)
    await check(conn, 5)
    assert conn.info.transaction_status is TransactionStatus.INTRANS


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("way", ["by name", "in a DO", "by a pipelined task"])
async def test_some_are_deallocated(conn: AsyncConnection, way: str, autocommit: bool) -> None:
    await conn.set_autocommit(autocommit)
    conn.prepare_threshold = 0
    await check(conn, 1)
    await check(conn, 2)
    ((name,),) = await (await conn.execute("SELECT name FROM pg_prepared_statements", prepare=False)).fetchall()
    if way == "in a DO":
        await conn.execute(f"DO $$ BEGIN EXECUTE 'DEALLOCATE {name}'; END $$")
    elif way == "by name":
        await conn.execute(f"DEALLOCATE {name}")
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, f"DEALLOCATE {name}")
            await anyio.lowlevel.checkpoint()
            group.start_soon(check, conn, 3)
    await check(conn, 4)


@pytest.mark.parametrize("query", ["EXECUTE nosuch", "SELECT 1; EXECUTE nosuch"])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_a_statement_of_the_users_that_is_missing(conn: AsyncConnection, query: Any, autocommit: bool) -> None:
    """That is the user's error, and not sent again and again."""
    await conn.set_autocommit(autocommit)
    for prepare in (None, True) if ";" not in query else (None,):
        with anyio.fail_after(PATIENCE), pytest.raises(e.InvalidSqlStatementName):
            await conn.execute(query, prepare=prepare)
        await conn.rollback()


async def test_a_plan_of_the_users_that_is_stale(auto: AsyncConnection) -> None:
    await auto.execute("CREATE TEMP TABLE t (a int); PREPARE s AS SELECT * FROM t; EXECUTE s")
    await auto.execute("ALTER TABLE t ADD b int")
    with anyio.fail_after(PATIENCE), pytest.raises(e.FeatureNotSupported):
        await auto.execute("EXECUTE s")


# -- plans that go stale


@pytest.fixture
async def stale(auto: AsyncConnection) -> AsyncConnection:
    """A connection with a prepared SELECT * FROM t, whose columns have changed since, unseen."""
    await in_a_function(auto, "CREATE TEMP TABLE t (a int, b text)")
    await auto.execute("INSERT INTO t VALUES (1, 'x')")
    for _ in range(8):
        assert await (await auto.execute("SELECT * FROM t")).fetchall() == [(1, "x")]
    assert await on_server(auto) == ["SELECT * FROM t"]
    await auto.execute(
        "SELECT pg_temp.run($$ALTER TABLE t ALTER a TYPE text USING 'now ' || a, ADD c int[] DEFAULT '{1,2}'$$)",
        prepare=False,
    )
    return auto


async def test_a_stale_plan(stale: AsyncConnection) -> None:
    cur = await stale.execute("SELECT * FROM t")
    assert cur.description is not None and [column.type_code for column in cur.description] == [25, 25, 1007]
    assert await cur.fetchall() == [("now 1", "x", [1, 2])]
    for _ in range(8):
        assert await (await stale.execute("SELECT * FROM t")).fetchall() == [("now 1", "x", [1, 2])]
    # The old one has been closed.
    assert await on_server(stale) == ["SELECT * FROM t"]


async def test_a_stale_plan_for_the_first_statement_of_a_transaction(stale: AsyncConnection) -> None:
    await stale.set_autocommit(False)
    assert await (await stale.execute("SELECT * FROM t")).fetchall() == [("now 1", "x", [1, 2])]
    assert stale.info.transaction_status is TransactionStatus.INTRANS


async def test_a_stale_plan_in_a_transaction(stale: AsyncConnection) -> None:
    await stale.set_autocommit(False)
    await stale.execute("SELECT 1")
    with pytest.raises(e.FeatureNotSupported):
        await stale.execute("SELECT * FROM t")
    assert stale.info.transaction_status is TransactionStatus.INERROR
    await stale.rollback()
    await stale.execute("SELECT 1")
    assert await (await stale.execute("SELECT * FROM t")).fetchall() == [("now 1", "x", [1, 2])]


async def test_a_stale_plan_in_a_savepoint(stale: AsyncConnection) -> None:
    async with stale.transaction():
        with pytest.raises(e.FeatureNotSupported):
            async with stale.transaction():
                await stale.execute("SELECT * FROM t")
        assert await (await stale.execute("SELECT * FROM t")).fetchall() == [("now 1", "x", [1, 2])]


async def test_a_stale_plan_for_many_tasks(stale: AsyncConnection) -> None:
    seen: list[Any] = []

    async def run() -> None:
        seen.append(await (await stale.execute("SELECT * FROM t")).fetchall())

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(run)
    assert seen == [[("now 1", "x", [1, 2])]] * 10


async def test_a_plan_that_the_server_renews_by_itself(auto: AsyncConnection) -> None:
    await auto.execute("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1)")
    for _ in range(8):
        await auto.execute("SELECT a FROM t")
    await auto.execute("ALTER TABLE t ADD b text; CREATE INDEX ON t (a); ANALYZE t")
    assert await (await auto.execute("SELECT a FROM t")).fetchall() == [(1,)]
    assert await on_server(auto) == ["SELECT a FROM t"]


# -- begun again


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "begins"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT {}::text",
        "/* with a comment */ SELECT {}::text",
        "INSERT INTO t SELECT 2 WHERE {} IS NOT NULL RETURNING a",
        "WITH x AS (UPDATE t SET a = 3 WHERE {} IS NOT NULL RETURNING a) SELECT * FROM x",
        "EXPLAIN ANALYZE INSERT INTO t SELECT 2 WHERE {} IS NOT NULL",
        "CREATE TABLE pg_temp.u AS SELECT {}::text",
        "ALTER TABLE t ALTER a TYPE text USING {}::text || a",
        "SELECT {}::text; SELECT 'and another'",
    ],
)
@pytest.mark.parametrize("way", ["execute", "prepared", "client"])
async def test_a_victim_of_another_cancellation_notices_nothing(
    query: str, autocommit: bool, way: str, auto: AsyncConnection, dsn: str
) -> None:
    """Whatever it has done is rolled back and done again, once."""
    if "; " in query and way == "prepared":
        pytest.skip("several statements cannot be prepared")
    await auto.execute("CREATE TEMPORARY TABLE t (a int); INSERT INTO t VALUES (1)")
    seen: list[Any] = []

    async def neighbour(waits: str) -> None:
        auto.session.transactions.autocommit = autocommit
        text: Any = query.format(waits)
        if way == "client":
            cursor: Any = AsyncClientCursor(auto)
            seen.append((await cursor.execute(text)).statusmessage)
        else:
            seen.append((await auto.execute(text, prepare=way == "prepared" or None)).statusmessage)

    await as_victim(auto, dsn, neighbour)
    assert len(seen) == 1
    assert auto.info.transaction_status is (TransactionStatus.IDLE if autocommit else TransactionStatus.INTRANS)
    rows = await (await auto.execute("SELECT count(*) FROM t")).fetchall()
    assert rows == [(2 if query.startswith("INSERT") or "ANALYZE INSERT" in query else 1,)]


@pytest.mark.parametrize("way", ["execute", "prepared", "client", "executemany"])
async def test_a_victim_that_is_hit_at_its_end(way: str, auto: AsyncConnection, dsn: str) -> None:
    """Its result was there, and then the transaction failed, in a deferred trigger: nobody has seen that result."""
    await auto.execute("CREATE TEMPORARY TABLE t (a int)")
    await auto.execute(
        "CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM {WAITS}; RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION pg_temp.wait()".encode()
    )
    seen: list[Any] = []

    async def neighbour(waits: str) -> None:
        cursor: Any = AsyncClientCursor(auto) if way == "client" else auto.cursor()
        if way == "executemany":
            await cursor.executemany("INSERT INTO t VALUES (%s)", [(1,)])
            seen.append((cursor.rowcount,))
        else:
            prepare = {} if way == "client" else {"prepare": way == "prepared"}
            await cursor.execute("INSERT INTO t VALUES (%s) RETURNING a", [1], **prepare)
            seen.extend(await cursor.fetchall())

    await as_victim(auto, dsn, neighbour)
    assert seen == [(1,)]
    assert await (await auto.execute("SELECT * FROM t")).fetchall() == [(1,)]


@pytest.mark.parametrize("query", ["DO $$ BEGIN PERFORM {}; END $$", "SELECT 1; SELECT {}"])
async def test_a_victim_of_which_something_may_be_left_is_told(query: str, auto: AsyncConnection, dsn: str) -> None:
    seen: list[e.QueryCanceled] = []

    async def neighbour(waits: str) -> None:
        with pytest.raises(e.QueryCanceled) as caught:
            await auto.execute(query.format(waits).encode())
        seen.append(caught.value)

    await as_victim(auto, dsn, neighbour)
    assert len(seen) == 1


async def test_a_victim_inside_a_transaction_fails_it(conn: AsyncConnection, dsn: str) -> None:
    """What was done before it in the transaction would be lost: so it says so."""
    seen: list[e.QueryCanceled] = []

    async def neighbour(waits: str) -> None:
        with pytest.raises(e.QueryCanceled) as caught:
            await conn.execute(f"SELECT {waits}".encode())
        seen.append(caught.value)

    await as_victim(conn, dsn, neighbour)
    assert len(seen) == 1
    assert status(conn) is TransactionStatus.INERROR
    await conn.rollback()


async def test_a_statement_is_begun_again_with_its_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A victim of somebody else's CancelRequest: what had been begun is rolled back first."""
    monkeypatch.setattr("anyq.session.cancelling.CANCEL_AGAIN", 1000.0)
    sent, cancelled = anyio.Event(), anyio.Event()
    canceled = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceled"})
    begun = (be.ParseComplete(), be.BindComplete(), be.CommandComplete("BEGIN"))

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"SELECT 'doomed'")
        await client.receive_until(fm.Sync)
        sent.set()
        await cancelled.wait()
        await client.send(be.CommandComplete("SELECT 0"), READY, *begun, canceled, FAILED)
        await client.expect(fm.Query, sql=b"ROLLBACK")
        await client.send(be.CommandComplete("ROLLBACK"), READY)
        await client.receive_until(fm.Sync)
        await client.send(
            *begun, be.ParseComplete(), be.BindComplete(), be.NoData(), be.CommandComplete("INSERT 0 1"), IN_TRANSACTION
        )
        await client.ignore_the_rest()

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)
        cancelled.set()

    tags: list[str | None] = []

    async def insert(conn: AsyncConnection) -> None:
        tags.append((await conn.execute("INSERT INTO t VALUES (1)")).statusmessage)

    async with fake_server(session, cancel) as server:
        conn = await AsyncConnection.connect(server.conninfo, autocommit=True)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                doomed.start_soon(conn.execute, "SELECT 'doomed'")
                await anyio.wait_all_tasks_blocked()
                conn.session.transactions.autocommit = False
                group.start_soon(insert, conn)
                await sent.wait()
                doomed.cancel_scope.cancel()
        await conn.close()
    assert tags == ["INSERT 0 1"]


async def test_a_description_is_begun_again_with_its_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is what asks for the columns of a binary result, which fails before the statement itself is sent."""
    monkeypatch.setattr("anyq.session.cancelling.CANCEL_AGAIN", 1000.0)
    sent, cancelled = anyio.Event(), anyio.Event()
    canceled = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceled"})
    begun = (be.ParseComplete(), be.BindComplete(), be.CommandComplete("BEGIN"))
    fields = (be.FieldDescription("a", 0, 0, 23, 4, -1, 0),)
    binary = (fields[0]._replace(format=1),)

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"SELECT 'doomed'")
        await client.receive_until(fm.Sync)
        sent.set()
        await cancelled.wait()
        await client.send(be.CommandComplete("SELECT 0"), READY, *begun, canceled, FAILED)
        await client.expect(fm.Query, sql=b"ROLLBACK")
        await client.send(be.CommandComplete("ROLLBACK"), READY)
        await client.receive_until(fm.Sync)
        described = (be.ParseComplete(), be.ParameterDescription(()), be.RowDescription(fields))
        await client.send(*begun, *described, IN_TRANSACTION)
        await client.receive_until(fm.Sync)
        row = be.DataRow((b"\0\0\0\7",))
        await client.send(be.ParseComplete(), be.BindComplete(), be.RowDescription(binary), row)
        await client.send(be.CommandComplete("SELECT 1"), IN_TRANSACTION)
        await client.ignore_the_rest()

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)
        cancelled.set()

    rows: list[Any] = []

    async def select(conn: AsyncConnection) -> None:
        cursor = await conn.execute("SELECT a FROM t", binary=True)
        rows.extend(await cursor.fetchall())

    async with fake_server(session, cancel) as server:
        conn = await AsyncConnection.connect(server.conninfo, autocommit=True)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                doomed.start_soon(conn.execute, "SELECT 'doomed'")
                await anyio.wait_all_tasks_blocked()
                conn.session.transactions.autocommit = False
                group.start_soon(select, conn)
                await sent.wait()
                doomed.cancel_scope.cancel()
        await conn.close()
    assert rows == [(7,)]
