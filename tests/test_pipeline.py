"""pipeline() blocks: statements are queued and sent together; whose error comes out where, and what is left behind."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import anyio
import pytest

from anyq import (
    AsyncClientCursor,
    AsyncConnection,
    AsyncPipeline,
    AsyncRawCursor,
    IsolationLevel,
    Rollback,
    TransactionStatus,
)
from anyq import errors as e
from anyq.pq import PipelineStatus
from tests.support.activity import held_lock
from tests.support.pipelines import autocommit, conn, content, insert, manual
from tests.support.state import pipelining, status

__all__ = ["autocommit", "conn", "manual"]

pytestmark = pytest.mark.anyio


def under_way(conn: AsyncConnection) -> int:
    return len(conn.session.wire.protocol.pending)


def queued(pipeline: AsyncPipeline) -> bool:
    return pipeline.has_queued


# -- what it is


async def test_what_a_pipeline_says_of_itself(conn: AsyncConnection) -> None:
    assert AsyncPipeline.is_supported()
    pipeline = conn.pipeline()
    assert pipelining(pipeline) is PipelineStatus.OFF
    assert pipelining(conn) is PipelineStatus.OFF
    with pytest.raises(e.InterfaceError, match="not entered"):
        await pipeline.sync()
    async with pipeline as entered:
        assert entered is pipeline
        assert pipelining(pipeline) is PipelineStatus.ON
        assert pipelining(conn) is PipelineStatus.ON
        assert "AsyncPipeline [IDLE, pipeline=ON] (host=" in repr(pipeline)
        assert "AsyncConnection [IDLE, pipeline=ON] (host=" in repr(conn)
    assert pipelining(pipeline) is PipelineStatus.OFF
    assert "[IDLE] (host=" in str(pipeline)


async def test_a_block_that_is_entered_again(autocommit: AsyncConnection) -> None:
    """By its own task it goes on with the pipeline, and by another one it is a block of that."""
    conn = autocommit
    async with conn.pipeline() as pipeline:
        await insert(conn, 1)
        async with pipeline as again:
            assert again is pipeline
            await insert(conn, 2)
            async with pipeline:
                await insert(conn, 3)
            counts = [queued(pipeline)]
            await insert(conn, 4)
            counts.append(queued(pipeline))
        counts.append(queued(pipeline))
        assert counts == [False, True, False]
        assert pipelining(pipeline) is PipelineStatus.ON

        async def other() -> None:
            async with pipeline:
                await insert(conn, 5)
                entered.set()
                await left.wait()
                await insert(conn, 6)

        entered, left = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            await entered.wait()
            with pytest.raises(e.UniqueViolation):
                async with pipeline:
                    await insert(conn, 1)
            left.set()
        await insert(conn, 7)
    assert pipelining(conn) is PipelineStatus.OFF
    assert not conn.session.transactions.pipelines
    assert await content(conn) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_block_of_another_task_may_be_left_later(autocommit: AsyncConnection) -> None:
    conn = autocommit
    entered, outer_left = anyio.Event(), anyio.Event()

    async def other(pipeline: AsyncPipeline) -> None:
        async with pipeline:
            entered.set()
            await outer_left.wait()
            await insert(conn, 1)

    async with anyio.create_task_group() as tasks:
        async with conn.pipeline() as pipeline:
            tasks.start_soon(other, pipeline)
            await entered.wait()
            await insert(conn, 2)
        assert pipelining(pipeline) is PipelineStatus.OFF
        outer_left.set()
    assert not conn.session.transactions.pipelines
    assert await content(conn) == [1, 2]


async def test_a_closed_connection_is_refused(anyio_backend: object, dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    await conn.close()
    with pytest.raises(e.OperationalError, match="closed"):
        async with conn.pipeline():
            pass


# -- results


async def test_statements_are_queued_and_sent_together(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        cursors = [await conn.execute("SELECT %s::int, 'x'", [i]) for i in range(10)]
        assert under_way(conn) == 0
        assert status(conn) is TransactionStatus.IDLE
        assert [cursor.rowcount for cursor in cursors] == [-1] * 10
        assert cursors[0].description is None
        assert cursors[0].statusmessage is None
        assert await cursors[7].fetchone() == (7, "x")
        # All of them have been sent.
        assert [cursor.rowcount for cursor in cursors] == [1] * 10
        assert cursors[9].statusmessage == "SELECT 1"
        assert [column.name for column in cursors[9].description or ()] == ["int4", "?column?"]
    assert [await cursor.fetchone() for cursor in cursors[:7]] == [(i, "x") for i in range(7)]
    assert await cursors[7].fetchone() is None


async def test_sync_brings_what_nobody_has_fetched(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        cursor = await conn.execute("INSERT INTO t VALUES (1), (2)")
        assert cursor.rowcount == -1
        await pipeline.sync()
        assert cursor.rowcount == 2
        await pipeline.sync()
    assert await content(conn) == [1, 2]


async def test_every_way_to_fetch_waits_for_the_result(conn: AsyncConnection) -> None:
    rows = [(i,) for i in range(1, 6)]
    async with conn.pipeline():
        cursor = await conn.execute("SELECT generate_series(1, 5)")
        assert await cursor.fetchmany(2) == rows[:2]
        assert await cursor.fetchall() == rows[2:]
        cursor = await conn.execute("SELECT generate_series(1, 5)")
        assert [row async for row in cursor] == rows
        cursor = await conn.execute("SELECT generate_series(1, 5)")
        await cursor.scroll(3)
        assert await cursor.fetchone() == (4,)
        cursor = await conn.execute("SELECT generate_series(1, 5)")
        assert [await cur.fetchall() async for cur in cursor.results()] == [rows]
        cursor = await conn.execute("SELECT generate_series(1, 5)")
        assert not cursor.nextset()
        await cursor.set_result(0)
        assert cursor.rownumber == 0
        with pytest.raises(IndexError):
            await cursor.set_result(1)
        cursor = await conn.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(e.ProgrammingError, match="no rows"):
            await cursor.fetchone()


async def test_a_cursor_that_executes_twice_has_the_last_result(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        cursor = conn.cursor()
        await cursor.execute("SELECT 1")
        await cursor.execute("SELECT 2")
        assert await cursor.fetchall() == [(2,)]
        await cursor.execute("SELECT 3")
        await cursor.execute("SELECT 4")
    assert await cursor.fetchall() == [(4,)]
    # The error of the first is not lost with it.
    with pytest.raises(e.UndefinedTable):
        async with conn.pipeline():
            await cursor.execute("SELECT * FROM no_such_table")
            await cursor.execute("SELECT 5")
    await conn.rollback()


async def test_a_cursor_may_be_closed_or_dropped_before_its_result_is_there(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        async with conn.cursor() as cursor:
            await cursor.execute("INSERT INTO t VALUES (1)")
        await insert(conn, 2)
        with pytest.raises(e.InterfaceError, match="closed"):
            await cursor.execute("SELECT 1")
    assert await content(conn) == [1, 2]


async def test_row_factories_and_adapters_count_as_ever(conn: AsyncConnection) -> None:
    from anyq.rows import dict_row

    async with conn.pipeline():
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute("SELECT 1 AS a")
        other = await conn.execute("SELECT 2 AS b")
        other.row_factory = dict_row  # type: ignore[assignment]
        assert await cursor.fetchone() == {"a": 1}
        row: object = await other.fetchone()
        assert row == {"b": 2}


@pytest.mark.parametrize("cursor_class", [AsyncClientCursor, AsyncRawCursor])
async def test_other_kinds_of_cursors(conn: AsyncConnection, cursor_class: type[Any]) -> None:
    mark = "$1" if cursor_class is AsyncRawCursor else "%s"
    async with conn.pipeline():
        cursors = [cursor_class(conn) for _ in range(8)]
        for i, cursor in enumerate(cursors):
            await cursor.execute(f"SELECT {mark}::int, ';'", [i])
        assert [await cursor.fetchone() for cursor in cursors] == [(i, ";") for i in range(8)]
        failing = cursor_class(conn)
        await failing.execute(f"SELECT 'x', 1 / {mark}::int", [0])
        with pytest.raises(e.DivisionByZero):
            await failing.fetchone()
    await conn.rollback()


async def test_a_client_cursor_asks_for_no_binary_results(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        with pytest.raises(e.NotSupportedError, match="client cursor"):
            await AsyncClientCursor(conn).execute("SELECT 1", binary=True)


async def test_binary_results(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        one = await conn.execute("SELECT 1::int4, 'x'::text", binary=True)
        await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('ok')")
        other = await conn.execute("SELECT 'ok'::pg_temp.mood", binary=True)
        last = await conn.execute("SELECT 2::int4", binary=True)
        assert await one.fetchone() == (1, "x")
        assert [column.type_code for column in one.description or ()] == [23, 25]
        with pytest.raises(e.DataError, match="no loader"):
            await other.fetchone()
        assert await last.fetchone() == (2,)


async def test_wrong_parameters_are_refused_at_once_and_nothing_else_is_harmed(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        await insert(conn, 1)
        with pytest.raises(e.ProgrammingError):
            await conn.execute("SELECT %s", [1, 2])
        with pytest.raises(e.ProgrammingError, match="cannot adapt"):
            await conn.execute("SELECT %s", [object()])
        assert pipelining(pipeline) is PipelineStatus.ON
        await insert(conn, 2)
    assert await content(conn) == [1, 2]


async def test_what_cannot_be_sent_fails_in_its_place(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        one = await conn.execute("SELECT 1")
        zero = await AsyncClientCursor(conn).execute(b"SELECT '\0'")
        two = await conn.execute("SELECT 2")
        assert await one.fetchone() == (1,)
        with pytest.raises(e.DataError, match="NUL"):
            await zero.fetchone()
        with pytest.raises(e.PipelineAborted):
            await two.fetchone()
        await pipeline.sync()
        await zero.execute(b"SELECT '\0'")
        with pytest.raises(e.DataError, match="NUL"):
            await pipeline.sync()
        three = await conn.execute("SELECT 3")
    assert await three.fetchone() == (3,)


async def test_empty_queries_and_comments(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        cursors = [await conn.execute(text) for text in ("", "-- nothing", "/* a /* b */ */", ";", "SELECT 1")]
        assert await cursors[4].fetchone() == (1,)
        with pytest.raises(e.ProgrammingError, match="no rows"):
            await cursors[0].fetchone()


# -- errors


async def test_an_error_aborts_up_to_the_next_sync(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        before = await conn.execute("SELECT 1")
        wrong = await conn.execute("SELECT * FROM no_such_table WHERE a = %s", [5])
        skipped = await conn.execute("SELECT 2")
        assert await before.fetchone() == (1,)
        assert pipelining(pipeline) is PipelineStatus.ABORTED
        assert pipelining(conn) is PipelineStatus.ABORTED
        with pytest.raises(e.UndefinedTable) as error:
            await wrong.fetchone()
        assert error.value.query == "SELECT * FROM no_such_table WHERE a = $1"
        assert "LINE 1: SELECT * FROM no_such_table" in str(error.value)
        with pytest.raises(e.PipelineAborted, match="no_such_table") as aborted:
            await skipped.fetchone()
        assert aborted.value.query == "SELECT 2"
        assert aborted.value.__cause__ is error.value
        behind = await conn.execute("SELECT 3")
        with pytest.raises(e.PipelineAborted):
            await behind.fetchall()
        with pytest.raises(e.UndefinedTable):
            await wrong.fetchone()  # again
        await pipeline.sync()
        assert pipelining(pipeline) is PipelineStatus.ON
        await conn.rollback()
        assert await (await conn.execute("SELECT 4")).fetchone() == (4,)
        assert await before.fetchone() is None
    assert isinstance(aborted.value, e.OperationalError)


async def test_an_error_that_nobody_has_seen_comes_out_of_sync(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        await insert(conn, 1, 1, 2)
        with pytest.raises(e.UniqueViolation):
            await pipeline.sync()
        await pipeline.sync()  # once only
        await conn.rollback()
        await insert(conn, 3)
    assert await content(conn) == [3]


async def test_an_error_that_nobody_has_seen_comes_out_of_the_block(conn: AsyncConnection) -> None:
    with pytest.raises(e.UniqueViolation, match="Key"):
        async with conn.pipeline():
            await insert(conn, 1, 1, 2)
    await conn.rollback()
    assert await content(conn) == []


async def test_who_has_seen_the_error_is_told_what_was_skipped(conn: AsyncConnection) -> None:
    with pytest.raises(e.PipelineAborted, match="was not run") as error:
        async with conn.pipeline():
            cursor = await conn.execute("SELECT 1 / 0")
            await insert(conn, 1)
            with pytest.raises(e.DivisionByZero):
                await cursor.fetchone()
    assert error.value.query == "INSERT INTO t VALUES ($1)"
    await conn.rollback()


async def test_errors_of_the_commands_that_have_the_pipeline_synced(manual: AsyncConnection) -> None:
    async with manual.pipeline():
        await insert(manual, 1, 1)
        with pytest.raises(e.UniqueViolation):
            await manual.commit()
        assert status(manual) is TransactionStatus.INERROR
        await manual.rollback()
        assert status(manual) is TransactionStatus.IDLE
        await insert(manual, 2, 2)
        await manual.rollback()  # whatever has failed
        await insert(manual, 3)
        await manual.commit()
        assert status(manual) is TransactionStatus.IDLE
        assert await content(manual) == [3]


async def test_in_autocommit_mode_a_segment_is_one_transaction(autocommit: AsyncConnection) -> None:
    async with autocommit.pipeline() as pipeline:
        await insert(autocommit, 1)
        await pipeline.sync()
        await insert(autocommit, 2, 3, 3)
        with pytest.raises(e.UniqueViolation):
            await pipeline.sync()
        await insert(autocommit, 4)
    assert await content(autocommit) == [1, 4]


async def test_what_fails_at_the_end_of_a_segment_is_told_once(autocommit: AsyncConnection) -> None:
    conn = autocommit
    await conn.execute("CREATE TEMP TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    async with conn.pipeline() as pipeline:
        one = await conn.execute("INSERT INTO d VALUES (1) RETURNING a")
        await conn.execute("INSERT INTO d VALUES (1)")
        with pytest.raises(e.UniqueViolation):
            await one.fetchone()
        with pytest.raises(e.PipelineAborted):
            await (await conn.execute("SELECT 1")).fetchone()
        await pipeline.sync()
        await conn.execute("INSERT INTO d VALUES (2)")
        await conn.execute("INSERT INTO d VALUES (2)")
        with pytest.raises(e.UniqueViolation):
            await pipeline.sync()
    assert await (await conn.execute("SELECT * FROM d")).fetchall() == []


async def test_a_deferred_constraint_raises_from_commit(manual: AsyncConnection) -> None:
    conn = manual
    await conn.execute("CREATE TEMP TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    await conn.commit()
    async with conn.pipeline():
        await conn.execute("INSERT INTO d VALUES (1)")
        await conn.execute("INSERT INTO d VALUES (1)")
        with pytest.raises(e.UniqueViolation):
            await conn.commit()
        assert status(conn) is TransactionStatus.IDLE
        with pytest.raises(e.UniqueViolation):
            async with conn.transaction():
                await conn.execute("INSERT INTO d VALUES (2)")
                await conn.execute("INSERT INTO d VALUES (2)")
        await conn.execute("INSERT INTO d VALUES (3)")
    assert await (await conn.execute("SELECT * FROM d")).fetchall() == [(3,)]


async def test_an_exception_of_the_users_is_not_replaced(
    conn: AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "anyq"), pytest.raises(ZeroDivisionError):
        async with conn.pipeline():
            await insert(conn, 1, 1, 2)
            raise ZeroDivisionError
    assert "error ignored" in caplog.text
    assert "duplicate key" in caplog.text
    await conn.rollback()
    with pytest.raises(e.UniqueViolation):
        async with conn.pipeline():
            cursor = await conn.execute("INSERT INTO t VALUES (1), (1) RETURNING a")
            await insert(conn, 5)
            await cursor.fetchone()
    await conn.rollback()


async def test_what_was_executed_before_an_exception_takes_effect(autocommit: AsyncConnection) -> None:
    with pytest.raises(ZeroDivisionError):
        async with autocommit.pipeline():
            await insert(autocommit, 1)
            raise ZeroDivisionError
    assert await content(autocommit) == [1]


# -- transactions


async def test_a_transaction_begins_with_the_first_statement(manual: AsyncConnection) -> None:
    async with manual.pipeline() as pipeline:
        await insert(manual, 1)
        assert status(manual) is TransactionStatus.IDLE
        await pipeline.sync()
        assert status(manual) is TransactionStatus.INTRANS
        await insert(manual, 2)
    assert status(manual) is TransactionStatus.INTRANS
    await manual.rollback()
    assert await content(manual) == []


async def test_transaction_blocks_sync_around_themselves(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        with pytest.raises(e.UniqueViolation):
            async with conn.transaction():
                await insert(conn, 1, 1)
        async with conn.transaction():
            await insert(conn, 5)
        async with conn.transaction():
            await insert(conn, 6)
            with pytest.raises(e.UniqueViolation):
                async with conn.transaction():
                    await insert(conn, 7, 7)
            await insert(conn, 8)
    assert status(conn) is TransactionStatus.IDLE
    assert await content(conn) == [5, 6, 8]


async def test_an_error_before_a_block_comes_out_when_it_is_entered(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        await insert(conn, 1, 1)
        with pytest.raises(e.UniqueViolation):
            async with conn.transaction():
                raise AssertionError("it was entered")
        await conn.rollback()
        async with conn.transaction():
            await insert(conn, 2)
    assert await content(conn) == [2]


async def test_pipelines_inside_of_transaction_blocks(conn: AsyncConnection) -> None:
    async with conn.transaction(), conn.pipeline():
        await insert(conn, 1, 2)
    with pytest.raises(e.UniqueViolation):
        async with conn.transaction(), conn.pipeline():
            await insert(conn, 3, 3)
    assert status(conn) is TransactionStatus.IDLE
    assert await content(conn) == [1, 2]


async def test_blocks_that_are_rolled_back_have_results(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        async with conn.transaction(force_rollback=True):
            one = await conn.execute("INSERT INTO t VALUES (1) RETURNING a")
        async with conn.transaction():
            two = await conn.execute("INSERT INTO t VALUES (2) RETURNING a")
            raise Rollback
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction():
                three = await conn.execute("INSERT INTO t VALUES (3) RETURNING a")
                raise ZeroDivisionError
        assert [await cursor.fetchone() for cursor in (one, two, three)] == [(1,), (2,), (3,)]
    assert await content(conn) == []


async def test_transactions_by_hand(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        await conn.execute("BEGIN")
        await insert(conn, 1)
        await conn.execute("COMMIT")
        await insert(conn, 2)
        await conn.execute("ROLLBACK")
        await conn.execute("BEGIN")
        await insert(conn, 3)
        await conn.execute("SAVEPOINT s")
        await insert(conn, 4)
        await conn.execute("ROLLBACK TO s")
        await conn.execute("COMMIT")
    # The 2 was in a transaction of ours, or in that of its segment.
    assert await content(conn) == [1, 3]


async def test_settings_are_changed_between_transactions(manual: AsyncConnection) -> None:
    async with manual.pipeline():
        await insert(manual, 1)
        with pytest.raises(e.ProgrammingError, match="while a transaction is open"):
            await manual.set_autocommit(True)
        await manual.commit()
        await manual.set_isolation_level(IsolationLevel.SERIALIZABLE)
        await manual.set_read_only(False)
        await manual.set_deferrable(False)
        cursor = await manual.execute("SHOW transaction_isolation")
        assert await cursor.fetchone() == ("serializable",)
        await manual.commit()
        await manual.set_autocommit(True)
        await insert(manual, 2)
    assert status(manual) is TransactionStatus.IDLE
    assert await content(manual) == [1, 2]


async def test_a_setting_counts_for_what_comes_behind_it(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        before = await conn.execute("SELECT '2000-01-02'::date, 'é'")
        await conn.execute("SET client_encoding = 'LATIN1'")
        await conn.execute("SET DateStyle = 'SQL, DMY'")
        behind = await conn.execute("SELECT '2000-01-02'::date, %s", ["é"])
        assert str(await before.fetchone()) == str(await behind.fetchone())
    await conn.rollback()


# -- what is refused, and the pipeline goes on


@pytest.mark.parametrize(
    "text",
    ["COPY t FROM STDIN", "/* c */ copy t from stdin", "-- c\n;;COPY t TO STDOUT", " ( COPY t (a) TO STDOUT"],
)
async def test_copy_is_refused(conn: AsyncConnection, text: str) -> None:
    async with conn.pipeline():
        one = await conn.execute("SELECT 1")
        with pytest.raises(e.NotSupportedError, match="pipeline"):
            await conn.execute(text.encode())
        two = await conn.execute("SELECT 2")
        assert (await one.fetchone(), await two.fetchone()) == ((1,), (2,))


@pytest.mark.parametrize(
    "text", ["COPY t FROM/**/STDIN", "; /* c */ ; COPY t FROM --\nSTDIN", "COPY t TO/**/STDOUT"], ids=range(3)
)
async def test_copy_that_is_well_hidden_closes_nothing(conn: AsyncConnection, text: str) -> None:
    async with conn.pipeline() as pipeline:
        one = await conn.execute("SELECT 1")
        hidden = await conn.execute(text.encode())
        two = await conn.execute("SELECT 2")
        assert await one.fetchone() == (1,)
        with pytest.raises(e.Error, match="COPY"):
            await hidden.fetchone()
        with pytest.raises(e.PipelineAborted):
            await two.fetchone()
        await pipeline.sync()
        await conn.rollback()
        assert await content(conn) == []


async def test_several_statements_are_refused_by_the_server(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        for text in ("SELECT 1; COPY t FROM STDIN", "SELECT 1; SELECT 2", "BEGIN; COPY t FROM STDIN"):
            cursor = await conn.execute(text.encode())
            with pytest.raises(e.SyntaxError, match="multiple commands"):
                await cursor.fetchone()
            await pipeline.sync()
            await conn.rollback()
        assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def test_copy_of_a_file_is_a_statement_like_others(conn: AsyncConnection, embedded_server: object) -> None:
    async with conn.pipeline():
        await conn.execute("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'")
        assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def test_named_cursors_are_refused(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        one = await conn.execute("SELECT 1")
        with pytest.raises(e.ProgrammingError, match="named cursor .* pipeline block"):
            await conn.cursor("named").execute("SELECT 1")
        two = await conn.execute("SELECT 2")
        assert (await one.fetchone(), await two.fetchone()) == ((1,), (2,))


async def test_two_phase_commit_syncs_around_itself(manual: AsyncConnection, dsn: str) -> None:
    conn = manual
    if (await (await conn.execute("SHOW max_prepared_transactions")).fetchone()) == ("0",):
        pytest.skip("the server has no prepared transactions")
    await conn.rollback()
    xid = secrets.token_hex(8)
    async with conn.pipeline():
        await conn.execute("SELECT 1 / 0")
        with pytest.raises(e.DivisionByZero):
            await conn.tpc_begin(xid)
        await conn.rollback()
        await conn.tpc_begin(xid)
        cursor = await conn.execute("SELECT 2")
        await conn.tpc_prepare()
        assert await cursor.fetchone() == (2,)
        await conn.tpc_rollback()
        assert status(conn) is TransactionStatus.IDLE
        assert await (await conn.execute("SELECT 3")).fetchone() == (3,)


async def test_streams_are_refused(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        await insert(conn, 1)
        with pytest.raises(e.ProgrammingError, match="stream.* pipeline block"):
            conn.cursor().stream("SELECT 1")
        assert await content(conn) == [1]
    assert [row async for row in conn.cursor().stream("SELECT 1")] == [(1,)]


# -- executemany


async def test_executemany_keeps_its_place_and_its_results(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        await insert(conn, 1)
        cursor = conn.cursor()
        await cursor.executemany("INSERT INTO t SELECT max(a) + %s FROM t RETURNING a", [[1], [1]], returning=True)
        assert [await cur.fetchone() async for cur in cursor.results()] == [(2,), (3,)]
        many = conn.cursor()
        await many.executemany("INSERT INTO t VALUES (%s)", ([i] for i in range(10, 1500)))
        last = await conn.execute("SELECT count(*) FROM t")
        assert many.rowcount == 1490
        assert await last.fetchone() == (1493,)


async def test_executemany_that_fails_raises_itself(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        one = await conn.execute("SELECT 1")
        cursor = conn.cursor()
        with pytest.raises(e.UniqueViolation):
            await cursor.executemany("INSERT INTO t VALUES (%s)", [[1], [1]])
        assert pipelining(pipeline) is PipelineStatus.ON
        assert await one.fetchone() == (1,)
        await conn.rollback()
        await insert(conn, 2)
    assert await content(conn) == [2]


async def test_executemany_behind_an_error(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        wrong = await conn.execute("SELECT 1 / 0")
        cursor = conn.cursor()
        with pytest.raises(e.DivisionByZero):
            await cursor.executemany("INSERT INTO t VALUES (%s)", [[1]])
        with pytest.raises(e.PipelineAborted, match="division by zero"):
            await cursor.executemany("INSERT INTO t VALUES (%s)", [[1]])
        with pytest.raises(e.DivisionByZero):
            await wrong.fetchone()
        await pipeline.sync()
        await conn.rollback()
        await cursor.executemany("INSERT INTO t VALUES (%s)", [[1]])
    assert await content(conn) == [1]


async def test_executemany_that_is_cancelled(autocommit: AsyncConnection, dsn: str) -> None:
    conn = autocommit
    async with conn.pipeline(), held_lock(dsn) as lock:
        one = await conn.execute("SELECT 1")
        cursor = conn.cursor()
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await lock.until_wanted(conn.info.backend_pid)
                scope.cancel()

            group.start_soon(cancel)
            with anyio.CancelScope() as scope:
                await cursor.executemany(lock.statement.encode(), [()])
        assert scope.cancelled_caught
        assert await one.fetchone() == (1,)
        assert await content(conn) == []


async def test_notify_is_queued(autocommit: AsyncConnection, dsn: str) -> None:
    async with (
        AsyncConnection.connect(dsn, autocommit=True) as other,
        other.listen("pipelined") as stream,
        autocommit.pipeline() as pipeline,
    ):
        await autocommit.notify("pipelined", "1")
        assert under_way(autocommit) == 0
        await autocommit.notify("pipelined", "2")
        await pipeline.sync()
        with anyio.fail_after(10):
            assert [(await stream.receive()).payload for _ in range(2)] == ["1", "2"]


async def test_who_waits_for_a_notification_has_what_is_queued_sent(autocommit: AsyncConnection) -> None:
    conn = autocommit
    async with conn.listen("waited") as stream, conn.pipeline():
        await conn.notify("waited", "1")
        with anyio.fail_after(10):
            assert (await stream.receive()).payload == "1"
        await conn.execute("LISTEN other")
        await conn.notify("other", "2")
        with anyio.fail_after(10):
            assert [notify.payload async for notify in conn.notifies(stop_after=1)] == ["2"]


async def test_subscriptions_and_passwords_work_inside(autocommit: AsyncConnection) -> None:
    async with autocommit.pipeline() as pipeline:
        async with autocommit.listen("inside") as stream:
            await autocommit.notify("inside", "x")
            await pipeline.sync()
            with anyio.fail_after(10):
                assert (await stream.receive()).payload == "x"
        async with autocommit.transaction(force_rollback=True):
            await autocommit.execute("CREATE ROLE anyq_pipelined")
            await autocommit.change_password("anyq_pipelined", "secret")


# -- blocks inside each other, and several tasks


async def test_nested_blocks_go_on_with_the_same_pipeline(conn: AsyncConnection) -> None:
    async with conn.pipeline() as outer:
        await insert(conn, 1)
        async with conn.pipeline() as inner:
            assert (pipelining(outer), pipelining(inner)) == (PipelineStatus.ON, PipelineStatus.ON)
            await insert(conn, 2)
            assert under_way(conn) == 0
        assert pipelining(inner) is PipelineStatus.OFF
        assert pipelining(outer) is PipelineStatus.ON
        cursor = await conn.execute("SELECT count(*) FROM t")
        assert cursor.rowcount == -1
    assert await cursor.fetchone() == (2,)


async def test_errors_around_nested_blocks(conn: AsyncConnection) -> None:
    async with conn.pipeline() as outer:
        await insert(conn, 1, 1)
        with pytest.raises(e.UniqueViolation):
            async with conn.pipeline():
                raise AssertionError("it was entered")
        await conn.rollback()
        with pytest.raises(e.UniqueViolation):
            async with conn.pipeline():
                await insert(conn, 2, 2)
        assert pipelining(outer) is PipelineStatus.ON
        await conn.rollback()
        await insert(conn, 3)
    assert await content(conn) == [3]


async def test_each_task_has_its_own_pipeline(autocommit: AsyncConnection) -> None:
    conn = autocommit

    async def work(n: int) -> None:
        for _ in range(5):
            async with conn.pipeline() as pipeline:
                cursors = [await conn.execute("SELECT %s::int", [100 * n + i]) for i in range(20)]
                await anyio.lowlevel.checkpoint()
                wrong = await conn.execute("SELECT 1 / 0") if n % 2 else None
                assert [await c.fetchone() for c in cursors] == [(100 * n + i,) for i in range(20)]
                if wrong is not None:
                    with pytest.raises(e.DivisionByZero):
                        await wrong.fetchone()
                    await pipeline.sync()

    async with anyio.create_task_group() as group:
        for n in range(10):
            group.start_soon(work, n)
    assert pipelining(conn) is PipelineStatus.OFF


async def test_a_task_in_no_block_goes_on_as_usual(autocommit: AsyncConnection) -> None:
    conn = autocommit

    async def other() -> None:
        assert await (await conn.execute("SELECT count(*) FROM t")).fetchone() == (0,)

    async with conn.pipeline() as pipeline:
        await insert(conn, 1)
        async with anyio.create_task_group() as group:
            group.start_soon(other)  # a child is a task of its own
        await conn.execute("SELECT 1 / 0")
        with pytest.raises(e.DivisionByZero):
            await pipeline.sync()
        async with anyio.create_task_group() as group:
            group.start_soon(other)
    assert await content(conn) == []


async def test_another_task_may_fetch_and_sync(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        cursors = [await conn.execute("SELECT %s::int", [i]) for i in range(10)]
        rows: list[Any] = []

        async def fetch(i: int) -> None:
            rows.append(await cursors[i].fetchone())

        async with anyio.create_task_group() as group:
            for i in range(10):
                group.start_soon(fetch, i)
            group.start_soon(pipeline.sync)
        assert sorted(rows) == [(i,) for i in range(10)]


# -- connections that are closed inside, and blocks that are left by a cancellation


async def test_closing_the_connection_inside(anyio_backend: object, dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    async with conn.pipeline():
        await conn.close()
    conn = await AsyncConnection.connect(dsn)
    with pytest.raises(e.OperationalError, match="closed"):
        async with conn.pipeline():
            cursor = await conn.execute("SELECT 1")
            await conn.close()
    with pytest.raises(e.OperationalError):
        await cursor.fetchone()


async def test_a_connection_block_that_ends_first(anyio_backend: object, dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    async with conn:
        await conn.execute("CREATE TEMP TABLE t (a int)")
        pipeline = await conn.pipeline().__aenter__()
        cursor = await conn.execute("SELECT 1")
    assert await cursor.fetchone() == (1,)
    await pipeline.__aexit__(None, None, None)


async def test_a_block_that_is_left_by_a_cancellation_sends_nothing(autocommit: AsyncConnection) -> None:
    conn = autocommit
    with anyio.CancelScope() as scope:
        async with conn.pipeline():
            await insert(conn, 1)
            cursor = await conn.execute("SELECT 1")
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    with pytest.raises(e.OperationalError, match="not been sent"):
        await cursor.fetchone()
    assert await content(conn) == []
    assert not conn.session.transactions.pipelines


async def test_a_transaction_block_that_is_left_by_a_cancellation(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        await insert(conn, 1)
        with anyio.CancelScope() as scope:
            async with conn.transaction():
                await insert(conn, 2)
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        await insert(conn, 3)
    assert await content(conn) == [1, 3]
