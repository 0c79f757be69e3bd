"""One COPY under way: cancelled at each of its waits, beside others, as fast as the slower side takes it, and with a
server that fails or breaks the protocol.

What is written and read, and what a block leaves behind, is in tests/test_copy.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.protocol.constants import Format
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE, SCALE, held_lock
from tests.support.asking import CANCELED, ask, cancel_script, connect, row
from tests.support.copies import MANY, THREE, check_usable, content
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.memory import needs_proc, peak_growth
from tests.support.queries import one
from tests.support.state import is_closed, status
from tests.support.stepping import cancel_at_each_wait
from tests.support.victims import as_victim

pytestmark = pytest.mark.anyio


@pytest.fixture
async def table(dsn: str, anyio_backend: object) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("CREATE TEMPORARY TABLE t (a int, b text)")
        yield conn


async def copy_in(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write(b"1\tx\n" * 100_000)
        for i in range(3000):
            await copy.write_row((i, "x" * 50))


async def copy_out(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY (SELECT i, 'x' FROM generate_series(1, 30000) AS i) TO STDOUT") as copy:
        async for _ in copy.rows():
            pass


async def left_early(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY (SELECT i, 'x' FROM generate_series(1, 30000) AS i) TO STDOUT") as copy:
        await copy.read()


async def given_up(conn: AsyncConnection) -> None:
    try:
        async with conn.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write(b"1\tx\n")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


@pytest.mark.parametrize("operation", [copy_in, copy_out, left_early, given_up])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_cancelled_at_each_wait(
    table: AsyncConnection,
    operation: Callable[[AsyncConnection], Awaitable[None]],
    native: bool,
    autocommit: bool,
    anyio_backend_name: str,
) -> None:
    if native and anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    await table.set_autocommit(autocommit)

    async def run() -> None:
        await operation(table)

    async def check() -> None:
        assert not table.closed
        assert status(table) in ((TransactionStatus.IDLE,) if autocommit else tuple(TransactionStatus))
        await table.rollback()
        assert await one(table, "SELECT 42") == 42
        if not autocommit:
            assert await one(table, "SELECT count(*) FROM t") == 0
        await table.rollback()

    with anyio.fail_after(PATIENCE):
        assert await cancel_at_each_wait(run, check, natively=native) >= 1


async def test_cancelled_before_the_server_has_begun(table: AsyncConnection, dsn: str) -> None:
    """The statement waits for a lock: no CopyFail ends that."""
    async with held_lock(dsn) as lock:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:

                async def run() -> None:
                    query = lock.statement.removeprefix("SELECT")
                    async with table.cursor().copy(f"COPY (SELECT {query}) TO STDOUT".encode()) as copy:
                        await copy.read()

                group.start_soon(run)
                await lock.until_wanted(table.info.backend_pid)
                group.cancel_scope.cancel()
        assert await one(table, "SELECT 1") == 1


async def test_a_victim_is_sent_again(table: AsyncConnection, dsn: str) -> None:
    found: list[bytes] = []

    async def neighbour(waits: str) -> None:
        async with table.cursor().copy(f"COPY (SELECT 1, {waits}::text) TO STDOUT".encode()) as copy:
            found.append(await copy.read())

    await as_victim(table, dsn, neighbour)
    assert found == [b"1\t\n"]


async def test_one_of_several_writers_is_cancelled(table: AsyncConnection) -> None:
    """The COPY is given up, whoever was at work; the connection is as it was."""
    with anyio.fail_after(PATIENCE), pytest.raises(e.OperationalError, match="at its end"):
        async with table.cursor().copy("COPY t FROM STDIN") as copy:

            async def write() -> None:
                while True:
                    try:
                        await copy.write(b"1\tx\n" * 50_000)
                    except e.Error:
                        break

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(write)
                with anyio.CancelScope() as scope:
                    group.start_soon(write)
                    await anyio.lowlevel.checkpoint()
                    scope.cancel()
                    await copy.write(b"1\tx\n" * 50_000)
    assert not table.closed
    assert await one(table, "SELECT count(*) FROM t") == 0


async def test_a_rollback_of_another_task_waits(table: AsyncConnection) -> None:
    await table.set_autocommit(False)
    order: list[str] = []

    async def roll_back() -> None:
        await table.rollback()
        order.append("rolled back")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, table.cursor().copy("COPY t FROM STDIN") as copy:
            group.start_soon(roll_back)
            await anyio.wait_all_tasks_blocked()
            await copy.write_row((1, "x"))
            order.append("written")
    assert order == ["written", "rolled back"]
    assert await one(table, "SELECT count(*) FROM t") == 0


async def test_a_storm(table: AsyncConnection) -> None:
    """COPYs and queries of many tasks, of which some are cancelled."""
    done: Any = []

    async def run(number: int) -> None:
        with anyio.CancelScope() as scope:
            if number % 5 == 0:
                scope.cancel()
            match number % 3:
                case 0:
                    async with table.cursor().copy("COPY t FROM STDIN") as copy:
                        await copy.write_row((number, "x" * 100_000))
                case 1:
                    async with table.cursor().copy("COPY (SELECT generate_series(1, 3000)) TO STDOUT") as copy:
                        async for _ in copy:
                            if number % 2:
                                break
                case _:
                    assert await one(table, "SELECT %s::int", number) == number
            done.append(number)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(run, number)
    assert sorted(done) == [number for number in range(100) if number % 5]
    assert await one(table, "SELECT count(*) FROM t") == len([n for n in done if n % 3 == 0])


# -- a server that breaks the protocol

TEXT = be.CopyInResponse(Format.TEXT, (Format.TEXT,))
OUT = be.CopyOutResponse(Format.TEXT, (Format.TEXT,))
DONE = be.CommandComplete("COPY 1")


@pytest.mark.parametrize(
    "answer",
    [
        [TEXT, READY],
        [TEXT, TEXT],
        [TEXT, OUT],
        [TEXT, DONE],
        [TEXT, DONE, READY],
        [TEXT, be.CopyData(b"x")],
        [TEXT, be.CopyDone()],
        [be.CopyBothResponse(Format.TEXT, ())],
        [be.CopyInResponse(Format.TEXT, (Format.BINARY,))],
        [be.CopyInResponse(Format.BINARY, (Format.TEXT, Format.BINARY))],
        [OUT, OUT],
        [OUT, TEXT],
        [OUT, READY],
        [OUT, DONE, READY],
        [OUT, be.CopyData(b"x"), be.CopyDone(), be.CopyData(b"x"), DONE, READY],
        [OUT, be.CopyData(b"x"), be.CopyDone(), OUT],
        [OUT, be.DataRow((b"x",))],
    ],
    ids=lambda answer: "-".join(type(message).__name__ for message in answer),
)
async def test_what_breaks_the_protocol(answer: list[Any]) -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send(*answer)
        await client.ignore_the_rest()

    async with fake_server(script) as server:
        with anyio.fail_after(PATIENCE):
            async with AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
                with pytest.raises(e.RemoteProtocolError):
                    async with conn.cursor().copy("COPY t FROM STDIN") as copy:
                        if "in," in repr(copy):
                            for _ in range(1000):
                                await copy.write(b"x" * 100_000)
                        async for _ in copy:
                            pass
                assert conn.closed


async def test_no_copy_at_all() -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send(be.EmptyQueryResponse(), READY)
        await client.expect(fm.Query)
        await client.send(DONE, READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server, AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
        for _ in range(2):
            with pytest.raises(e.ProgrammingError, match="does not go through"):
                async with conn.cursor().copy("COPY t FROM STDIN"):
                    raise AssertionError("the block was entered")


async def test_empty_messages_are_no_end() -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        for _ in range(2):
            await client.expect(fm.Query)
            await client.send(OUT, be.CopyData(b""), be.CopyData(b"1\n"))
            await client.send(be.CopyData(b""))
            await client.send(be.CopyData(b"2\n"), be.CopyData(b""), be.CopyDone(), DONE, READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server, AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
        async with conn.cursor().copy("COPY t TO STDOUT") as copy:
            assert [data async for data in copy] == [b"1\n", b"2\n"]
        async with conn.cursor().copy("COPY t TO STDOUT") as copy:
            assert [row async for row in copy.rows()] == [("1",), ("2",)]


# -- beside a CancelRequest


@pytest.mark.usefixtures("one_cancel_request")
async def test_the_answer_to_a_copy_fail_is_no_sign_of_a_cancel_request() -> None:
    """It has the same SQLSTATE; the signal of the CancelRequest that was sent as well hits the next statement."""
    opened, given_up, cancelled = anyio.Event(), anyio.Event(), anyio.Event()
    failed = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "COPY from stdin failed"})

    async def session(client: FakeClient) -> None:
        await client.accept_startup(parameters={"server_version": "18.0"})
        await client.expect(fm.Query, sql=b"COPY t FROM STDIN")
        await client.send(TEXT)
        await client.expect(fm.CopyFail)
        await client.expect(fm.Query, sql=b"SELECT 'neighbour'")
        given_up.set()
        await cancelled.wait()
        await client.send(failed, READY, CANCELED, READY)
        await client.expect(fm.Query, sql=b"SELECT 'neighbour'")
        await client.send(*row("unhurt"))
        await client.expect(fm.Terminate)

    async def copy_in(conn: AsyncConnection) -> None:
        async with conn.cursor().copy("COPY t FROM STDIN"):
            opened.set()
            await anyio.sleep_forever()

    replies: dict[str, Any] = {}
    async with fake_server(session, cancel_script(cancelled)) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                doomed.start_soon(copy_in, conn)
                await opened.wait()
                group.start_soon(ask, conn, "SELECT 'neighbour'", replies)
                doomed.cancel_scope.cancel()
    assert given_up.is_set()
    assert replies == {"SELECT 'neighbour'": "unhurt"}


# -- errors of the server while it goes on


async def test_the_error_comes_soon(table: AsyncConnection) -> None:
    """Not after two million more blocks."""
    written = 0
    with pytest.raises(e.InvalidTextRepresentation, match="wrong"):
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write("wrong\tx\n")
            for _ in range(2_000):
                await copy.write(b"1\tx\n" * 2500)
                written += 10_000
    assert written < 10_000_000
    await check_usable(table)
    assert await content(table) == []


@pytest.mark.parametrize("big", [False, True])
async def test_the_error_comes_at_the_end(table: AsyncConnection, big: bool) -> None:
    with pytest.raises(e.BadCopyFileFormat, match="missing data"):
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write("1\tx\n" * 30_000 * big + "1")
    await check_usable(table)


async def test_an_error_that_is_caught_within(table: AsyncConnection) -> None:
    """It is not taken for success at the end."""
    with pytest.raises(e.OperationalError, match="at its end"):
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            with pytest.raises(e.InvalidTextRepresentation):
                for _ in range(1000):
                    await copy.write(b"wrong\tx\n" * 10_000)
            for _ in range(3):
                with pytest.raises(e.OperationalError, match="at its end"):
                    await copy.write(b"1\tx\n" * 100_000)
    await check_usable(table)


async def test_a_killed_server_process(table: AsyncConnection, dsn: str) -> None:
    pid = table.info.backend_pid
    async with AsyncConnection.connect(dsn, autocommit=True) as other:
        with anyio.fail_after(PATIENCE), pytest.raises(e.OperationalError):
            async with table.cursor().copy("COPY t FROM STDIN") as copy:
                await copy.write(b"1\tx\n" * 20_000)
                await other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
                for _ in range(10_000):
                    await copy.write(b"1\tx\n" * 20_000)
    assert is_closed(table)


async def test_a_killed_server_process_while_reading(table: AsyncConnection, dsn: str) -> None:
    pid = table.info.backend_pid
    async with AsyncConnection.connect(dsn, autocommit=True) as other:
        with anyio.fail_after(PATIENCE), pytest.raises(e.OperationalError):
            async with table.cursor().copy(MANY) as copy:
                await copy.read()
                await other.execute("SELECT pg_terminate_backend(%s)", (pid,))
                async for _ in copy:
                    pass
    assert is_closed(table)


# -- back-pressure


async def test_writing_waits_for_the_server_and_can_be_cancelled(table: AsyncConnection, dsn: str) -> None:
    written = 0
    async with held_lock(dsn) as lock:
        await table.execute(
            "CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM ({lock.statement.removeprefix('SELECT')} IS NULL); RETURN NEW; END $$".encode()
        )
        await table.execute("CREATE TRIGGER wait BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION pg_temp.wait()")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:

                async def write() -> None:
                    nonlocal written
                    async with table.cursor().copy("COPY t FROM STDIN") as copy:
                        for _ in range(300):
                            await copy.write_row((1, "x" * 1_000_000))
                            written += 1

                group.start_soon(write)
                await lock.until_wanted(table.info.backend_pid)
                await anyio.wait_all_tasks_blocked()
                assert 0 < written < 30
                # The server is busy with a row, and does not see the CopyFail.
                group.cancel_scope.cancel()
        assert not is_closed(table)
    await table.execute("DROP TRIGGER wait ON t")
    assert await content(table) == []


@needs_proc
async def test_memory_in(dsn: str, anyio_backend: tuple[str, dict[str, Any]]) -> None:
    megabytes = 100 * SCALE
    growth = peak_growth(
        dsn,
        anyio_backend,
        f"""
        await conn.execute("CREATE TEMPORARY TABLE t (a text)")
        await conn.execute("CREATE FUNCTION pg_temp.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        await conn.execute("CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION pg_temp.no()")
        async with conn.cursor().copy("COPY t FROM STDIN") as copy:
            for number in range({megabytes}):
                if number % 2:
                    await copy.write(b"x" * 999999 + b"\\n")
                else:
                    await copy.write_row(("x" * 999999,))
        """,
    )
    assert growth < 20_000_000


@needs_proc
@pytest.mark.parametrize("way", ["copy", "copy.blocks()", "copy.rows()"])
async def test_memory_out(dsn: str, anyio_backend: tuple[str, dict[str, Any]], way: str) -> None:
    rows = 100_000 * SCALE
    growth = peak_growth(
        dsn,
        anyio_backend,
        f"""
        count = 0
        async with conn.cursor().copy(
            "COPY (SELECT repeat('x', 1000) FROM generate_series(1, {rows})) TO STDOUT"
        ) as copy:
            async for data in {way}:
                count += data.count(b"\\n") if type(data) is bytes else 1
        assert count == {rows}
        """,
    )
    assert growth < 20_000_000


@pytest.mark.parametrize("attended", [False, True])
async def test_each_piece_is_a_checkpoint(table: AsyncConnection, attended: bool) -> None:
    """Whether the server is fast or slow, and whether it is this task that reads or another."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        if attended:
            tasks.start_soon(table.wait_disconnected)
        async with table.cursor().copy("COPY t FROM STDIN WHERE false") as copy:
            begun = turns
            for _ in range(40):
                await copy.write(b"1\tx\n" * 10_000)
                await copy.write(b"1\tx\n" * 10_000)
            # Trio runs tasks in any order, but each once in a turn.
            assert turns - begun >= 20
        pieces = 0
        async with table.cursor().copy(
            "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 5000)) TO STDOUT"
        ) as copy:
            begun = turns
            async for _ in copy.blocks():
                pieces += 1
            assert turns - begun >= pieces // 2
        tasks.cancel_scope.cancel()
    assert pieces > 20


# -- other statements


async def test_statements_of_the_same_task_are_refused(table: AsyncConnection) -> None:
    await table.set_autocommit(False)
    for statement, write in (("COPY t FROM STDIN", True), (THREE, False)):
        async with table.cursor().copy(statement.encode()) as copy:
            for run in (
                lambda: table.execute("SELECT 1"),
                lambda: table.execute("SELECT %s", (1,)),
                lambda: table.cursor().executemany("SELECT %s", [(1,)]),
                lambda: table.commit(),
                lambda: table.rollback(),
                lambda: table.transaction().__aenter__(),
                lambda: table.cursor().copy(THREE).__aenter__(),
                lambda: anext(table.cursor().stream("SELECT 1")),
                lambda: table.notify("channel"),
            ):
                with anyio.fail_after(PATIENCE), pytest.raises(e.ProgrammingError, match="COPY of this task is open"):
                    await run()
            if write:
                await copy.write("1\tx\n")
            else:
                assert len([data async for data in copy]) == 3
        assert status(table) is TransactionStatus.INTRANS
    assert await content(table) == [(1, "x")]


@pytest.mark.parametrize("statement", ["COPY t FROM STDIN", MANY])
async def test_statements_of_other_tasks_wait(table: AsyncConnection, statement: Any) -> None:
    seen: list[Any] = []

    async def select(number: int) -> None:
        seen.append(await one(table, "SELECT %s::int", number))

    async def copy_in() -> None:
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write_row((1, "x"))
        seen.append("copied")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, table.cursor().copy(statement) as copy:
            for number in range(5):
                group.start_soon(select, number)
            group.start_soon(copy_in)
            group.start_soon(copy_in)
            await anyio.wait_all_tasks_blocked()
            if statement == MANY:
                assert (await copy.read()) == b"1\n"
            else:
                await copy.write("1\tx\n" * 50_000)
            assert seen == []
    assert sorted(map(str, seen)) == [*"01234", "copied", "copied"]


async def test_a_copy_behind_other_statements(table: AsyncConnection, dsn: str) -> None:
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(table.execute, lock.statement)
        await lock.until_wanted(table.info.backend_pid)

        async def copy_in() -> None:
            async with table.cursor().copy("COPY t FROM STDIN") as copy:
                await copy.write_row((1, "x"))

        group.start_soon(copy_in)
        await anyio.wait_all_tasks_blocked()
        await lock.release()
    assert await content(table) == [(1, "x")]


async def test_notifications_arrive_meanwhile(table: AsyncConnection, dsn: str) -> None:
    seen = []
    async with (
        AsyncConnection.connect(dsn, autocommit=True) as other,
        table.listen("c") as stream,
        table.cursor().copy(MANY) as copy,
        anyio.create_task_group() as group,
    ):

        async def listen() -> None:
            seen.append((await stream.receive()).payload)

        group.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        assert len([data async for data in copy]) == 1_000_000
        await other.notify("c", "x")
    assert seen == ["x"]


async def test_several_tasks_write_and_read(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY t FROM STDIN") as copy, anyio.create_task_group() as group:

        async def write(number: int) -> None:
            for i in range(3000):
                await copy.write_row((number * 3000 + i, "x" * 50))

        for number in range(5):
            group.start_soon(write, number)
    assert [row[0] for row in await content(table)] == list(range(15_000))
    found: list[Any] = []
    async with table.cursor().copy("COPY t TO STDOUT") as copy, anyio.create_task_group() as group:

        async def read() -> None:
            async for row in copy.rows():
                found.append(int(row[0]))

        for _ in range(5):
            group.start_soon(read)
    assert sorted(found) == list(range(15_000))


async def test_a_cancelled_write_cannot_be_gone_on_from(table: AsyncConnection) -> None:
    with pytest.raises(e.OperationalError, match="given up by a cancellation"):
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            with anyio.CancelScope() as scope:
                scope.cancel()
                for _ in range(100):
                    await copy.write(b"1\tx\n" * 10_000)
            assert scope.cancelled_caught
    await check_usable(table)
    assert await content(table) == []
