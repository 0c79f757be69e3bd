"""SQLAlchemy, on the dialect that it has for psycopg.

Tests of an inner pytest, which `tests/contrib/psycopg/test_sqlalchemy.py` runs. anyq has a dialect of its own, which is
tested elsewhere; this one is for programs that name psycopg's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, INET, INT4RANGE, JSONB, Range
from sqlalchemy.ext.asyncio import create_async_engine

import anyq
from anyq.conninfo import conninfo_to_dict

GIVEN: dict[str, Any] = conninfo_to_dict(os.environ["ANYQ_PROGRAM_DSN"])
PLACE: dict[str, str] = {name: str(GIVEN[name]) for name in ("host", "port") if name in GIVEN}
PLACE["options"] = f"-c search_path={os.environ['ANYQ_PROGRAM_SCHEMA']}"
URL = sa.URL.create(
    "postgresql+psycopg",
    username=GIVEN.get("user"),
    password=GIVEN.get("password"),
    database=GIVEN.get("dbname"),
    query=PLACE,
)
METADATA = sa.MetaData()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40), unique=True),
    sa.Column("tags", ARRAY(sa.String)),
    sa.Column("data", JSONB),
    sa.Column("numbers", INT4RANGE),
    sa.Column("mood", ENUM("it's", "so so", name="mood")),
    sa.Column("address", INET),
)
ROW: dict[str, Any] = {
    "tags": ["a", "it's"],
    "data": {"x": [1, None]},
    "numbers": Range(1, 5),
    "mood": "it's",
    "address": "10.0.0.1",
}
ROWS: list[dict[str, Any]] = [{"name": f"n{number:03}", **ROW} for number in range(100)]


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine(URL)
    METADATA.create_all(engine)
    yield engine
    METADATA.drop_all(engine)
    engine.dispose()


def test_values(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        driver: Any = psycopg
        assert driver.Connection is anyq.Connection
        assert type(conn.connection.dbapi_connection).__module__ == "anyq.sync.connection"
        assert len(conn.execute(THINGS.insert().returning(THINGS.c.id), ROWS).all()) == 100
        found = conn.execute(sa.select(THINGS).order_by(THINGS.c.name)).mappings().first()
        assert found is not None
        assert {
            name: str(value) if name == "address" else value for name, value in found.items() if name != "id"
        } == ROWS[0]
        assert conn.execute(THINGS.update().where(THINGS.c.id < 0).values(name="z")).rowcount == 0
        assert conn.execute(THINGS.update().values(data={})).rowcount == 100
        names = conn.execute(
            sa.select(THINGS.c.name).order_by(THINGS.c.name).execution_options(stream_results=True, max_row_buffer=7)
        )
        assert names.fetchmany(5) + list(names) == [(row["name"],) for row in ROWS]
    columns = {column["name"]: column for column in sa.inspect(engine).get_columns("things")}
    assert isinstance(columns["tags"]["type"], ARRAY)
    assert isinstance(columns["mood"]["type"], ENUM)


def test_transactions(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as conn:
        conn.execute(THINGS.insert(), ROWS[0])
        with pytest.raises(sa.exc.IntegrityError) as caught, conn.begin_nested():
            conn.execute(THINGS.insert(), ROWS[0])
        assert isinstance(caught.value.orig, anyq.errors.UniqueViolation)
        assert conn.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
        conn.rollback()
        assert conn.scalar(sa.select(sa.func.count()).select_from(THINGS)) == 0


def test_a_lost_connection(engine: sa.Engine) -> None:
    pid, end = sa.text("SELECT pg_backend_pid()"), sa.text("SELECT pg_terminate_backend(:pid, 10000)")
    with engine.connect() as conn, engine.connect() as other:
        before = conn.scalar(pid)
        other.execute(end, {"pid": before})
        with pytest.raises(sa.exc.DBAPIError) as caught:
            conn.scalar(pid)
        assert caught.value.connection_invalidated
    with engine.connect() as conn:
        assert conn.scalar(pid) != before


def test_asynchronous_engines(engine: sa.Engine) -> None:
    async def main() -> None:
        asynchronous = create_async_engine(URL)
        async with asynchronous.begin() as conn:
            await conn.execute(THINGS.insert(), ROWS)
            assert await conn.scalar(sa.select(sa.func.count()).select_from(THINGS)) == 100
            found = await conn.stream(sa.select(THINGS.c.name).order_by(THINGS.c.name))
            assert [row.name async for row in found] == [row["name"] for row in ROWS]
            assert (await conn.execute(THINGS.delete())).rowcount == 100
        await asynchronous.dispose()

    asyncio.run(main())
