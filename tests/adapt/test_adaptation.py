"""Adapters in use: registered on a cursor, a connection or globally, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import anyq
from anyq import AsyncConnection, AsyncCursor, TransactionStatus
from anyq import errors as e
from anyq.adapt import AdaptersMap, Dumper, Loader
from anyq.adapt.typeinfo import TypeInfo
from anyq.protocol.constants import Format
from anyq.types import geometric
from tests.support.adapters import global_map_restored
from tests.support.memory import needs_proc, peak_growth
from tests.support.state import status

pytestmark = pytest.mark.anyio


class Point:
    """A class that the driver does not know."""

    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)


class PointDumper(Dumper):
    oid = 600

    def dump(self, obj: Point) -> bytes:
        return f"({obj.x},{obj.y})".encode()


class PointLoader(Loader):
    def load(self, data: bytes) -> Point:
        x, y = data.decode().strip("()").split(",")
        return Point(float(x), float(y))


class Shouting(Dumper):
    """Dumps strings in capitals."""

    def dump(self, obj: str) -> bytes:
        return obj.upper().encode()


class Broken(Loader):
    def load(self, data: bytes) -> Any:
        raise ValueError(f"cannot load {data!r}")


class BrokenBinary(Broken):
    format = Format.BINARY


async def fetch_value(context: AsyncConnection | AsyncCursor, query: Any, params: Any = None, **options: Any) -> Any:
    cur = context.cursor() if isinstance(context, AsyncConnection) else context
    await cur.execute(query, params, **options)
    row = await cur.fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def global_map() -> Iterator[AdaptersMap]:
    """The global map; what a test registers there is undone."""
    with global_map_restored() as adapters:
        yield adapters


# -- dumpers and loaders of one's own


async def test_on_a_connection(conn: AsyncConnection, dsn: str) -> None:
    with pytest.raises(e.ProgrammingError, match="cannot adapt type 'Point'"):
        await conn.execute("SELECT %s", [Point(1, 2)])
    assert await fetch_value(conn, "SELECT '(1,2)'::point") == geometric.Point(1, 2)
    conn.adapters.register_dumper(Point, PointDumper)
    conn.adapters.register_loader("point", PointLoader)
    for context in (conn, conn.cursor()):
        assert await fetch_value(context, "SELECT %s", [Point(1, 2.5)]) == Point(1, 2.5)
        assert await fetch_value(context, "SELECT %(a)s", {"a": Point(1, 2.5)}) == Point(1, 2.5)
        assert await fetch_value(context, "SELECT %s::text", [Point(1, 2.5)]) == "(1,2.5)"
        # Within other values, too.
        points = [Point(1, 2), None, Point(3, 4)]
        assert await fetch_value(context, "SELECT %s", [points]) == points
    async with AsyncConnection.connect(dsn) as other:
        assert await fetch_value(other, "SELECT '(1,2)'::point") == geometric.Point(1, 2)
        with pytest.raises(e.ProgrammingError):
            await other.execute("SELECT %s", [Point(1, 2)])


async def test_on_a_cursor(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    cur.adapters.register_dumper(Point, PointDumper)
    cur.adapters.register_loader("point", PointLoader)
    assert await fetch_value(cur, "SELECT %s", [Point(1, 2)]) == Point(1, 2)
    assert [row async for row in cur.stream("SELECT %s", [Point(1, 2)])] == [(Point(1, 2),)]
    await cur.executemany("SELECT %s", [(Point(1, 2),), (Point(3, 4),)], returning=True)
    assert [await result.fetchone() async for result in cur.results()] == [(Point(1, 2),), (Point(3, 4),)]
    assert await fetch_value(conn, "SELECT '(1,2)'::point") == geometric.Point(1, 2)
    with pytest.raises(e.ProgrammingError):
        await conn.execute("SELECT %s", [Point(1, 2)])


async def test_globally(global_map: AdaptersMap, conn: AsyncConnection, dsn: str) -> None:
    global_map.register_dumper(Point, PointDumper)
    global_map.register_loader("point", PointLoader)
    async with AsyncConnection.connect(dsn) as other:
        assert await fetch_value(other, "SELECT %s", [Point(1, 2)]) == Point(1, 2)
    # Connections that are open already keep what they have.
    assert await fetch_value(conn, "SELECT '(1,2)'::point") == geometric.Point(1, 2)


async def test_globally_and_undone(conn: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError):
        await conn.execute("SELECT %s", [Point(1, 2)])
    assert await fetch_value(conn, "SELECT '(1,2)'::point") == geometric.Point(1, 2)


async def test_from_a_context_of_the_connection(dsn: str, anyio_backend: Any) -> None:
    context = AdaptersMap(anyq.adapters)
    context.register_dumper(str, Shouting)
    async with AsyncConnection.connect(dsn, context=context) as conn:
        assert await fetch_value(conn, "SELECT %s", ["x"]) == "X"
        assert await fetch_value(conn, "SELECT %s::int", [1]) == 1


async def test_instead_of_a_built_in_one(conn: AsyncConnection) -> None:
    assert await fetch_value(conn, "SELECT %s", ["x"]) == "x"
    conn.adapters.register_dumper(str, Shouting)
    assert await fetch_value(conn, "SELECT %s", ["x"]) == "X"
    assert await fetch_value(conn, "SELECT %t", ["x"]) == "X"
    # It writes text, so the other format is still the built-in one's.
    assert await fetch_value(conn, "SELECT %b", ["x"]) == "x"


async def test_registered_between_two_executions(conn: AsyncConnection) -> None:
    conn.prepare_threshold = 0
    cur = conn.cursor()
    for binary in (None, False, True):
        assert await fetch_value(cur, "SELECT 1", binary=binary) == 1

    class Negative(Loader):
        def load(self, data: bytes) -> int:
            return -1

    class NegativeBinary(Negative):
        format = Format.BINARY

    conn.adapters.register_loader("int4", Negative)
    assert await fetch_value(conn.cursor(), "SELECT 1", binary=False) == -1
    conn.adapters.register_loader("int4", NegativeBinary)
    for binary in (None, False, True):
        assert await fetch_value(conn.cursor(), "SELECT 1", binary=binary) == -1
        assert await fetch_value(conn, "SELECT 1", binary=binary) == -1
        # A cursor keeps what it was made with.
        assert await fetch_value(cur, "SELECT 1", binary=binary) == 1
    cur.adapters.register_loader("int4", NegativeBinary)
    for binary in (None, True):
        assert await fetch_value(cur, "SELECT 1", binary=binary) == -1
    assert await fetch_value(cur, "SELECT 1", binary=False) == 1


async def test_a_cursor_keeps_what_it_was_made_with(conn: AsyncConnection) -> None:
    first = conn.cursor()
    await first.execute("SELECT generate_series(1, 3)::text")
    assert await first.fetchone() == ("1",)
    with pytest.raises(e.ProgrammingError):
        await first.execute("SELECT %s", [Point(1, 2)])
    await conn.rollback()
    await first.execute("SELECT generate_series(1, 3)::text")

    class Loud(Loader):
        def load(self, data: bytes) -> str:
            return f"{data.decode()}!"

    conn.adapters.register_loader("text", Loud)
    second = conn.cursor()
    conn.adapters.register_dumper(Point, PointDumper)
    third = conn.cursor()
    # Rows that are not fetched yet are the cursor's as well.
    assert await first.fetchall() == [("1",), ("2",), ("3",)]
    many: list[Any] = []
    for cur in (first, second, third):
        await cur.execute("SELECT 'a'::text")
        many.append((await cur.fetchone(), [row async for row in cur.stream("SELECT 'a'::text")]))
    assert many == [(("a",), [("a",)]), (("a!",), [("a!",)]), (("a!",), [("a!",)])]
    for cur in (first, second):
        with pytest.raises(e.ProgrammingError, match="cannot adapt type 'Point'"):
            await cur.execute("SELECT %s", [Point(1, 2)])
        with pytest.raises(e.ProgrammingError, match="cannot adapt type 'Point'"):
            await cur.executemany("SELECT %s", [[Point(1, 2)]])
    await third.execute("SELECT %s::text", [Point(1, 2)])
    # What is registered on one is of that one alone.
    first.adapters.register_dumper(Point, PointDumper)
    await first.execute("SELECT %s::text", [Point(1, 2)])
    assert await first.fetchone() == ("(1,2)",)
    with pytest.raises(e.ProgrammingError):
        await second.execute("SELECT %s", [Point(1, 2)])


async def test_a_dumper_by_the_name_of_the_class(conn: AsyncConnection) -> None:
    conn.adapters.register_dumper(f"{Point.__module__}.{Point.__qualname__}", PointDumper)
    assert await fetch_value(conn, "SELECT %s::text", [Point(1, 2)]) == "(1,2)"


class Unencoded(Dumper):
    oid = 25

    def dump(self, obj: Point) -> Any:
        return f"({obj.x},{obj.y})"


async def test_a_dumper_that_gives_str(conn: AsyncConnection[Any]) -> None:
    """It is told of wherever a value goes to, and nothing has been sent."""
    conn.adapters.register_dumper(Point, Unencoded)
    point = Point(1, 2)
    await conn.execute("create temp table words (word text)")

    async def copy() -> None:
        async with conn.cursor().copy("copy words from stdin") as copy:
            await copy.write_row([point])

    async def queue() -> None:
        async with conn.pipeline():
            await conn.execute("select %s", [point])

    async def prepared() -> None:
        for word in ("a", "b", point):
            await conn.execute("select %s", [word], prepare=True)

    message = r"Unencoded\.dump\(\) returned str, and has to return bytes: return text\.encode\(\)"
    for refused in (
        lambda: conn.execute("select %s", [point]),
        lambda: conn.cursor().executemany("insert into words values (%s)", [["a"], [point]]),
        lambda: anyq.AsyncClientCursor(conn).execute("select %s", [point]),
        lambda: anyq.AsyncRawCursor(conn).execute("select $1", [point]),
        prepared,
        copy,
        queue,
    ):
        with pytest.raises(e.ProgrammingError, match=message):
            async with conn.transaction():
                await refused()
        assert status(conn) == TransactionStatus.INTRANS
    await conn.rollback()


async def test_a_dumper_that_gives_null(conn: AsyncConnection) -> None:
    class EmptyIsNull(Dumper):
        def dump(self, obj: str) -> bytes | None:
            return obj.encode() or None

    conn.adapters.register_dumper(str, EmptyIsNull)
    assert await fetch_value(conn, "SELECT %s::text", [""]) is None
    assert await fetch_value(conn, "SELECT %s::text", ["x"]) == "x"


async def test_in_a_client_cursor(conn: AsyncConnection) -> None:
    cur = anyq.AsyncClientCursor(conn)
    cur.adapters.register_dumper(Point, PointDumper)
    cur.adapters.register_loader("point", PointLoader)
    assert cur.mogrify("SELECT %s", [Point(1, 2)]) == "SELECT '(1,2)'::point"
    assert await fetch_value(cur, "SELECT %s", [Point(1, 2)]) == Point(1, 2)


# -- adapters that fail


async def test_a_dumper_that_raises(conn: AsyncConnection) -> None:
    class Refusing(Dumper):
        def dump(self, obj: Point) -> bytes:
            raise ValueError("no points today")

    conn.adapters.register_dumper(Point, Refusing)
    with pytest.raises(ValueError, match="no points today"):
        await conn.execute("SELECT %s", [Point(1, 2)])
    with pytest.raises(ValueError, match="no points today"):
        await conn.cursor().executemany("SELECT %s", [(1,), (Point(1, 2),)])
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await fetch_value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("how", ["text", "binary", "prepared", "several", "big", "stream", "many"])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_a_loader_that_raises(conn: AsyncConnection, how: str, autocommit: bool) -> None:
    await conn.set_autocommit(autocommit)
    cur = conn.cursor()
    cur.adapters.register_loader("text", Broken)
    cur.adapters.register_loader("text", BrokenBinary)
    with pytest.raises(ValueError, match="cannot load b'x"):
        if how == "several":
            await cur.execute("SELECT 1; SELECT 'x'::text FROM generate_series(1, 10000); SELECT 2")
        elif how == "big":
            await cur.execute("SELECT repeat('x', 1000000), 1 FROM generate_series(1, 3)")
        elif how == "stream":
            [row async for row in cur.stream("SELECT 'x'::text FROM generate_series(1, 10000)")]
        elif how == "many":
            await cur.executemany("SELECT repeat('x', %s)", [(1,), (2,)], returning=True)
        else:
            query: Any = "SELECT x, repeat('x', x) FROM generate_series(1, 1000) AS x"
            await cur.execute(query, binary=how == "binary" or None, prepare=how == "prepared")
        # Rows are loaded when they are fetched.
        if how == "several":
            await cur.set_result(1)
        assert cur.rowcount > 0
        await cur.fetchall()
    if how == "stream":
        # Its query was cancelled, unless it was at its end already; so the transaction may have failed.
        await conn.rollback()
        assert await (await conn.execute("SELECT 1")).fetchone() == (1,)
        return
    # As for the server nothing has failed, and the transaction goes on.
    status = TransactionStatus.IDLE if autocommit else TransactionStatus.INTRANS
    assert conn.info.transaction_status is status
    for _ in range(3):
        assert await fetch_value(conn, "SELECT 'y'::text") == "y"
    assert await fetch_value(cur, "SELECT %s::int", [1]) == 1


async def test_a_loader_that_raises_for_one_value(conn: AsyncConnection) -> None:
    class Odd(Loader):
        def load(self, data: bytes) -> int:
            if data == b"500":
                raise ValueError("five hundred")
            return int(data)

    cur = conn.cursor()
    cur.adapters.register_loader("int4", Odd)
    await cur.execute("SELECT generate_series(1, 1000)")
    assert len(await cur.fetchmany(499)) == 499
    with pytest.raises(ValueError, match="five hundred"):
        await cur.fetchone()
    assert len(await cur.fetchall()) == 500
    assert await (await cur.execute("SELECT generate_series(1, 3)")).fetchall() == [(1,), (2,), (3,)]


async def test_a_loader_that_raises_leaves_other_tasks_alone(conn: AsyncConnection) -> None:
    import anyio

    broken = conn.cursor()
    broken.adapters.register_loader("text", Broken)
    seen: list[Any] = []

    async def fail() -> None:
        with pytest.raises(ValueError):
            await (await broken.execute("SELECT 'x'::text FROM generate_series(1, 5000)")).fetchall()

    async def query() -> None:
        seen.append(await (await conn.execute("SELECT 'y'::text FROM generate_series(1, 5000)")).fetchall())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(query)
        tasks.start_soon(fail)
        tasks.start_soon(query)
    assert seen == [[("y",)] * 5000] * 2


async def test_a_loader_that_cannot_be_made(conn: AsyncConnection) -> None:
    class Unwilling(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            raise RuntimeError("not made")

        def load(self, data: bytes) -> Any:
            return data

    cur = conn.cursor()
    cur.adapters.register_loader("text", Unwilling)
    await cur.execute("SELECT 'x'::text FROM generate_series(1, 5000)")
    with pytest.raises(RuntimeError, match="not made"):
        await cur.fetchall()
    assert await fetch_value(conn, "SELECT 'y'::text") == "y"


async def test_values_that_python_cannot_hold(conn: AsyncConnection) -> None:
    for value in ("infinity", "10000-01-01", "0044-03-15 BC"):
        for binary in (False, True):
            cur = await conn.execute("SELECT %s::date", [value], binary=binary)
            with pytest.raises(e.DataError, match="column 'date'"):
                await cur.fetchone()
            assert await fetch_value(conn, "SELECT 1") == 1


# -- types of the user's


async def test_types_that_nobody_registered(conn: AsyncConnection) -> None:
    await conn.execute(
        "CREATE TYPE pg_temp.mood AS ENUM ('happy', 'it''s \"so-so\"');"
        "CREATE TYPE pg_temp.pair AS (a int, b text);"
        "CREATE DOMAIN pg_temp.positive AS int CHECK (VALUE > 0)"
    )
    wishes: list[dict[str, Any]] = [{}, {"binary": True}, {"binary": False}, {"prepare": True}, {"prepare": True}]
    for options in wishes:
        values = await conn.cursor().execute(
            "SELECT 'happy'::pg_temp.mood, ARRAY['happy', NULL]::pg_temp.mood[], (1, 'x')::pg_temp.pair,"
            " 5::pg_temp.positive, '08:00:2b:01:02:03'::macaddr, '16/B374D848'::pg_lsn",
            **options,
        )
        assert await values.fetchone() == ("happy", "{happy,NULL}", "(1,x)", 5, "08:00:2b:01:02:03", "16/B374D848")


async def test_fetch_and_register(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('happy', 'sad')")
    info = await TypeInfo.fetch(conn, "pg_temp.mood")
    assert info is not None
    row = await (await conn.execute("SELECT 'pg_temp.mood'::regtype::oid, 'pg_temp.mood[]'::regtype::oid")).fetchone()
    assert (info.name, (info.oid, info.array_oid)) == ("mood", row)
    info.register(conn)
    wishes: list[dict[str, Any]] = [{}, {"binary": True}, {"prepare": True}, {"prepare": True}]
    for options in wishes:
        assert await fetch_value(conn, "SELECT ARRAY['happy', NULL]::pg_temp.mood[]", **options) == ["happy", None]
    assert conn.adapters.types["mood"] is info

    class MoodLoader(Loader):
        def load(self, data: bytes) -> str:
            return f"feeling {data.decode()}"

    conn.adapters.register_loader("mood", MoodLoader)
    assert await fetch_value(conn, "SELECT 'sad'::pg_temp.mood") == "feeling sad"
    assert await fetch_value(conn, "SELECT '{sad}'::pg_temp.mood[]") == ["feeling sad"]


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("name", ["no_such_type", "no_such_schema.t", anyq.sql.Identifier("No such", "t")])
async def test_fetch_of_a_missing_type(conn: AsyncConnection, name: Any, autocommit: bool) -> None:
    await conn.set_autocommit(autocommit)
    assert await TypeInfo.fetch(conn, name) is None
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await fetch_value(conn, "SELECT 1") == 1
    if not autocommit:
        # In a transaction it leaves that as it was.
        assert await TypeInfo.fetch(conn, name) is None
        assert status(conn) is TransactionStatus.INTRANS


# -- memory


@pytest.mark.once
@needs_proc
@pytest.mark.parametrize(("how", "size"), [("execute", 50_000_000), ("stream", 50_000_000)])
def test_a_big_value_is_received_once(anyio_backend: Any, dsn: str, how: str, size: int) -> None:
    # convert_to() is the way to a bytea that takes the server the least time.
    body = {
        "execute": """
            cur = await conn.execute("SELECT convert_to(repeat('x', {0}), 'UTF8')", binary=True)
            ((value,),) = await cur.fetchall()
            assert len(value) == {0} and value[-1:] == b"x"
            """,
        "stream": """
            async for (value,) in conn.cursor().stream("SELECT convert_to(repeat('x', {0}), 'UTF8')", binary=True):
                assert len(value) == {0} and value[-1:] == b"x"
            """,
    }[how]
    growth = peak_growth(dsn, anyio_backend, body.format(size))
    # Less than one copy would mean that the peak was not measured.
    assert 0.9 * size < growth < 1.6 * size


async def test_the_loader_registered_last_decides_the_format(conn: AsyncConnection) -> None:
    """Also of statements that are prepared, whose results come in binary where that is preferred."""

    class Shout(Loader):
        def load(self, data: bytes) -> str:
            return data.decode() + "!"

    conn.adapters.register_loader("date", Shout)
    for _ in range(8):
        cur = await conn.execute("SELECT '2026-02-28'::date, %s::int4", (1,))
        assert await cur.fetchone() == ("2026-02-28!", 1)
