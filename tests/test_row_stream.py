"""stream(): rows as they arrive, without keeping them."""

from __future__ import annotations

import gc
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anyq import AsyncConnection, Loader, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.protocol.messages import FieldDescription
from anyq.rows import dict_row, scalar_row
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE, held_lock, until_sleeping
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.memory import needs_proc, peak_growth
from tests.support.victims import SECOND, WAITS, as_victim

pytestmark = pytest.mark.anyio

ENDLESS = "SELECT generate_series(1, 1000000000000)"
"""Nobody reads it to its end: an operation that waits for that hangs, and the time limit of the suite shows it.

In a FROM clause the server would make all rows before it sends the first.
"""


async def is_usable(conn: AsyncConnection) -> bool:
    return await (await conn.execute("SELECT %s::int", [1])).fetchone() == (1,)


# -- rows


@pytest.mark.parametrize("size", [1, 2, 3, 100, 1_000_000])
@pytest.mark.parametrize("count", [0, 1, 100, 20_000])
async def test_every_row_once_and_in_order(conn: AsyncConnection, count: int, size: int) -> None:
    query: Any = "SELECT x, x::text FROM generate_series(1, %s) AS x"
    rows = [row async for row in conn.cursor().stream(query, [count], size=size)]
    assert rows == [(x, str(x)) for x in range(1, count + 1)]
    assert await is_usable(conn)


async def test_without_parameters(conn: AsyncConnection) -> None:
    assert [row async for row in conn.cursor().stream("SELECT '%s' UNION ALL SELECT '%%'")] == [("%s",), ("%%",)]


async def test_named_parameters(conn: AsyncConnection) -> None:
    stream = conn.cursor().stream("SELECT %(a)s::int, %(b)s::text", {"a": 1, "b": None})
    assert [row async for row in stream] == [(1, None)]


@pytest.mark.parametrize("binary", [None, False, True])
@pytest.mark.parametrize("of_the_cursor", [False, True])
async def test_formats(conn: AsyncConnection, binary: bool | None, of_the_cursor: bool) -> None:
    cur = conn.cursor(binary=of_the_cursor)
    query: Any = "SELECT 1.5::numeric, '2020-02-29'::date, ARRAY[x], x, '(1,2)'::point FROM generate_series(1, %s) x"
    seen = [row async for row in cur.stream(query, [3], binary=binary)]
    assert seen == await (await conn.execute(query, [3])).fetchall()
    assert cur.description is not None
    # The description tells what was asked for: text has no fixed size there.
    assert [column.type_display for column in cur.description] == ["numeric", "date", "int4[]", "int4", "point"]


async def test_row_factories(conn: AsyncConnection) -> None:
    cur = conn.cursor(row_factory=dict_row)
    assert [row async for row in cur.stream("SELECT generate_series(1, 2) AS a")] == [{"a": 1}, {"a": 2}]
    assert [row async for row in conn.cursor(row_factory=scalar_row).stream("SELECT 5")] == [5]


async def test_what_the_cursor_says(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    stream = cur.stream("SELECT generate_series(1, 20000) AS a")
    # Nothing is sent before the first row is asked for.
    assert (cur.description, conn.info.transaction_status) == (None, TransactionStatus.IDLE)
    async for _ in stream:
        assert cur.description is not None and cur.description[0].name == "a"
        assert cur.rowcount == -1
    assert (cur.rowcount, cur.statusmessage) == (20_000, "SELECT 20000")
    assert cur.description is not None
    assert conn.info.transaction_status is TransactionStatus.INTRANS


async def test_no_rows(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    assert [row async for row in cur.stream("SELECT 1 AS a WHERE false")] == []
    assert (cur.rowcount, cur.statusmessage) == (0, "SELECT 0")
    assert cur.description is not None and cur.description[0].name == "a"


async def test_statements_that_return_rows(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMP TABLE t (a int)")
    cur = conn.cursor()
    inserted = [row async for row in cur.stream("INSERT INTO t SELECT generate_series(1, %s) RETURNING a", [3])]
    assert inserted == [(1,), (2,), (3,)]
    assert cur.statusmessage == "INSERT 0 3"
    assert [row async for row in cur.stream("VALUES (1), (2)")] == [(1,), (2,)]
    assert len([row async for row in cur.stream("SHOW work_mem")]) == 1


async def test_big_rows(conn: AsyncConnection) -> None:
    lengths = []
    async for x, value in conn.cursor().stream("SELECT x, repeat('x', x * 100000) FROM generate_series(0, 20) AS x"):
        assert value == "x" * len(value)
        lengths.append((x, len(value)))
    assert lengths == [(x, x * 100_000) for x in range(21)]


async def test_a_cursor_streams_again(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    for n in range(10):
        assert [row async for row in cur.stream("SELECT %s::int", [n])] == [(n,)]
    assert await (await cur.execute("SELECT 1")).fetchall() == [(1,)]


async def test_the_end_stays_the_end(conn: AsyncConnection) -> None:
    stream = conn.cursor().stream("SELECT 1")
    assert [row async for row in stream] == [(1,)]
    assert [row async for row in stream] == []
    await stream.aclose()
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await stream.__anext__()


# -- errors


@pytest.mark.parametrize("size", [0, -1])
async def test_wrong_sizes(conn: AsyncConnection, size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        conn.cursor().stream("SELECT 1", size=size)


@pytest.mark.parametrize("query", ["CREATE TEMP TABLE t (a int)", "", "SET LOCAL work_mem = '1MB'"])
async def test_what_is_not_a_query(conn: AsyncConnection, query: Any) -> None:
    with pytest.raises(e.ProgrammingError, match="no rows"):
        [row async for row in conn.cursor().stream(query)]
    assert await is_usable(conn)


async def test_copy(conn: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError, match="COPY"):
        [row async for row in conn.cursor().stream("COPY (SELECT generate_series(1, 10000)) TO STDOUT")]
    await conn.rollback()
    assert await is_usable(conn)


async def test_several_statements(conn: AsyncConnection) -> None:
    with pytest.raises(e.SyntaxError):
        [row async for row in conn.cursor().stream("SELECT 1; SELECT 2")]
    await conn.rollback()
    assert await is_usable(conn)


async def test_wrong_parameters(conn: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError, match="1 placeholders but 2"):
        [row async for row in conn.cursor().stream("SELECT %s", [1, 2])]
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await is_usable(conn)


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize("bad", [1, 500, 50_000])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_an_error_in_the_middle(conn: AsyncConnection, bad: int, size: int, autocommit: bool) -> None:
    await conn.set_autocommit(autocommit)
    seen = []
    query: Any = f"SELECT x, 1 / (x - %s) FROM ({ENDLESS}) AS s (x)"
    stream = conn.cursor().stream(query, [bad], size=size)
    with pytest.raises(e.DivisionByZero):
        async for row in stream:
            seen.append(row[0])
    # The rows before it are not lost, however the bytes were cut.
    assert seen == list(range(1, bad))
    assert [row async for row in stream] == []
    status = TransactionStatus.IDLE if autocommit else TransactionStatus.INERROR
    assert conn.info.transaction_status is status
    await conn.rollback()
    assert await is_usable(conn)


async def test_a_failed_transaction(conn: AsyncConnection) -> None:
    with pytest.raises(e.DivisionByZero):
        await conn.execute("SELECT 1 / 0")
    with pytest.raises(e.InFailedSqlTransaction):
        [row async for row in conn.cursor().stream("SELECT 1")]


async def test_the_connection_is_closed(conn: AsyncConnection) -> None:
    stream = conn.cursor().stream(ENDLESS)
    assert await stream.__anext__() == (1,)
    await conn.close()
    with pytest.raises(e.OperationalError, match="closed"):
        async for _ in stream:
            pass
    await stream.aclose()


# -- leaving early


@pytest.mark.parametrize("rows", [0, 1, 5000])
@pytest.mark.parametrize("way", ["aclose", "with", "exception"])
async def test_leaving_early(conn: AsyncConnection, way: str, rows: int) -> None:
    await conn.set_autocommit(True)
    stream = conn.cursor().stream(ENDLESS)

    async def take() -> None:
        seen = 0
        while seen < rows:
            seen += 1
            assert await stream.__anext__() == (seen,)

    if way == "aclose":
        await take()
        await stream.aclose()
    elif way == "with":
        async with stream as same:
            assert same is stream
            await take()
    else:
        with pytest.raises(ZeroDivisionError):
            async with stream:
                await take()
                raise ZeroDivisionError
    assert [row async for row in stream] == []
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await is_usable(conn)


async def test_break_and_close(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    stream = conn.cursor().stream(ENDLESS)
    async for row in stream:
        if row[0] == 3:
            break
    await stream.aclose()
    assert await is_usable(conn)


async def test_leaving_early_fails_the_transaction(conn: AsyncConnection) -> None:
    async with conn.cursor().stream(ENDLESS) as rows:
        await rows.__anext__()
    assert conn.info.transaction_status is TransactionStatus.INERROR
    await conn.rollback()
    assert await is_usable(conn)


async def test_leaving_early_when_everything_has_arrived(conn: AsyncConnection) -> None:
    async with conn.cursor().stream("SELECT generate_series(1, 10)") as rows:
        assert await rows.__anext__() == (1,)
        await is_usable(conn)
    assert conn.info.transaction_status is TransactionStatus.INTRANS


async def test_a_stream_that_is_dropped(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    async for row in conn.cursor().stream(ENDLESS):
        if row[0] == 3:
            break
    gc.collect()
    # Whoever comes next cancels the query on the way.
    assert await is_usable(conn)
    assert await is_usable(conn)


async def test_a_stream_that_is_dropped_in_a_transaction(conn: AsyncConnection) -> None:
    stream: Any = conn.cursor().stream(ENDLESS)
    await stream.__anext__()
    del stream
    gc.collect()
    with pytest.raises(e.InFailedSqlTransaction):
        await conn.execute("SELECT 1")
    await conn.rollback()
    assert await is_usable(conn)


async def test_a_stream_that_was_never_begun(conn: AsyncConnection) -> None:
    stream: Any = conn.cursor().stream(ENDLESS)
    del stream
    gc.collect()
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await is_usable(conn)


# -- other statements meanwhile


async def test_other_statements_while_a_stream_is_paused(conn: AsyncConnection) -> None:
    rows = []
    async for (x,) in conn.cursor().stream("SELECT generate_series(1, 50000)"):
        rows.append(x)
        if x % 10_000 == 1:
            assert await (await conn.execute("SELECT %s::int", [x])).fetchone() == (x,)
            await conn.cursor().executemany("SELECT %s::int", [(1,), (2,)])
    assert rows == list(range(1, 50_001))


async def test_streams_side_by_side(conn: AsyncConnection) -> None:
    one = conn.cursor().stream("SELECT generate_series(1, 20000)")
    other = conn.cursor().stream("SELECT -generate_series(1, 20000)")
    async with one, other:
        for x in range(1, 20_001):
            assert await one.__anext__() == (x,)
            assert await other.__anext__() == (-x,)
        assert [row async for row in one] == [row async for row in other] == []


async def test_streams_of_many_tasks(conn: AsyncConnection) -> None:
    seen: dict[int, list[Any]] = {}

    async def take(number: int) -> None:
        stream = conn.cursor().stream("SELECT %s * generate_series(1, 3000)", [number])
        seen[number] = [row async for row in stream]

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(take, number)
    assert seen == {number: [(number * x,) for x in range(1, 3001)] for number in range(10)}


async def test_a_stream_inside_a_stream(conn: AsyncConnection) -> None:
    seen = []
    async for (x,) in conn.cursor().stream("SELECT generate_series(1, 20)"):
        async for (y,) in conn.cursor().stream("SELECT generate_series(1, %s)", [x]):
            seen.append((x, y))
    assert seen == [(x, y) for x in range(1, 21) for y in range(1, x + 1)]


# -- cancellation


async def test_cancelled_while_the_server_works(conn: AsyncConnection, dsn: str) -> None:
    await conn.set_autocommit(True)
    stream = conn.cursor().stream("SELECT x, pg_sleep(600) FROM generate_series(1, 10) AS x")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.__anext__)
        await until_sleeping(dsn, conn.info.backend_pid)
        tasks.cancel_scope.cancel()
    assert not conn.closed
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert [row async for row in stream] == []
    assert await is_usable(conn)


@pytest.mark.parametrize("rows", [0, 1, 5000])
async def test_cancelled_between_rows(conn: AsyncConnection, rows: int) -> None:
    await conn.set_autocommit(True)
    stream = conn.cursor().stream(ENDLESS)
    for _ in range(rows):
        await stream.__anext__()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async for _ in stream:
            pass
    assert scope.cancelled_caught
    assert not conn.closed
    assert await is_usable(conn)


async def test_cancelled_in_a_with_block(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    with anyio.CancelScope() as scope:
        async with conn.cursor().stream(ENDLESS) as rows:
            async for (x,) in rows:
                if x == 1000:
                    scope.cancel()
    assert scope.cancelled_caught
    assert not conn.closed
    assert await is_usable(conn)


async def test_a_cancelled_stream_lets_the_others_go_on(conn: AsyncConnection, dsn: str) -> None:
    await conn.set_autocommit(True)
    seen: list[Any] = []
    scope = anyio.CancelScope()

    async def take() -> None:
        with scope:
            async for _ in conn.cursor().stream("SELECT pg_sleep(600)"):
                pass

    async def query(number: int) -> None:
        seen.append(await (await conn.execute("SELECT %s::int", [number])).fetchone())

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await until_sleeping(dsn, conn.info.backend_pid)
            for number in range(5):
                tasks.start_soon(query, number)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert sorted(seen) == [(number,) for number in range(5)]


# -- memory


@pytest.mark.once
@needs_proc
def test_a_million_rows_in_little_memory(anyio_backend: Any, dsn: str) -> None:
    growth = peak_growth(
        dsn,
        anyio_backend,
        """
        count = 0
        query = "SELECT x, repeat('x', 50) FROM (SELECT generate_series(1, 1000000)) AS s (x)"
        async for x, _ in conn.cursor().stream(query):
            count += 1
            assert x == count
        assert count == 1000000
        """,
    )
    # Kept in lists of tuples they would take about 200 MB.
    assert growth < 20_000_000


async def test_a_value_that_cannot_be_loaded_ends_an_endless_query(conn: AsyncConnection) -> None:
    class Picky(Loader):
        def load(self, data: bytes) -> int:
            if int(data) > 3000:
                raise ValueError("no number above 3000")
            return int(data)

    await conn.set_autocommit(True)
    cur = conn.cursor()
    cur.adapters.register_loader("int8", Picky)
    endless = "WITH RECURSIVE t(i) AS (SELECT 1::int8 UNION ALL SELECT i + 1 FROM t) SELECT i FROM t"
    with pytest.raises(ValueError, match="3000"):
        async for _ in cur.stream(endless):
            pass
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


# -- a row that fails


def failing(at: int) -> Any:
    """A row factory that fails at the row with this number."""

    def factory(cursor: Any) -> Any:
        def make(values: tuple[int]) -> int:
            if values[0] == at:
                raise ZeroDivisionError
            return values[0]

        return make

    return factory


@pytest.mark.parametrize("transaction", [False, True])
@pytest.mark.parametrize("at", [1, 3, 70_000])
@pytest.mark.parametrize("how", ["row maker", "loader"])
async def test_a_row_that_fails_ends_the_stream(conn: AsyncConnection, how: str, at: int, transaction: bool) -> None:
    """The query is cancelled: nobody may end the stream as long as the exception is alive."""

    class Fails(Loader):
        def load(self, data: bytes) -> int:
            if int(data) == at:
                raise ZeroDivisionError
            return int(data)

    cur: Any
    if how == "loader":
        cur = conn.cursor(row_factory=scalar_row)
        cur.adapters.register_loader("int8", Fails)
    else:
        cur = conn.cursor(row_factory=failing(at))
    stream = cur.stream(ENDLESS)
    seen = 0
    with pytest.raises(ZeroDivisionError):
        if transaction:
            async with conn.transaction():
                async for row in stream:
                    seen = row
        else:
            async for row in stream:
                seen = row
    assert seen == at - 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    if not transaction:
        await conn.rollback()
    assert await is_usable(conn)


async def test_a_value_that_cannot_be_loaded_comes_after_the_rows_before_it(conn: AsyncConnection) -> None:
    query: Any = (
        "SELECT CASE x WHEN 5 THEN 'infinity' ELSE '2020-01-01'::date + x END AS d FROM generate_series(1, 9) AS x"
    )
    seen = []
    with pytest.raises(e.DataError, match="infinity.*column 'd'"):
        async for (day,) in conn.cursor().stream(query):
            seen.append(day.day)
    assert seen == [2, 3, 4, 5]
    assert await is_usable(conn)


@needs_proc
@pytest.mark.parametrize("fails", ["row maker", "body"])
def test_an_exception_out_of_a_stream_costs_no_memory(dsn: str, anyio_backend: Any, fails: str) -> None:
    growth = peak_growth(
        dsn,
        anyio_backend,
        f"""
        def factory(cursor):
            def make(values):
                if values[0] == 3 and {fails!r} == "row maker":
                    raise ZeroDivisionError
                return values[0]
            return make

        query = "SELECT x, repeat('x', 50) FROM (SELECT generate_series(1, 100000000)) AS s (x)"
        try:
            async with conn.transaction():
                async for x in conn.cursor(row_factory=factory).stream(query):
                    if x == 3:
                        raise ZeroDivisionError
        except ZeroDivisionError as error:
            assert (await (await conn.execute("SELECT 1")).fetchone()) == (1,)
        """,
    )
    assert growth < 20_000_000


# -- what a stream is ended by


async def test_a_transaction_that_is_rolled_back_ends_the_streams_of_it(conn: AsyncConnection) -> None:
    before = conn.cursor(row_factory=scalar_row).stream("SELECT generate_series(1, 100000)")
    assert await anext(before) == 1
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            inside = conn.cursor(row_factory=scalar_row).stream(ENDLESS)
            async for _ in inside:
                raise ZeroDivisionError
    with pytest.raises(e.OperationalError, match="transaction rolled back"):
        await anext(inside)
    # The block was a savepoint, which what was begun before it is not concerned by.
    assert [number async for number in before] == list(range(2, 100_001))
    assert await is_usable(conn)


async def test_a_rollback_ends_the_streams(conn: AsyncConnection) -> None:
    streams = [conn.cursor().stream(ENDLESS) for _ in range(2)]
    assert await anext(streams[0]) == (1,)
    await conn.rollback()
    with pytest.raises(e.OperationalError, match="ended before its last row"):
        await anext(streams[0])
    # That one had not been begun.
    assert await anext(streams[1]) == (1,)
    await conn.rollback()
    assert await is_usable(conn)


@pytest.mark.parametrize("how", ["block", "close"])
async def test_the_end_of_a_cursor_ends_its_stream(conn: AsyncConnection, how: str) -> None:
    await conn.set_autocommit(True)
    if how == "block":
        async with conn.cursor() as cur:
            stream = cur.stream(ENDLESS)
            assert await anext(stream) == (1,)
    else:
        cur = conn.cursor()
        stream = cur.stream(ENDLESS)
        assert await anext(stream) == (1,)
        await cur.close()
    assert await is_usable(conn)
    with pytest.raises(e.OperationalError, match="its cursor was closed"):
        await anext(stream)


# -- several tasks


@pytest.mark.parametrize("size", [1, 1000])
async def test_a_second_task_that_waits_for_rows_is_refused(conn: AsyncConnection, size: int) -> None:
    stream = conn.cursor().stream("SELECT generate_series(1, 100000)", size=size)
    seen: list[int] = []
    refused: list[str] = []

    async def iterate() -> None:
        try:
            async for (number,) in stream:
                seen.append(number)
                await anyio.lowlevel.checkpoint()
        except e.InterfaceError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as tg:
        for _ in range(3):
            tg.start_soon(iterate)
    assert len(refused) == 2
    assert "another task or thread: let one iterate" in refused[0]
    # The one that goes on is not harmed.
    assert seen == list(range(1, 100_001))
    assert await is_usable(conn)


async def test_a_stream_may_be_handed_on(conn: AsyncConnection) -> None:
    stream = conn.cursor(row_factory=scalar_row).stream("SELECT generate_series(1, 30000)")
    seen: list[int] = []

    async def take(count: int) -> None:
        for _ in range(count):
            seen.append(await anext(stream))

    for count in (1, 10_000, 19_999):
        async with anyio.create_task_group() as tg:
            tg.start_soon(take, count)
    assert seen == list(range(1, 30_001))


@pytest.mark.parametrize("autocommit", [False, True])
async def test_a_column_that_has_no_binary_format_any_more(conn: AsyncConnection, autocommit: bool) -> None:
    """It is refused once, as the statement has run already, and known then."""
    await conn.set_autocommit(autocommit)
    await conn.execute("CREATE TEMP TABLE changing AS SELECT x AS a FROM generate_series(1, 3) AS x")
    query: Any = "SELECT a FROM changing"
    cur = conn.cursor(binary=True, row_factory=scalar_row)
    assert [row async for row in cur.stream(query)] == [1, 2, 3]
    async with anyio.create_task_group() as tg:
        # Its description is as it was, for this connection at least.
        tg.start_soon(conn.execute, "ALTER TABLE changing ALTER a TYPE money USING a::money")
    for _ in range(3):
        try:
            assert [str(row)[-4:] async for row in cur.stream(query)] == ["1.00", "2.00", "3.00"]
        except e.DataError as error:
            assert "has changed since the statement was described" in str(error)
            continue
        break
    else:
        pytest.fail("it never recovers")


# -- hit by a CancelRequest that was for another one


@pytest.mark.parametrize("rows", [0, 10, 2000])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_a_victim_of_which_nobody_has_seen_a_row(
    autocommit: bool, rows: int, conn: AsyncConnection, dsn: str
) -> None:
    """It is begun again, though rows may have come with the error."""
    await conn.set_autocommit(True)
    seen: list[Any] = []

    async def neighbour(waits: str) -> None:
        conn.session.transactions.autocommit = autocommit
        query: Any = f"SELECT n, CASE WHEN n > {rows} THEN {waits} END::text FROM generate_series(1, {rows} + 1) n"
        seen.extend([n async for n, _ in conn.cursor().stream(query, size=100_000)])

    await as_victim(conn, dsn, neighbour)
    assert seen == list(range(1, rows + 2))


@pytest.mark.parametrize("size", [1, 100])
async def test_a_stream_that_has_given_rows_is_not_begun_again(size: int, conn: AsyncConnection, dsn: str) -> None:
    """Whoever has cancelled it: it would give them twice, or others."""
    await conn.set_autocommit(True)
    query: Any = f"SELECT n, CASE WHEN n > 4000 THEN {WAITS} END::text FROM generate_series(1, 4001) n"
    seen: list[int] = []
    async with held_lock(dsn, SECOND) as lock, AsyncConnection.connect(dsn, autocommit=True) as other:
        with pytest.raises(e.QueryCanceled):
            async for n, _ in conn.cursor().stream(query, size=size):
                if not seen:
                    await lock.until_wanted(conn.info.backend_pid)
                    # As one that was sent for a request before, and is known to have been.
                    protocol = conn.session.wire.protocol
                    protocol.unmatched_cancels = 1
                    protocol.pending[0].cancel_is_sent_for_another()
                    await other.execute("SELECT pg_cancel_backend(%s)", [conn.info.backend_pid])
                seen.append(n)
    assert seen == list(range(1, len(seen) + 1))
    assert seen
    assert await is_usable(conn)


@pytest.mark.parametrize("own", [True, False], ids=["of-the-stream", "of-the-cursor"])
async def test_binary_rows_are_asked_for(own: bool) -> None:
    """By the cursor's `binary` where the stream says nothing, also if all formats give the same values."""
    fields = (FieldDescription("x", 0, 0, 23, 4, -1, 0),)
    binary = (FieldDescription("x", 0, 0, 23, 4, -1, 1),)
    asked: list[Any] = []

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.receive_until(fm.Sync)
        await client.send(be.ParseComplete(), be.ParameterDescription(()), be.RowDescription(fields), READY)
        asked.extend(m.result_formats for m in await client.receive_until(fm.Sync) if isinstance(m, fm.Bind))
        await client.send(be.ParseComplete(), be.BindComplete(), be.RowDescription(binary))
        await client.send(be.DataRow((b"\0\0\0\x2a",)), be.CommandComplete("SELECT 1"), READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server:
        conn = await AsyncConnection.connect(server.conninfo, autocommit=True)
        cursor = conn.cursor(binary=not own)
        stream = cursor.stream("SELECT 42", binary=True) if own else cursor.stream("SELECT 42")
        assert [row async for row in stream] == [(42,)]
        await conn.close()
    assert asked == [(1,)]
