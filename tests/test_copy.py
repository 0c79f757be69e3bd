"""`cursor.copy()`: data to the server and from it, as bytes and as rows, and how a COPY ends."""

from __future__ import annotations

import io
import weakref
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from anyq import AsyncClientCursor, AsyncConnection, AsyncCopy, AsyncRawCursor, TransactionStatus, sql
from anyq import errors as e
from anyq.adapt.copy import BINARY_HEADER, BINARY_TRAILER
from anyq.backends import finalizers
from anyq.copy import AsyncWriter, FileWriter
from anyq.protocol import messages as be
from anyq.protocol.constants import Format
from tests.support import frontend_messages as fm
from tests.support.copies import MANY, THREE, check_usable, content
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.queries import one
from tests.support.state import status

pytestmark = pytest.mark.anyio

IDLE, INTRANS, INERROR = TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR


@pytest.fixture
async def table(dsn: str, anyio_backend: object) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit mode, with an empty table t of two columns."""
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("CREATE TEMPORARY TABLE t (a int, b text)")
        yield conn


# -- to the server


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, str])
async def test_data_of_every_kind(table: AsyncConnection, kind: Any) -> None:
    data = "1\tä\n2\t\\N\n"
    cur = table.cursor()
    async with cur.copy("COPY t FROM STDIN") as copy:
        await copy.write(data if kind is str else kind(data.encode()))
        await copy.write("")
        await copy.write(b"")
        for byte in b"3\tx\n":
            await copy.write(bytes([byte]))
    assert (cur.rowcount, cur.statusmessage) == (3, "COPY 3")
    assert await content(table) == [(1, "ä"), (2, None), (3, "x")]


async def test_memory_that_is_not_bytes(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write(memoryview(b"1.\t.y.\n.")[::2])
        await copy.write(memoryview(b"2\tw\n3\tz\n").cast("H"))
    assert await content(table) == [(1, "y"), (2, "w"), (3, "z")]


@pytest.mark.parametrize("wrong", [5, None, [b"1"], ("1",)])
async def test_what_is_no_data(table: AsyncConnection, wrong: Any) -> None:
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        with pytest.raises(TypeError, match=r"bytes or str.*write_row\(\)"):
            await copy.write(wrong)
        await copy.write("1\ty\n")
    assert await content(table) == [(1, "y")]


@pytest.mark.parametrize("size", [1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1_000_003])
async def test_sizes(table: AsyncConnection, size: int) -> None:
    """What is collected, what is sent at once, and what takes several messages."""
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write("1\t")
        await copy.write("x" * size)
        await copy.write("\n2\ty\n")
    assert await content(table) == [(1, "x" * size), (2, "y")]


@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
async def test_rows(table: AsyncConnection, options: str) -> None:
    rows = [(i, None if i % 7 == 0 else f"{i}\t\n\\ä") for i in range(20_000)]
    cur = table.cursor()
    async with cur.copy(f"COPY t FROM STDIN{options}".encode()) as copy:
        copy.set_types(["int4", "text"])
        for row in rows:
            await copy.write_row(row)
    assert cur.rowcount == len(rows)
    assert await content(table) == rows
    async with cur.copy(f"COPY (SELECT * FROM t ORDER BY a) TO STDOUT{options}".encode()) as copy:
        copy.set_types(["int4", "text"])
        assert [row async for row in copy.rows()] == rows
    assert cur.rowcount == len(rows)


async def test_data_is_taken_at_the_call(table: AsyncConnection) -> None:
    """So it is in order whenever it is awaited, and mostly it need not be; by a task of its own it can be."""
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        late = copy.write_row((1, "x")), copy.write("2\t")
        await copy.write("y\n")
        for coroutine in late:
            await coroutine
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(copy.write_row, (3, "z" * 100_000))
            tasks.start_soon(copy.write, "4\tw\n")
            tasks.start_soon(copy.write, b"")
        copy.write_row((5, "v"))  # type: ignore[unused-coroutine]
        with pytest.warns(RuntimeWarning, match=r"flush' was never awaited"):
            copy.write("6\t" + "u" * 65_530 + "\n")  # type: ignore[unused-coroutine]
    expected = [(1, "x"), (2, "y"), (3, "z" * 100_000), (4, "w"), (5, "v"), (6, "u" * 65_530)]
    assert await content(table) == expected


async def test_no_rows(table: AsyncConnection) -> None:
    for options in ("", " (FORMAT binary)", " (FORMAT csv)"):
        cur = table.cursor()
        async with cur.copy(f"COPY t FROM STDIN{options}".encode()):
            pass
        assert cur.rowcount == 0
        async with cur.copy(f"COPY t TO STDOUT{options}".encode()) as copy:
            if "csv" not in options:
                assert await copy.read_row() is None
            assert await copy.read() == b""
            assert await copy.read() == b""
            assert [data async for data in copy] == []
        assert cur.rowcount == 0


async def test_binary_data_with_its_own_header_gets_no_second_one(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        await copy.write(BINARY_HEADER + b"\0\2\0\0\0\4\0\0\0\7\0\0\0\1x" + BINARY_TRAILER)
    async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        for byte in BINARY_HEADER:
            await copy.write(bytes([byte]))
        copy.set_types(["int4", "text"])
        await copy.write_row((8, "y"))
    assert await content(table) == [(7, "x"), (8, "y")]


async def test_binary_data_that_is_cut_off(table: AsyncConnection) -> None:
    with pytest.raises(e.DataError, match="unexpected EOF"):
        async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            await copy.write(BINARY_HEADER + b"\0\2\0\0\0\4\0\0")
    await check_usable(table)
    assert await content(table) == []


async def test_a_row_that_is_refused_is_not_written_and_others_are(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        for wrong in ((2**31, "x"), (1,), (1, "a\0b")):
            with pytest.raises(e.DataError):
                await copy.write_row(wrong)
        await copy.write_row((1, "x"))
        with pytest.raises(e.DataError):
            await copy.write_row((1, 2, 3))
    assert await content(table) == [(1, "x")]


async def test_types_that_are_missing_are_hinted_at(table: AsyncConnection) -> None:
    with pytest.raises(e.Error, match="set_types"):
        async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            await copy.write_row((1, "x"))
    with pytest.raises(e.Error, match=r"set_types\(\) has to be given exactly these types"):
        async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "text"])
            await copy.write_row((1, "x"))
    assert await one(table, "SELECT 1") == 1


@pytest.mark.parametrize("types", [["int4"], ["int4", "nonsense"], ["int4", "text", "text"], "int4"])
async def test_types_that_are_wrong(table: AsyncConnection, types: Any) -> None:
    for direction in ("FROM STDIN", "TO STDOUT"):
        async with table.cursor().copy(f"COPY t {direction}".encode()) as copy:
            with pytest.raises((e.ProgrammingError, TypeError)):
                copy.set_types(types)


@pytest.mark.parametrize(
    "options", ["(FORMAT csv)", "CSV", "WITH csv header", "(format 'csv')", "(DELIMITER '|')", "(NULL '')"]
)
async def test_rows_of_other_formats_are_refused(table: AsyncConnection, options: str) -> None:
    async with table.cursor().copy(f"COPY t FROM STDIN {options}".encode()) as copy:
        with pytest.raises(e.NotSupportedError, match=r"use write\(\)"):
            await copy.write_row((1, "x"))
    async with table.cursor().copy(f"COPY t TO STDOUT {options}".encode()) as copy:
        with pytest.raises(e.NotSupportedError, match=r"use read\(\)"):
            copy.rows()
        with pytest.raises(e.NotSupportedError, match=r"use read\(\)"):
            await copy.read_row()


async def test_csv_as_bytes(table: AsyncConnection) -> None:
    data = b'1,"\\."\n2,\n3,""\n4,"a,\nb"\n'
    async with table.cursor().copy("COPY t FROM STDIN (FORMAT csv)") as copy:
        await copy.write(data)
    assert await content(table) == [(1, "\\."), (2, None), (3, ""), (4, "a,\nb")]
    async with table.cursor().copy("COPY (SELECT * FROM t ORDER BY a) TO STDOUT (FORMAT csv)") as copy:
        assert b"".join([line async for line in copy]).replace(b'"\\."', b"\\.") == data.replace(b'"\\."', b"\\.")
    async with table.cursor().copy("COPY t (b) FROM STDIN (FORMAT csv)") as copy:
        await copy.write(b'\n"\\."\n')  # an empty line is NULL
    assert (await content(table))[-2:] == [(None, None), (None, "\\.")]


@pytest.mark.parametrize("written", ["'latin1'", "latin1", '"latin1"', "$$latin1$$"])
async def test_an_encoding_of_its_own(table: AsyncConnection, written: str) -> None:
    async with table.cursor().copy(f"COPY t FROM STDIN (ENCODING {written}) WHERE a IS NOT NULL".encode()) as copy:
        await copy.write("1\tä\n")
        await copy.write_row((2, "ö"))
    assert await content(table) == [(1, "ä"), (2, "ö")]
    async with table.cursor().copy("COPY (SELECT * FROM t ORDER BY a) TO STDOUT (ENCODING 'latin1')") as copy:
        assert await copy.read() == b"1\t\xe4\n"
        assert await copy.read_row() == ("2", "ö")


@pytest.mark.parametrize("encoding", ["LATIN1", "SJIS", "UTF8"])
async def test_the_client_encoding(dsn: str, encoding: str) -> None:
    text = "ä" if encoding == "LATIN1" else "表"
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(sql.SQL("SET client_encoding TO {}").format(encoding))
        await conn.execute("CREATE TEMPORARY TABLE t (a int, b text)")
        async with conn.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write(f"1\t{text}\\\\\n" if encoding != "SJIS" else f"1\t{text}\n")
            await copy.write_row((2, text))
            with pytest.raises(e.DataError):
                await copy.write("3\t\N{SNOWMAN}\N{GRINNING FACE}\n" if encoding != "UTF8" else "\ud800")
        async with conn.cursor().copy(
            sql.SQL("COPY (SELECT b FROM t WHERE b LIKE {} ORDER BY a) TO STDOUT").format(f"{text}%")
        ) as copy:
            rows = [row async for row in copy.rows()]
            assert rows[-1] == (text,)
            assert len(rows) == 2


# -- from the server


async def test_reading(table: AsyncConnection) -> None:
    cur = table.cursor()
    async with cur.copy("COPY (SELECT i, NULL FROM generate_series(1, 5) AS i) TO STDOUT") as copy:
        assert await copy.read() == b"1\t\\N\n"
        assert await anext(aiter(copy)) == b"2\t\\N\n"
        assert await copy.read_row() == ("3", None)
        assert [row async for row in copy.rows()] == [("4", None), ("5", None)]
        assert await copy.read_row() is None
        assert await copy.read() == b""
        assert cur.rowcount == 5
    assert cur.rowcount == 5


async def test_reading_some_and_then_rows(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY (SELECT generate_series(1, 20000)) TO STDOUT") as copy:
        data = [await copy.read() for _ in range(100)]
        rows = [row async for row in copy.rows()]
    assert data == [b"%d\n" % i for i in range(1, 101)]
    assert rows == [(str(i),) for i in range(101, 20001)]


@pytest.mark.parametrize("count", [0, 1, 100_000])
@pytest.mark.parametrize("options", ["", " (FORMAT csv, HEADER)", " (FORMAT binary)"])
async def test_blocks(table: AsyncConnection, options: str, count: int) -> None:
    cur = table.cursor()
    statement = (
        f"COPY (SELECT i, repeat('x', i % 90) FROM generate_series(1, {count}) AS i) TO STDOUT{options}".encode()
    )
    async with cur.copy(statement) as copy:
        data = [row async for row in copy]
    async with cur.copy(statement) as copy:
        blocks = [block async for block in copy.blocks()]
        assert [block async for block in copy.blocks()] == []
        assert await copy.read() == b""
    assert cur.rowcount == count
    assert b"".join(blocks) == b"".join(data)
    if count > 1:
        assert all(blocks)
        assert len(blocks) < len(data) / 10
        assert max(map(len, blocks)) <= 127 * 1024 + 200
    if "binary" not in options:
        assert all(block.endswith(b"\n") for block in blocks)


async def test_blocks_and_rows(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY (SELECT generate_series(1, 20000)) TO STDOUT") as copy:
        blocks = copy.blocks()
        first = [await copy.read(), await copy.read(), await anext(blocks)]
        rows = [await copy.read_row()]
        with pytest.raises(e.ProgrammingError, match=r"go on by rows\(\)"):
            await anext(blocks)
        with pytest.raises(e.ProgrammingError, match=r"go on by rows\(\)"):
            copy.blocks()
        rows += [row async for row in copy.rows()]
        with pytest.raises(StopAsyncIteration):
            await anext(blocks)
    lines = b"".join(first).splitlines()
    assert len(lines) > 2
    assert [*lines, *(row[0].encode() for row in rows if row)] == [b"%d" % i for i in range(1, 20001)]


@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
@pytest.mark.parametrize("count", [2, 20000])
async def test_data_behind_rows_is_not_at_its_end(table: AsyncConnection, count: int, options: str) -> None:
    async with table.cursor().copy(f"COPY (SELECT generate_series(1, {count})) TO STDOUT{options}".encode()) as copy:
        copy.set_types(["int4"])
        assert await copy.read_row() == (1,)
        with pytest.raises(e.ProgrammingError, match=r"go on by rows\(\)"):
            await copy.read()
        with pytest.raises(e.ProgrammingError, match=r"go on by rows\(\)"):
            await anext(copy)
        assert [row async for row in copy.rows()] == [(i,) for i in range(2, count + 1)]
        assert await copy.read() == b""


@pytest.mark.parametrize("columns", ["", "1, 'x'"])
@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
async def test_zero_columns(table: AsyncConnection, columns: str, options: str) -> None:
    async with table.cursor().copy(f"COPY (SELECT {columns}) TO STDOUT{options}".encode()) as copy:
        rows = [row async for row in copy.rows()]
    assert [len(row) for row in rows] == [2 if columns else 0]


async def test_a_statement_that_changes_something(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY (INSERT INTO t VALUES (1, 'x'), (2, 'y') RETURNING b) TO STDOUT") as copy:
        assert [data async for data in copy] == [b"x\n", b"y\n"]
    assert len(await content(table)) == 2


async def test_a_large_row(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY (SELECT repeat('\\', 3000000), 1) TO STDOUT") as copy:
        copy.set_types(["text", "int4"])
        assert await copy.read_row() == ("\\" * 3_000_000, 1)
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write_row((1, "\\" * 3_000_000))
    assert await content(table) == [(1, "\\" * 3_000_000)]


async def test_an_error_amid_the_data(table: AsyncConnection) -> None:
    found = []
    with pytest.raises(e.DivisionByZero):
        async with table.cursor().copy(
            "COPY (SELECT 1/(20000-i) FROM generate_series(1, 30000) AS i) TO STDOUT"
        ) as copy:
            async for data in copy:
                found.append(data)
    assert found
    await check_usable(table)


# -- statements


async def test_parameters_become_literals(table: AsyncConnection) -> None:
    for cur in (table.cursor(), AsyncClientCursor(table)):
        async with cur.copy("COPY (SELECT %s, %s::int + 1) TO STDOUT", ("it's \\", 5)) as copy:
            assert await copy.read() == b"it's \\\\\t6\n"
        async with cur.copy("COPY (SELECT %(x)s) TO STDOUT", {"x": None}) as copy:
            assert await copy.read() == b"\\N\n"
    statement = sql.SQL("COPY {} TO STDOUT (DELIMITER {})").format(sql.Identifier("t"), "|")
    async with table.cursor().copy(statement) as copy:
        assert await copy.read() == b""
    async with table.cursor().copy("COPY (SELECT '100%') TO STDOUT") as copy:
        assert await copy.read() == b"100%\n"


async def test_raw_cursors_take_no_parameters(table: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError, match="no parameters"):
        async with AsyncRawCursor(table).copy("COPY (SELECT $1) TO STDOUT", (1,)):
            pass
    async with AsyncRawCursor(table).copy("COPY (SELECT '%s') TO STDOUT") as copy:
        assert await copy.read() == b"%s\n"


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT 1", "use execute"),
        ("", "use execute"),
        ("-- COPY t FROM STDIN", "use execute"),
        ("INSERT INTO t VALUES (1)", "use execute"),
        ("COPY t FROM STDIN; SELECT 1", "no other statement"),
        ("SELECT 1; COPY t FROM STDIN", "use execute"),
        ("COPY t TO STDOUT; COPY t TO STDOUT", "no other statement"),
        ("COPY t TO '/no/such/file/stdout'", "stdout"),
        ("COPY t FROM nowhere", "nowhere"),
        ("COPY nothing TO STDOUT", "nothing"),
    ],
)
@pytest.mark.parametrize("autocommit", [True, False])
async def test_statements_that_are_refused(
    table: AsyncConnection, statement: Any, message: str, autocommit: bool
) -> None:
    await table.set_autocommit(autocommit)
    with pytest.raises(e.Error, match=message):
        async with table.cursor().copy(statement):
            raise AssertionError("the block was entered")
    await table.rollback()
    assert await content(table) == []


async def test_a_copy_that_goes_through_no_connection(table: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError, match=r"executed: COPY 1\).*execute\(\)"):
        async with table.cursor().copy("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'"):
            raise AssertionError("the block was entered")
    await check_usable(table)


async def test_outside_of_the_block(table: AsyncConnection) -> None:
    copy = table.cursor().copy("COPY t FROM STDIN")
    for _ in range(2):
        with pytest.raises(e.ProgrammingError, match="block"):
            await copy.write("1\tx\n")
        with pytest.raises(e.ProgrammingError, match="block"):
            await copy.write_row((1, "x"))
        with pytest.raises(e.ProgrammingError, match="block"):
            copy.set_types(["int4", "text"])
        if status(table) is IDLE and "finished" not in repr(copy):
            async with copy:
                await copy.write_row((1, "x"))
    with pytest.raises(e.ProgrammingError, match="block"):
        await copy.read()
    with pytest.raises(e.InterfaceError, match="entered once"):
        async with copy:
            pass
    await copy.finish()
    assert await content(table) == [(1, "x")]


async def test_a_block_that_is_entered_again_inside_goes_on(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write_row((1, "x"))
        with pytest.raises(e.InterfaceError, match="entered once"):
            await copy.__aenter__()
        await copy.write_row((2, "y"))
    assert await content(table) == [(1, "x"), (2, "y")]


async def test_a_block_is_entered_by_one_of_several_tasks(table: AsyncConnection) -> None:
    copy = table.cursor().copy("COPY t FROM STDIN")
    refused: list[str] = []

    async def enter() -> None:
        try:
            await copy.__aenter__()
        except e.InterfaceError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as tg:
        tg.start_soon(enter)
        tg.start_soon(enter)
    assert len(refused) == 1
    await copy.write_row((1, "x"))
    await copy.finish()
    assert await content(table) == [(1, "x")]


async def test_the_wrong_direction(table: AsyncConnection) -> None:
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        for read in (copy.read, copy.read_row):
            with pytest.raises(e.ProgrammingError, match="written"):
                await read()
        with pytest.raises(e.ProgrammingError, match="written"):
            copy.rows()
        with pytest.raises(e.ProgrammingError, match="written"):
            aiter(copy)
        await copy.write("1\tx\n")
    async with table.cursor().copy("COPY t TO STDOUT") as copy:
        with pytest.raises(e.ProgrammingError, match="is read"):
            await copy.write("1\tx\n")
        with pytest.raises(e.ProgrammingError, match="is read"):
            await copy.write_row((1, "x"))
        assert await copy.read() == b"1\tx\n"


async def test_what_it_says_of_itself(table: AsyncConnection) -> None:
    copy = table.cursor().copy("COPY t FROM STDIN")
    assert "anyq.copy.AsyncCopy [not begun, IDLE]" in str(copy)
    async with copy:
        assert "[in, open, ACTIVE]" in repr(copy)
        assert copy.connection is table
        assert copy.cursor.connection is table
    assert "[in, finished, IDLE]" in repr(copy)
    async with table.cursor().copy(MANY) as copy:
        assert "[out, open, ACTIVE]" in repr(copy)
    assert "[out, left before its end, IDLE]" in repr(copy)


# -- how it ends


class Oops(Exception):
    pass


@pytest.mark.parametrize("rows", [0, 1, 5000])
@pytest.mark.parametrize("mode", ["autocommit", "transaction", "block"])
async def test_an_exception_gives_a_copy_in_up(table: AsyncConnection, rows: int, mode: str) -> None:
    await table.set_autocommit(mode != "transaction")
    oops = Oops("x" * 100_000)
    with pytest.raises(Oops) as raised:
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            for i in range(rows):
                await copy.write_row((i, "x" * 30))
            raise oops
    assert raised.value is oops
    await check_usable(table, INERROR if mode == "transaction" else IDLE)
    if mode == "block":
        with pytest.raises(Oops):
            async with table.transaction(), table.cursor().copy("COPY t FROM STDIN") as copy:
                raise oops
        assert status(table) is IDLE
    assert await content(table) == []


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize("oops", [Mute(), Oops("\0"), Oops("\ud800"), Oops("ä" * 9990), Oops(), Oops("x" * 9990)])
async def test_whatever_the_exception_says(table: AsyncConnection, oops: Exception) -> None:
    with pytest.raises(type(oops)) as raised:
        async with table.cursor().copy("COPY t FROM STDIN"):
            raise oops
    assert raised.value is oops
    assert await content(table) == []


async def test_the_server_is_told_why() -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"COPY t FROM STDIN")
        await client.send(be.CopyInResponse(Format.TEXT, (Format.TEXT,)))
        failed = await client.expect(fm.CopyFail)
        assert failed.reason.startswith(b"Oops: xxxx")
        assert len(failed.reason) < 9_900
        await client.send(be.ErrorResponse({"S": "ERROR", "C": "57014", "M": "failed"}), READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server, AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
        with pytest.raises(Oops):
            async with conn.cursor().copy("COPY t FROM STDIN") as copy:
                await copy.write("1")
                raise Oops("x" * 50_000)


@pytest.mark.parametrize("how", ["generator", "generator in a transaction"])
async def test_a_generator_that_is_closed(table: AsyncConnection, how: str) -> None:
    await table.set_autocommit(how == "generator")

    async def rows() -> AsyncIterator[int]:
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            for i in range(10):
                await copy.write_row((i, "x"))
                yield i

    generator: Any = rows()
    assert await anext(generator) == 0
    await generator.aclose()
    if how != "generator":
        # Failed by the CopyFail: a COPY that had come to its end would leave it INTRANS.
        with pytest.raises(e.InFailedSqlTransaction):
            await table.execute("SELECT 1")
        await table.rollback()
    assert await content(table) == []
    await table.rollback()


@pytest.mark.parametrize("statement", [THREE, MANY])
@pytest.mark.parametrize("mode", ["autocommit", "transaction"])
async def test_a_generator_that_reads_is_closed(table: AsyncConnection, statement: Any, mode: str) -> None:
    """Nothing is waited for there, so it is the next statement that finds the same state each time."""
    await table.set_autocommit(mode == "autocommit")

    async def rows() -> AsyncIterator[Any]:
        async with table.cursor().copy(statement) as copy:
            async for row in copy.rows():
                yield row

    generator: Any = rows()
    assert await anext(generator) == ("1",)
    await generator.aclose()
    if mode == "transaction":
        with pytest.raises(e.InFailedSqlTransaction):
            await table.execute("SELECT 1")
    await table.rollback()
    await check_usable(table)


@pytest.mark.parametrize(
    "statement", [THREE, MANY, "COPY (SELECT repeat('x', 1000000), 1, 2 FROM generate_series(1, 99)) TO STDOUT"]
)
@pytest.mark.parametrize("how", ["break", "error", "no read"])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("mode", ["autocommit", "transaction"])
async def test_a_copy_out_left_early(table: AsyncConnection, statement: Any, how: str, rows: bool, mode: str) -> None:
    """The same state, however much of it has arrived."""
    await table.set_autocommit(mode == "autocommit")
    if mode == "transaction":
        await table.execute("INSERT INTO t VALUES (1, 'x')")
    try:
        async with table.cursor().copy(statement) as copy:
            if how != "no read":
                async for _ in copy.rows() if rows else copy:
                    if how == "error":
                        raise Oops
                    break
    except Oops:
        assert how == "error"
    await check_usable(table, IDLE if mode == "autocommit" else INERROR)


@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
@pytest.mark.parametrize("extra", [0, 1])
async def test_all_data_read_is_the_end(table: AsyncConnection, options: str, extra: int) -> None:
    """Whether somebody has looked for more or not."""
    await table.set_autocommit(False)
    cur = table.cursor()
    async with cur.copy(f"{THREE}{options}".encode()) as copy:
        for _ in range(3 + extra):
            await copy.read_row()
    assert (cur.rowcount, cur.statusmessage) == (3, "COPY 3")
    await check_usable(table, INTRANS)


async def test_an_exception_behind_the_end(table: AsyncConnection) -> None:
    await table.set_autocommit(False)
    with pytest.raises(Oops):
        async with table.cursor().copy(THREE) as copy:
            assert len([data async for data in copy]) == 3
            raise Oops
    await check_usable(table, INTRANS)


async def test_in_transactions(table: AsyncConnection) -> None:
    await table.set_autocommit(False)
    async with table.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write_row((1, "x"))
    assert status(table) is INTRANS
    await table.rollback()
    async with table.transaction():
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write_row((2, "x"))
        with pytest.raises(Oops):
            async with table.transaction(), table.cursor().copy("COPY t FROM STDIN") as copy:
                await copy.write_row((3, "x"))
                raise Oops
        with pytest.raises(e.InvalidTextRepresentation):
            async with table.transaction(), table.cursor().copy("COPY t FROM STDIN") as copy:
                await copy.write("no number\tx\n")
        async with table.transaction(), table.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write_row((4, "x"))
    assert status(table) is IDLE
    assert [row[0] for row in await content(table)] == [2, 4]


async def test_a_transaction_that_ends_around_it(table: AsyncConnection) -> None:
    """By an exception, where nobody leaves the block of the COPY."""
    left = []
    with pytest.raises(Oops):
        async with table.transaction():
            copy = table.cursor().copy("COPY t FROM STDIN")
            left.append(await copy.__aenter__())
            await copy.write_row((1, "x"))
            raise Oops
    await check_usable(table)
    with pytest.raises(e.Error):
        await left[0].finish()
    assert await content(table) == []


async def test_a_copy_that_is_dropped(table: AsyncConnection) -> None:
    copy = table.cursor().copy("COPY t FROM STDIN")
    await copy.__aenter__()
    await copy.write_row((1, "x"))
    gone = weakref.ref(copy)
    del copy
    assert gone() is None
    await anyio.wait_all_tasks_blocked()
    assert await content(table) == []


async def test_nothing_is_kept_for_one_that_was_read_to_its_end(table: AsyncConnection) -> None:
    """What would be done if it were dropped has hold of the connection, for as long as anybody has the COPY."""
    async with table.cursor().copy("COPY t TO STDOUT") as copy:
        assert [row async for row in copy.rows()] == []
    assert not [watch for watch in finalizers._pending.values() if watch() is copy]


async def test_the_connection_is_closed_within(table: AsyncConnection) -> None:
    with pytest.raises(e.OperationalError, match="closed"):
        async with table.cursor().copy("COPY t FROM STDIN") as copy:
            await table.close()
    with pytest.raises(e.OperationalError, match="closed"):
        async with table.cursor().copy("COPY t FROM STDIN"):
            pass
    del copy


# -- writers


class Kept(AsyncWriter):
    def __init__(self) -> None:
        self.data = b""
        self.ended: list[BaseException | None] = []

    async def write(self, data: Any) -> None:
        self.data += data

    async def finish(self, exc: BaseException | None = None) -> None:
        self.ended.append(exc)


async def test_a_writer_instead_of_the_server(table: AsyncConnection) -> None:
    kept = Kept()
    cur = table.cursor()
    async with cur.copy("COPY t FROM STDIN", writer=kept) as copy:
        await copy.write("1\tx\n")
        await copy.write_row((2, None))
        await copy.write("3\ty\n" * 50_000)
    assert kept.data == b"1\tx\n2\t\\N\n" + b"3\ty\n" * 50_000
    assert kept.ended == [None]
    assert (cur.rowcount, await content(table)) == (0, [])


async def test_a_writer_of_binary_rows(table: AsyncConnection) -> None:
    kept = Kept()
    async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)", writer=kept) as copy:
        copy.set_types(["int4", "text"])
        await copy.write_row((1, "x"))
    async with AsyncCopy(table.cursor(), binary=True, writer=(other := Kept())) as copy:
        copy.set_types(["int4", "text"])
        await copy.write_row((1, "x"))
    assert kept.data == other.data
    assert kept.data.startswith(BINARY_HEADER)
    assert kept.data.endswith(BINARY_TRAILER)
    async with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        await copy.write(kept.data)
    assert await content(table) == [(1, "x")]


async def test_a_writer_is_told_of_exceptions(table: AsyncConnection) -> None:
    kept, oops = Kept(), Oops()
    with pytest.raises(Oops):
        async with table.cursor().copy("COPY t FROM STDIN", writer=kept) as copy:
            await copy.write_row((1, "x"))
            raise oops
    assert kept.ended == [oops]
    await check_usable(table)


class Failing(Kept):
    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    async def write(self, data: Any) -> None:
        if self.when == "write":
            raise Oops

    async def finish(self, exc: BaseException | None = None) -> None:
        if self.when == "finish":
            raise Oops


@pytest.mark.parametrize("when", ["write", "finish"])
async def test_a_writer_that_fails(table: AsyncConnection, when: str) -> None:
    with pytest.raises(Oops):
        async with table.cursor().copy("COPY t FROM STDIN", writer=Failing(when)) as copy:
            await copy.write_row((1, "x"))
    await check_usable(table)


@pytest.mark.parametrize("writer", [5, "file", io.BytesIO(), FileWriter(io.BytesIO()), Failing])
async def test_what_is_no_writer(table: AsyncConnection, writer: Any) -> None:
    with pytest.raises(TypeError, match=r"write\(data\) and finish\(exc\), which are coroutine functions"):
        table.cursor().copy("COPY t FROM STDIN", writer=writer)
    with pytest.raises(TypeError, match="AsyncWriter"):
        AsyncCopy(table.cursor(), writer=writer)
