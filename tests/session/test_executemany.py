"""executemany: one statement for many sets of parameters, in one transaction and in few round trips."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.session.executemany import BATCH_BYTES, BATCH_SETS
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE, held_lock, until_sleeping
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.state import status
from tests.support.victims import WAITS, as_victim

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO t VALUES (%s, %s)"


@pytest.fixture
async def table(conn: AsyncConnection) -> str:
    """A table t (a int, b text) on a connection that is in autocommit mode by then."""
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMP TABLE t (a int, b text)")
    return "t"


async def content(conn: AsyncConnection) -> list[Any]:
    return await (await conn.execute("SELECT * FROM t ORDER BY a")).fetchall()


async def is_usable(conn: AsyncConnection) -> bool:
    return await (await conn.execute("SELECT %s::int", [1])).fetchone() == (1,)


# -- results


async def test_without_returning(conn: AsyncConnection, table: str) -> None:
    cur = conn.cursor()
    await cur.executemany(INSERT, [(1, "a"), [2, None], (3, "c")])
    assert (cur.rowcount, cur.statusmessage, cur.description, cur.rownumber) == (3, "INSERT 0 1", None, None)
    assert cur.nextset() is None
    assert [one async for one in cur.results()] == []
    with pytest.raises(e.ProgrammingError):
        await cur.fetchall()
    assert await content(conn) == [(1, "a"), (2, None), (3, "c")]


@pytest.mark.parametrize(
    "query",
    ["SELECT %s::int, repeat('x', 1000000)", "INSERT INTO t VALUES (%s) RETURNING repeat('x', 1000000)"],
    ids=["select", "returning"],
)
async def test_rows_that_nobody_wants_are_passed_over(conn: AsyncConnection, table: str, query: Any) -> None:
    cur = conn.cursor()
    await cur.executemany(query, [(1,), (2,), (3,)])
    assert (cur.rowcount, cur.description) == (3, None)
    with pytest.raises(e.ProgrammingError):
        await cur.fetchone()
    assert await is_usable(conn)


async def test_rowcount_is_that_of_all_sets(conn: AsyncConnection, table: str) -> None:
    cur = conn.cursor()
    await cur.executemany("INSERT INTO t SELECT generate_series(1, %s)", [(n,) for n in range(5)])
    assert cur.rowcount == 10
    await cur.executemany("UPDATE t SET b = 'x' WHERE a = %s", [(1,), (4,), (100,)])
    assert cur.rowcount == 5


async def test_returning(conn: AsyncConnection, table: str) -> None:
    cur = conn.cursor()
    await cur.executemany(INSERT + " RETURNING a * 10, b", [(1, "a"), (2, None)], returning=True)
    assert (cur.rowcount, cur.statusmessage, cur.rownumber) == (1, "INSERT 0 1", 0)
    assert await cur.fetchall() == [(10, "a")]
    assert cur.nextset() is True
    assert await cur.fetchone() == (20, None)
    assert cur.nextset() is None
    await cur.set_result(0)
    assert [await result.fetchall() async for result in cur.results()] == [[(10, "a")], [(20, None)]]


async def test_returning_rows_of_any_number(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    await cur.executemany("SELECT generate_series(1, %s)", [(n,) for n in (2, 0, 1)], returning=True)
    assert [(result.rowcount, await result.fetchall()) async for result in cur.results()] == [
        (2, [(1,), (2,)]),
        (0, []),
        (1, [(1,)]),
    ]


async def test_returning_of_a_statement_without_rows(conn: AsyncConnection, table: str) -> None:
    cur = conn.cursor()
    await cur.executemany(INSERT, [(1, "a"), (2, "b")], returning=True)
    assert [(result.rowcount, result.description) async for result in cur.results()] == [(1, None), (1, None)]


async def test_the_row_factory_sees_each_result(conn: AsyncConnection) -> None:
    from anyq.rows import dict_row

    cur = conn.cursor(row_factory=dict_row)
    await cur.executemany("SELECT %(a)s::int AS a", [{"a": 1}, {"a": 2}], returning=True)
    assert [await result.fetchall() async for result in cur.results()] == [[{"a": 1}], [{"a": 2}]]


# -- parameters


async def test_a_generator(conn: AsyncConnection, table: str) -> None:
    cur = conn.cursor()
    await cur.executemany(INSERT, ((n, str(n)) for n in range(10)))
    assert await content(conn) == [(n, str(n)) for n in range(10)]


async def test_mappings(conn: AsyncConnection, table: str) -> None:
    cur = conn.cursor()
    await cur.executemany(
        "INSERT INTO t VALUES (%(a)s, %(b)s || %(a)s::text)", [{"a": 1, "b": "x"}, {"b": "y", "a": 2, "c": None}]
    )
    assert await content(conn) == [(1, "x1"), (2, "y2")]


@pytest.mark.parametrize("returning", [False, True])
async def test_no_sets(conn: AsyncConnection, returning: bool) -> None:
    cur = await conn.execute("SELECT 1")
    await conn.commit()
    await cur.executemany("this is never looked at %s", [], returning=returning)
    assert (cur.rowcount, cur.statusmessage, cur.description, cur.nextset()) == (0, None, None, None)
    # Nothing was sent.
    assert conn.info.transaction_status is TransactionStatus.IDLE


async def test_types_that_differ_between_sets(conn: AsyncConnection) -> None:
    values: list[Any] = [1, None, 2**40, "x", None, Decimal("1.5"), date(2020, 2, 29), [1, 2], b"\xff", 2, True]
    cur = conn.cursor()
    await cur.executemany("SELECT %s AS value", [(value,) for value in values], returning=True)
    results = []
    async for result in cur.results():
        assert result.description is not None and result.description[0].name == "value"
        results += await result.fetchall()
    assert results == [(value,) for value in values]
    await cur.executemany("SELECT %b", [(value,) for value in values], returning=True)
    assert [await result.fetchone() async for result in cur.results()] == [(value,) for value in values]


async def test_none_among_ints(conn: AsyncConnection, table: str) -> None:
    cur = conn.cursor()
    await cur.executemany("INSERT INTO t VALUES (%s)", [(None,), (1,), (None,), (2,)])
    assert await content(conn) == [(1, None), (2, None), (None, None), (None, None)]


async def test_ints_of_any_magnitude(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMP TABLE n (a numeric)")
    values = [1, 2**15, 2**31, 2**63, 2**200, -(2**63), 0]
    cur = conn.cursor()
    await cur.executemany("INSERT INTO n VALUES (%s)", [(value,) for value in values])
    assert await (await conn.execute("SELECT * FROM n")).fetchall() == [(value,) for value in values]


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("sets", "error"),
    [
        ([(1, "a"), (2,)], e.ProgrammingError),
        ([(1, "a"), 5], TypeError),
        ([(1, "a"), "ab"], TypeError),
        ([(1, "a"), {"a": 1, "b": 2}], TypeError),
        ([(1, "a"), (2, object())], e.ProgrammingError),
        ([(1, "a"), (2, "\0")], e.DataError),
    ],
)
@pytest.mark.parametrize("autocommit", [True, False])
async def test_wrong_sets(
    conn: AsyncConnection, table: str, sets: list[Any], error: type[Exception], autocommit: bool
) -> None:
    await conn.set_autocommit(autocommit)
    with pytest.raises(error):
        await conn.cursor().executemany(INSERT, sets)
    # It is noticed before anything is sent, as long as it is in the first batch.
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await content(conn) == []


@pytest.mark.parametrize("params", [5, None])
async def test_what_is_not_iterable(conn: AsyncConnection, params: Any) -> None:
    with pytest.raises(TypeError):
        await conn.cursor().executemany(INSERT, params)
    assert await is_usable(conn)


async def test_several_statements_are_an_error(conn: AsyncConnection) -> None:
    with pytest.raises(e.SyntaxError) as caught:
        await conn.cursor().executemany("SELECT %s; SELECT 1", [(1,)])
    assert caught.value.sqlstate == "42601"


# -- transactions


async def test_it_begins_a_transaction(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    await cur.executemany("SELECT set_config('anyq.test', %s, true)", [("a",), ("b",)], returning=True)
    assert conn.info.transaction_status is TransactionStatus.INTRANS
    assert await (await conn.execute("SELECT current_setting('anyq.test')")).fetchone() == ("b",)
    assert [await result.fetchone() async for result in cur.results()] == [("a",), ("b",)]
    await conn.rollback()
    assert status(conn) is TransactionStatus.IDLE


@pytest.mark.any_loop
@pytest.mark.parametrize("returning", [False, True])
@pytest.mark.parametrize("bad", [0, 1, 1999, 4000, 4999])
async def test_an_error_takes_everything_with_it(conn: AsyncConnection, table: str, bad: int, returning: bool) -> None:
    cur = conn.cursor()
    with pytest.raises(e.DivisionByZero):
        await cur.executemany(
            "INSERT INTO t VALUES (%s / %s)", [(n, int(n != bad)) for n in range(5000)], returning=returning
        )
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert (cur.statusmessage, cur.description, cur.nextset()) == (None, None, None)
    assert await content(conn) == []


async def test_an_error_in_a_transaction(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (7)")
    await conn.commit()
    with pytest.raises(e.DivisionByZero):
        await conn.cursor().executemany("INSERT INTO t VALUES (1 / %s)", [(1,), (0,), (1,)])
    assert conn.info.transaction_status is TransactionStatus.INERROR
    with pytest.raises(e.InFailedSqlTransaction):
        await conn.cursor().executemany("SELECT %s", [(1,)])
    await conn.rollback()
    assert await (await conn.execute("SELECT * FROM t")).fetchall() == [(7,)]


async def test_in_a_transaction_block(conn: AsyncConnection, table: str) -> None:
    async with conn.transaction():
        with pytest.raises(e.DivisionByZero):
            async with conn.transaction():
                await conn.cursor().executemany("INSERT INTO t VALUES (1 / %s)", [(1,), (0,)])
        await conn.cursor().executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)])
    assert await content(conn) == [(1, None), (2, None)]


# -- batches


@pytest.mark.parametrize("count", [BATCH_SETS - 1, BATCH_SETS, BATCH_SETS + 1, 2 * BATCH_SETS, 5 * BATCH_SETS + 7])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_many_sets(conn: AsyncConnection, table: str, count: int, autocommit: bool) -> None:
    await conn.set_autocommit(autocommit)
    cur = conn.cursor()
    await cur.executemany(INSERT + " RETURNING a", ((n, str(n)) for n in range(count)), returning=True)
    assert [await result.fetchone() async for result in cur.results()] == [(n,) for n in range(count)]
    await cur.executemany("DELETE FROM t WHERE a = %s", ((n,) for n in range(0, count, 2)))
    assert cur.rowcount == (count + 1) // 2
    assert await content(conn) == [(n, str(n)) for n in range(1, count, 2)]


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("params_seq", "flushes"),
    [
        ([(n,) for n in range(BATCH_SETS)], 0),
        (tuple((n,) for n in range(2 * BATCH_SETS)), 1),
        ([("x" * BATCH_BYTES,)], 0),
        ([("x" * BATCH_BYTES,), (1,)], 1),
        (((n,) for n in range(BATCH_SETS)), 1),  # it cannot be told whether there is another one
    ],
    ids=["list", "tuple", "big", "big first", "generator"],
)
async def test_the_last_batch_of_a_sequence_brings_the_sync(params_seq: Any, flushes: int) -> None:
    """The server gets the end with it, and need not wait for that."""
    seen: list[fm.FrontendMessage] = []

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        while not isinstance(message := await client.receive(), fm.Terminate):
            assert message is not None
            seen.append(message)
            if isinstance(message, fm.Execute):
                await client.send(be.CommandComplete("SELECT 1"))
            elif isinstance(message, fm.Sync):
                await client.send(READY)

    async with fake_server(session) as server, AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
        cur = conn.cursor()
        await cur.executemany("SELECT %s", params_seq)
    assert cur.rowcount == sum(isinstance(message, fm.Execute) for message in seen) > 0
    assert sum(isinstance(message, fm.Flush) for message in seen) == flushes
    assert isinstance(seen[-1], fm.Sync)


@pytest.mark.parametrize("size", [BATCH_BYTES // 3, BATCH_BYTES, 40 * BATCH_BYTES])
async def test_big_sets(conn: AsyncConnection, size: int) -> None:
    cur = conn.cursor()
    await cur.executemany("SELECT length(%s::text)", [("x" * (size + n),) for n in range(10)], returning=True)
    assert [await result.fetchone() async for result in cur.results()] == [(size + n,) for n in range(10)]


async def test_big_values_in_both_directions_at_once(conn: AsyncConnection) -> None:
    # More than the buffers of both sides hold: if both only wrote, neither would go on.
    value = "x" * 3_000_000
    cur = conn.cursor()
    with anyio.fail_after(PATIENCE):
        await cur.executemany("SELECT %s::text || %s", [(value, str(n)) for n in range(8)], returning=True)
    results = [await result.fetchone() async for result in cur.results()]
    assert results == [(value + str(n),) for n in range(8)]


async def test_sets_are_consumed_as_they_are_sent(conn: AsyncConnection, table: str) -> None:
    taken = 0

    def sets() -> Iterator[tuple[int, int]]:
        nonlocal taken
        for n in range(20 * BATCH_SETS):
            taken += 1
            yield n, int(n != 10)

    with pytest.raises(e.DivisionByZero):
        await conn.cursor().executemany("INSERT INTO t VALUES (%s / %s)", sets())
    # Once the server has refused one there is no use in making all the others.
    assert taken <= 3 * BATCH_SETS
    assert await content(conn) == []


# -- generators that fail


@pytest.mark.parametrize("good", [0, 1, BATCH_SETS, BATCH_SETS + 1, 3 * BATCH_SETS + 1])
async def test_a_generator_that_raises(conn: AsyncConnection, table: str, good: int) -> None:
    def sets() -> Iterator[tuple[int, str]]:
        for n in range(good):
            yield n, "x"
        raise ZeroDivisionError("of the generator's own")

    cur = conn.cursor()
    with pytest.raises(ZeroDivisionError, match="of the generator's own"):
        await cur.executemany(INSERT, sets())
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await content(conn) == []
    await cur.executemany(INSERT, [(1, "a")])
    assert await content(conn) == [(1, "a")]


async def test_a_wrong_set_in_a_later_batch(conn: AsyncConnection, table: str) -> None:
    with pytest.raises(e.ProgrammingError, match="2 placeholders but 1 parameters"):
        await conn.cursor().executemany(INSERT, [*((n, "x") for n in range(2 * BATCH_SETS)), (1,)])
    assert await content(conn) == []


# -- prepared statements


async def prepared(conn: AsyncConnection, like: str = "%") -> list[str]:
    """What is prepared, as the server says."""
    query = "SELECT statement FROM pg_prepared_statements WHERE statement LIKE %s ORDER BY prepare_time"
    return [statement for (statement,) in await (await conn.execute(query, [like], prepare=False)).fetchall()]


async def test_it_is_prepared_when_it_was_executed_often(conn: AsyncConnection, table: str) -> None:
    for n in range(6):
        assert await prepared(conn) == []
        await conn.cursor().executemany(INSERT, [(n, "a"), (-n, "b")])
    assert await prepared(conn) == ["INSERT INTO t VALUES ($1, $2)"]
    for n in range(3):
        await conn.cursor().executemany(INSERT, [(n, "a")] * (2 * BATCH_SETS))
        # It is the same statement for all.
        await conn.execute(INSERT, (1, "x"))
    assert len(await prepared(conn)) == 1


@pytest.mark.parametrize(("threshold", "most"), [(None, 100), (0, 0)])
async def test_it_is_not_prepared_if_that_is_not_wanted(
    conn: AsyncConnection, table: str, threshold: int | None, most: int
) -> None:
    conn.prepare_threshold, conn.prepared_max = threshold, most
    for _ in range(7):
        await conn.cursor().executemany(INSERT, [(1, "a"), (None, "b")])
    assert await prepared(conn) == []


async def test_what_is_no_query_is_not_prepared(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    await conn.cursor().executemany("SELECT set_config('anyq.test', %s, false)", [("a",)])
    await conn.cursor().executemany("DISCARD PLANS", [()])
    assert await prepared(conn) == []


@pytest.mark.parametrize("threshold", [0, 2])
async def test_types_that_alternate_are_statements_of_their_own(conn: AsyncConnection, threshold: int) -> None:
    conn.prepare_threshold = threshold
    values: list[Any] = [None, 1, 2**40, "x", Decimal("1.5")] * 3
    for _ in range(3):
        cur = conn.cursor()
        await cur.executemany("SELECT %s AS value", [(value,) for value in values], returning=True)
        assert [await result.fetchone() async for result in cur.results()] == [(value,) for value in values]
    # None and a str have the same type, as far as the server is told.
    assert await prepared(conn) == ["SELECT $1 AS value"] * 4


async def test_it_drops_what_was_not_used_for_longest(conn: AsyncConnection, table: str) -> None:
    conn.prepare_threshold, conn.prepared_max = 0, 2
    cur = conn.cursor()
    for n in range(4):
        await cur.executemany(f"INSERT INTO t VALUES (%s, '{n}')".encode(), [(n,)])
    await cur.executemany("INSERT INTO t VALUES (%s, '3')", [(n,)])
    # The third one went when the fourth had come, and is closed by the next request.
    assert await prepared(conn) == [f"INSERT INTO t VALUES ($1, '{n}')" for n in (2, 3)]


async def test_one_that_fails_is_not_taken_for_prepared(conn: AsyncConnection, table: str) -> None:
    conn.prepare_threshold = 0
    for _ in range(2):
        # In a transaction nothing would be sent again.
        with pytest.raises(e.UndefinedTable):
            async with conn.transaction():
                await conn.execute("SELECT 1")
                await conn.cursor().executemany("INSERT INTO t2 VALUES (%s)", [(1,)])
    await conn.execute("CREATE TEMP TABLE t2 (a int)")
    for _ in range(2):
        await conn.cursor().executemany("INSERT INTO t2 VALUES (%s)", [(1,)])
        with pytest.raises(e.InvalidTextRepresentation):
            await conn.cursor().executemany("INSERT INTO t2 VALUES (%s)", [("1",), ("x",)])
    assert await (await conn.execute("SELECT a FROM t2")).fetchall() == [(1,), (1,)]


@pytest.mark.parametrize("wrong", [1, BATCH_SETS + 1])
async def test_wrong_sets_leave_nothing_half_prepared(conn: AsyncConnection, table: str, wrong: int) -> None:
    conn.prepare_threshold = 0
    sets: list[Any] = [(n, None) for n in range(wrong)]
    for _ in range(2):
        with pytest.raises(e.DataError):
            await conn.cursor().executemany(INSERT, [*sets, (1, "\0")])
    await conn.cursor().executemany(INSERT, [(1, None)])
    assert await content(conn) == [(1, None)]
    assert await prepared(conn, "INSERT%") == ["INSERT INTO t VALUES ($1, $2)"]


@pytest.mark.parametrize("relied_on", [True, False])
async def test_a_cancelled_one_leaves_names_as_they_are(
    conn: AsyncConnection, dsn: str, table: str, relied_on: bool
) -> None:
    conn.prepare_threshold = 0
    query = "INSERT INTO t SELECT %s FROM pg_sleep(%s)"
    if relied_on:
        await conn.cursor().executemany(query, [(1, 0)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(conn.cursor().executemany, query, [(2, 0), (3, 600)])
        await until_sleeping(dsn, conn.info.backend_pid)
        tasks.cancel_scope.cancel()
    await conn.cursor().executemany(query, [(4, 0)])
    assert await content(conn) == [(1, None)] * relied_on + [(4, None)]
    assert len(await prepared(conn, "INSERT%")) == 1


async def test_what_is_forgotten_while_it_waits_for_its_turn(conn: AsyncConnection, table: str) -> None:
    conn.prepare_threshold = 0
    await conn.cursor().executemany(INSERT, [(1, "a")])
    async with anyio.create_task_group() as tasks, conn.cursor().copy("COPY t FROM STDIN") as copy:
        tasks.start_soon(conn.cursor().executemany, INSERT, [(2, "b"), (None, "c")])
        await anyio.wait_all_tasks_blocked()
        conn.session.composer.statements.renew()
        await copy.write_row((3, "d"))
    assert await content(conn) == [(1, "a"), (2, "b"), (3, "d"), (None, "c")]
    await conn.cursor().executemany(INSERT, [(4, "e")])
    assert len(await prepared(conn, "INSERT%")) == 2


@pytest.mark.parametrize("relied_on", [True, False])
async def test_a_victim_is_begun_again_with_its_names(
    conn: AsyncConnection, table: str, dsn: str, relied_on: bool
) -> None:
    conn.prepare_threshold = 0
    query = "INSERT INTO t SELECT a, CASE WHEN a = 3 THEN ({})::text ELSE '' END FROM (SELECT %s::int AS a) AS s"

    async def neighbour(waits: str) -> None:
        await conn.cursor().executemany(query.format(waits).encode(), [(1,), ("2",), (3,), (4,)])

    if relied_on:
        await conn.cursor().executemany(query.format(WAITS).encode(), [(1,), ("2",)])
        await conn.execute("TRUNCATE t")
    await as_victim(conn, dsn, neighbour)
    assert [a for a, _ in await content(conn)] == [1, 2, 3, 4]
    await neighbour(WAITS)
    assert len(await prepared(conn, "INSERT%")) == 2


# -- other tasks on the same connection


async def test_beside_other_tasks(conn: AsyncConnection, table: str) -> None:
    seen: list[Any] = []

    async def query(number: int) -> None:
        for _ in range(10):
            cur = await conn.execute("SELECT %s::int, count(*) FROM t", [number])
            seen.append(await cur.fetchone())

    async def insert(start: int) -> None:
        await conn.cursor().executemany(INSERT, ((n, "x") for n in range(start, start + 3 * BATCH_SETS)))

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(query, number)
                tasks.start_soon(insert, number * 10_000)
    assert len(seen) == 50
    # Nobody sees half of one.
    assert {count % (3 * BATCH_SETS) for _, count in seen} == {0}
    assert len(await content(conn)) == 15 * BATCH_SETS


async def test_an_error_does_not_reach_other_tasks(conn: AsyncConnection, table: str) -> None:
    async def query(number: int) -> None:
        cur = await conn.execute("SELECT %s::int", [number])
        assert await cur.fetchone() == (number,)

    async def insert() -> None:
        with pytest.raises(e.DivisionByZero):
            await conn.cursor().executemany(
                "INSERT INTO t VALUES (1 / %s)", [(int(n != 1500),) for n in range(3 * BATCH_SETS)]
            )

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(query, number)
            tasks.start_soon(insert)
            tasks.start_soon(query, number)
    assert await content(conn) == []


# -- cancellation


async def test_cancelled_while_the_server_works(conn: AsyncConnection, dsn: str, table: str) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            conn.cursor().executemany,
            "INSERT INTO t SELECT %s FROM pg_sleep(%s)",
            [(n, 600 if n == 5 else 0) for n in range(10)],
        )
        await until_sleeping(dsn, conn.info.backend_pid)
        tasks.cancel_scope.cancel()
    assert not conn.closed
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await content(conn) == []


@pytest.mark.parametrize("last", [1, BATCH_SETS, 2 * BATCH_SETS, 2 * BATCH_SETS + 500])
async def test_cancelled_between_batches(conn: AsyncConnection, table: str, last: int) -> None:
    with anyio.CancelScope() as scope:

        def sets() -> Iterator[tuple[int, str]]:
            for n in range(5 * BATCH_SETS):
                if n == last:
                    scope.cancel()
                yield n, "x"

        await conn.cursor().executemany(INSERT, sets())
        pytest.fail("the cancellation was swallowed")
    assert scope.cancelled_caught
    assert not conn.closed
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await content(conn) == []


async def test_cancelled_while_it_waits_for_its_turn(conn: AsyncConnection, dsn: str, table: str) -> None:
    async with anyio.create_task_group() as tasks:
        first = anyio.CancelScope()

        async def sleep() -> None:
            with first:
                await conn.cursor().executemany("SELECT pg_sleep(%s)", [(600,)])

        tasks.start_soon(sleep)
        await until_sleeping(dsn, conn.info.backend_pid)
        with anyio.CancelScope() as second:
            second.cancel()
            await conn.cursor().executemany(INSERT, [(1, "a")])
        assert second.cancelled_caught
        first.cancel()
    assert await content(conn) == []


async def test_a_cancelled_one_does_not_hold_the_others_up(conn: AsyncConnection, dsn: str, table: str) -> None:
    seen: list[Any] = []

    async def query() -> None:
        seen.append(await (await conn.execute("SELECT 1")).fetchone())

    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def sleep() -> None:
            with scope:
                await conn.cursor().executemany("SELECT pg_sleep(%s)", [(600,)] * 3)

        tasks.start_soon(sleep)
        await until_sleeping(dsn, conn.info.backend_pid)
        for _ in range(5):
            tasks.start_soon(query)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
    assert seen == [(1,)] * 5


async def test_a_server_that_ends_a_cancelled_statement_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever drains what is left of it lets others run meanwhile."""
    monkeypatch.setattr("anyq.session.cancelling.CANCEL_AGAIN", 1000.0)
    sent, cancelled = anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        for _ in range(2):
            await client.receive_until(fm.Flush)
        sent.set()
        await cancelled.wait()
        await client.send(be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceling statement"}))
        await client.receive_until(fm.Sync)
        await anyio.wait_all_tasks_blocked()
        await client.send(READY)
        await client.expect(fm.Terminate)

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)
        cancelled.set()

    async with (
        fake_server(session, cancel) as server,
        AsyncConnection.connect(server.conninfo, autocommit=True) as conn,
    ):
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(conn.cursor().executemany, "SELECT %s", [(n,) for n in range(3 * BATCH_SETS)])
                await sent.wait()
                group.cancel_scope.cancel()
        assert not conn.closed


# -- victims of a CancelRequest for a statement before


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "begins"])
@pytest.mark.parametrize("returning", [False, True], ids=["counted", "returning"])
@pytest.mark.parametrize(("sets", "hit"), [(3, 0), (2 * BATCH_SETS, 1), (5 * BATCH_SETS, BATCH_SETS + 3)])
async def test_a_victim_is_begun_again(
    conn: AsyncConnection, table: str, dsn: str, autocommit: bool, returning: bool, sets: int, hit: int
) -> None:
    """In whatever set of what was sent it is hit: all that is sent again, and each set counts once."""
    seen: list[Any] = []

    async def neighbour(waits: str) -> None:
        conn.session.transactions.autocommit = autocommit
        query = (
            f"INSERT INTO t SELECT a, CASE WHEN a = {hit} THEN ({waits})::text ELSE '' END FROM (SELECT %s::int AS a)"
        )
        cur = conn.cursor()
        await cur.executemany((query + " AS s RETURNING a").encode(), ((n,) for n in range(sets)), returning=returning)
        seen.append(cur.rowcount)
        if returning:
            rows = [row async for result in cur.results() for row in [await result.fetchone()]]
            assert rows == [(n,) for n in range(sets)]

    await as_victim(conn, dsn, neighbour)
    assert seen == [1 if returning else sets]
    assert conn.info.transaction_status is (TransactionStatus.IDLE if autocommit else TransactionStatus.INTRANS)
    assert [a for a, _ in await content(conn)] == list(range(sets))


async def test_a_victim_that_may_have_committed_is_not_begun_again(
    conn: AsyncConnection, table: str, schema: str, dsn: str
) -> None:
    await conn.execute(
        f"CREATE PROCEDURE {schema}.p(a int, b text) LANGUAGE sql AS 'INSERT INTO t VALUES (a, b)'".encode()
    )
    seen: list[e.Error] = []

    async def neighbour(waits: str) -> None:
        with pytest.raises(e.QueryCanceled) as caught:
            await conn.cursor().executemany(f"CALL {schema}.p(%s, ({waits})::text)".encode(), [(1,), (2,)])
        seen.append(caught.value)

    await as_victim(conn, dsn, neighbour)
    assert len(seen) == 1
    assert await content(conn) == []


async def test_who_is_cancelled_by_somebody_else_is_not_begun_again(
    conn: AsyncConnection, table: str, dsn: str
) -> None:
    async with held_lock(dsn) as lock, AsyncConnection.connect(dsn, autocommit=True) as other:

        async def cancel() -> None:
            await lock.until_wanted(conn.info.backend_pid)
            await other.execute("SELECT pg_cancel_backend(%s)", [conn.info.backend_pid])

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            query = f"INSERT INTO t SELECT %s, ({lock.statement})::text".encode()
            with pytest.raises(e.QueryCanceled):
                await conn.cursor().executemany(query, [(1,), (2,)])
    assert await content(conn) == []
