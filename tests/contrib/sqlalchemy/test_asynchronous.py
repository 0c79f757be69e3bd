"""What is asyncio's own: sessions, tasks that are cancelled, connections that are dropped, COPY and notifications."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Integer, Text, select, text
from sqlalchemy.exc import DBAPIError, MissingGreenlet, SAWarning
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import NullPool

import anyq
from anyq import AsyncConnection
from tests.support.activity import until_sleeping
from tests.support.engines import url_of

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """SQLAlchemy knows asyncio only."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


@asynccontextmanager
async def opened(dsn: str, **options: Any) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url_of(dsn), **options)
    try:
        yield engine
    finally:
        await engine.dispose()


class Base(DeclarativeBase):
    pass


class Planet(Base):
    __tablename__ = "sa_planet"
    __table_args__ = {"prefixes": ["TEMPORARY"]}

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    moons: Mapped[list[Moon]] = relationship(order_by="Moon.name")


class Moon(Base):
    __tablename__ = "sa_moon"
    __table_args__ = {"prefixes": ["TEMPORARY"]}

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    planet_id: Mapped[int] = mapped_column(sa.ForeignKey("sa_planet.id"))
    name: Mapped[str] = mapped_column(Text)


async def test_sessions(dsn: str) -> None:
    async with opened(dsn) as engine, engine.connect() as conn:
        await conn.run_sync(Base.metadata.create_all)
        maker = async_sessionmaker(conn, expire_on_commit=False, class_=AsyncSession)
        async with maker() as session:
            session.add_all(
                [Planet(name="Mars", moons=[Moon(name="Phobos"), Moon(name="Deimos")]), Planet(name="Venus")]
            )
            await session.commit()
        async with maker() as session:
            found = await session.scalars(select(Planet).options(selectinload(Planet.moons)).order_by(Planet.name))
            assert [(planet.name, [moon.name for moon in planet.moons]) for planet in found] == [
                ("Mars", ["Deimos", "Phobos"]),
                ("Venus", []),
            ]
            names = [name async for name in await session.stream_scalars(select(Moon.name).order_by(Moon.name))]
            assert names == ["Deimos", "Phobos"]


async def test_streams(dsn: str) -> None:
    query = text("SELECT n FROM generate_series(1, 1000) AS s(n)")
    async with opened(dsn) as engine, engine.connect() as conn:
        result = await conn.stream(query, execution_options={"yield_per": 100})
        assert [row.n async for row in result] == list(range(1, 1001))
        async with conn.stream(query) as result:
            assert (await result.fetchmany(3)) == [(1,), (2,), (3,)]
        assert await conn.scalar(text("SELECT count(*) FROM pg_cursors")) == 0


async def test_a_task_that_is_cancelled(dsn: str) -> None:
    """Its query is cancelled, and neither the pool nor the server keeps anything of it."""
    async with (
        opened(dsn, pool_size=1, max_overflow=0) as engine,
        AsyncConnection.connect(dsn, autocommit=True) as other,
    ):
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def sleep() -> None:
            async with engine.connect() as conn:
                pid.set_result(await conn.scalar(text("SELECT pg_backend_pid()")))
                await conn.execute(text("SELECT pg_sleep(1000)"))

        task = asyncio.create_task(sleep())
        await until_sleeping(dsn, await pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # It does not run any more.
        query = b"SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        assert await (await other.execute(query, (pid.result(),))).fetchone() == (0,)
        async with engine.connect() as conn:
            assert await conn.scalar(text("SELECT 1")) == 1
        assert engine.pool.checkedin() == 1


async def test_a_timeout(dsn: str) -> None:
    async with opened(dsn) as engine:
        async with engine.connect() as conn:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(conn.execute(text("SELECT pg_sleep(1000)")), 0.05)
        async with engine.connect() as conn:
            assert await conn.scalar(text("SELECT 1")) == 1


async def test_one_that_is_dropped(dsn: str) -> None:
    """The garbage collector cannot wait, and the connection is closed nevertheless."""
    async with opened(dsn) as engine, AsyncConnection.connect(dsn, autocommit=True) as other:
        conn = engine.connect()
        await conn.start()
        pid = await conn.scalar(text("SELECT pg_backend_pid()"))
        driver = (await conn.get_raw_connection()).driver_connection
        assert isinstance(driver, AsyncConnection)
        is_closed = attrgetter("closed")
        assert not is_closed(driver)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del conn
            gc.collect()
        assert [warning.category for warning in caught if "non-checked-in" in str(warning.message)] == [SAWarning]
        assert "terminated" in str(caught[0].message)
        assert is_closed(driver)
        await other.execute(b"SELECT pg_terminate_backend(%s, 30000)", (pid,))


async def test_terminate_from_another_thread(dsn: str) -> None:
    async with opened(dsn, poolclass=NullPool) as engine, engine.connect() as conn:
        adapted: Any = (await conn.get_raw_connection()).dbapi_connection
        await asyncio.to_thread(adapted.terminate)
        assert adapted.closed
        with pytest.raises(DBAPIError) as caught:
            await conn.execute(text("SELECT 1"))
        assert caught.value.connection_invalidated


async def test_copy(dsn: str) -> None:
    async with opened(dsn) as engine, engine.begin() as conn:
        await conn.execute(text("CREATE TEMPORARY TABLE copied (id int, t text)"))
        driver: Any = (await conn.get_raw_connection()).driver_connection
        async with driver.cursor().copy("COPY copied FROM STDIN") as copy:
            for number in range(1000):
                await copy.write_row((number, f"a\t{number}"))
        assert (await conn.execute(text("SELECT count(*), max(t) FROM copied WHERE id < 10"))).one() == (10, "a\t9")


async def test_notifications(dsn: str) -> None:
    async with opened(dsn, isolation_level="AUTOCOMMIT") as engine, engine.connect() as conn:
        driver: Any = (await conn.get_raw_connection()).driver_connection
        async with driver.listen("sa_channel") as stream, AsyncConnection.connect(dsn, autocommit=True) as other:
            await other.notify("sa_channel", "hello")
            assert await conn.scalar(text("SELECT 1")) == 1
            assert (await stream.receive()).payload == "hello"


async def test_a_function_that_connects(dsn: str) -> None:
    made: list[AsyncConnection] = []

    async def connect() -> AsyncConnection:
        made.append(await AsyncConnection.connect(dsn))
        return made[-1]

    engine = create_async_engine("postgresql+anyq://", async_creator=connect)
    async with engine.connect() as conn:
        assert (await conn.get_raw_connection()).driver_connection is made[0]
        assert await conn.scalar(text("SELECT 1")) == 1
    await engine.dispose()
    assert [conn.closed for conn in made] == [True]


async def test_the_module_that_the_dialect_is_given() -> None:
    module: Any = create_async_engine("postgresql+anyq://").dialect.dbapi
    for name in (*anyq.__all__, "Error", "InterfaceError", "paramstyle"):
        assert getattr(module, name) is getattr(anyq, name) or name == "connect"
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018  # asking is what fails


async def test_outside_of_a_greenlet(dsn: str) -> None:
    async with opened(dsn) as engine:
        with pytest.raises(MissingGreenlet):
            engine.sync_engine.connect()


async def raw(engine: AsyncEngine, function: Callable[[Any], Any]) -> Any:
    """Call a function, in a greenlet, with what SQLAlchemy takes for a connection of PEP 249's."""
    async with engine.connect() as conn:
        return await conn.run_sync(lambda sync: function(sync.connection.dbapi_connection))


async def test_the_adapted_connection(dsn: str) -> None:
    def main(connection: Any) -> None:
        with pytest.raises(AttributeError):
            connection.prepare_threshold = 3  # a name that would be on the adapted one only
        cursor = connection.execute("SELECT n, n * 2 FROM generate_series(1, 7) AS s(n)")
        assert [column[0] for column in cursor.description] == ["n", "?column?"]
        assert (cursor.rowcount, cursor.statusmessage, cursor.arraysize) == (7, "SELECT 7", 1)
        assert cursor.fetchone() == (1, 2)
        assert cursor.fetchmany() == [(2, 4)]
        assert cursor.fetchmany(2) == [(3, 6), (4, 8)]
        assert next(iter(cursor)) == (5, 10)
        cursor.arraysize = 5
        assert cursor.fetchmany() == [(6, 12), (7, 14)]
        assert (cursor.fetchone(), cursor.fetchall()) == (None, [])
        cursor.execute("SELECT 1; SELECT 2")
        assert cursor.fetchall() == [(1,)]
        assert cursor.nextset()
        assert cursor.fetchall() == [(2,)]
        assert not cursor.nextset()
        cursor.setinputsizes([1])
        cursor.setoutputsize(1)
        cursor.close()
        named = connection.cursor("some name")
        named.execute("SELECT generate_series(1, 5)")
        assert (named.name, named.fetchone(), named.fetchmany(2), list(named)) == (
            "some name",
            (1,),
            [(2,), (3,)],
            [(4,), (5,)],
        )
        named.close()
        connection.rollback()

    async with opened(dsn) as engine:
        await raw(engine, main)


async def test_what_a_closed_cursor_says(dsn: str) -> None:
    def main(connection: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT 1 AS a")
        cursor.close()
        cursor.close()
        assert cursor.fetchall() == []
        assert [column[0] for column in cursor.description] == ["a"]

    async with opened(dsn) as engine:
        await raw(engine, main)
