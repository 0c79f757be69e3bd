"""How the dialects are found, what an URL says, and what threads and COPY do on an engine."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import anyq
from anyq.contrib.sqlalchemy import AnyqDialect, AsyncAnyqDialect
from tests.support.engines import Runner, url_of

ROOT = Path(__file__).parents[3]


def python(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_one_name_for_both() -> None:
    assert type(sa.create_engine("postgresql+anyq://").dialect) is AnyqDialect
    assert type(create_async_engine("postgresql+anyq://").sync_engine.dialect) is AsyncAnyqDialect
    assert type(create_async_engine("postgresql+anyq_async://").sync_engine.dialect) is AsyncAnyqDialect
    assert {AnyqDialect.driver, AsyncAnyqDialect.driver} == {"anyq"}


def test_how_it_is_found() -> None:
    points = {point.name: point.load() for point in entry_points(group="sqlalchemy.dialects") if "anyq" in point.name}
    assert points == {"postgresql.anyq": AnyqDialect, "postgresql.anyq_async": AsyncAnyqDialect}


def test_anyq_does_not_load_it() -> None:
    program = "import sys, anyq; print([name for name in sys.modules if 'contrib' in name or 'sqlalchemy' in name])"
    assert python(program).strip() == "[]"


WITHOUT_PSYCOPG = """
import asyncio, sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("psycopg", "psycopg2", "psycopg_pool", "psycopg_binary"):
            raise ImportError(f"refused: {name}")
sys.meta_path.insert(0, Refusing())

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import create_async_engine

url = sa.make_url(sys.argv[1])

def queries(conn):
    for value, kind in [({"a": 1}, pg.JSONB), ({"a": 1}, sa.JSON), (pg.Range(1, 2), pg.INT4RANGE),
                        ([pg.Range(1, 2)], pg.INT4MULTIRANGE), ([1, 2], sa.ARRAY(sa.Integer))]:
        assert conn.scalar(sa.select(sa.literal(value, kind))) == value
    conn.execution_options(stream_results=True).execute(sa.text("SELECT 1")).all()
    conn.rollback()
    conn.execution_options(isolation_level="SERIALIZABLE").scalar(sa.text("SELECT 1"))

options = dict(native_inet_types=False, json_serializer=__import__("json").dumps,
               json_deserializer=__import__("json").loads, pool_pre_ping=True)
engine = sa.create_engine(url, **options)
with engine.connect() as conn:
    queries(conn)
engine.dispose()

async def main():
    engine = create_async_engine(url, **options)
    async with engine.connect() as conn:
        await conn.run_sync(queries)
    await engine.dispose()

asyncio.run(main())
print([name for name in sys.modules if name.startswith("psycopg")])
"""


def test_psycopg_need_not_be_there(dsn: str) -> None:
    url = url_of(dsn).render_as_string(hide_password=False)
    assert python(WITHOUT_PSYCOPG, url).strip() == "[]"


# -- URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("u:p@h:5433/d", {"user": "u", "password": "p", "host": "h", "port": 5433, "dbname": "d"}),
        ("u@/d?host=h1:1&host=h2:2", {"user": "u", "dbname": "d", "host": "h1,h2", "port": "1,2"}),
        ("u@/d?host=h1,h2&port=1,2", {"user": "u", "dbname": "d", "host": "h1,h2", "port": "1,2"}),
        ("u@/d?host=h1&host=h2", {"user": "u", "dbname": "d", "host": "h1,h2", "port": ","}),
        ("u@/d?host=/tmp/a:b", {"user": "u", "dbname": "d", "host": "/tmp/a:b"}),
        ("/d?sslmode=disable&connect_timeout=3", {"dbname": "d", "sslmode": "disable", "connect_timeout": "3"}),
    ],
)
def test_what_a_url_becomes(url: str, expected: dict[str, Any]) -> None:
    dialect = sa.create_engine("postgresql+anyq://").dialect
    args, kwargs = dialect.create_connect_args(sa.make_url(f"postgresql+anyq://{url}"))
    assert isinstance(kwargs.pop("context"), anyq.AdaptersMap)
    assert (list(args), kwargs) == ([], expected)


def test_nothing_in_a_url() -> None:
    dialect = sa.create_engine("postgresql+anyq://").dialect
    args, kwargs = dialect.create_connect_args(sa.make_url("postgresql+anyq://"))
    assert (list(args), list(kwargs)) == ([""], ["context"])


def test_several_hosts(run: Runner) -> None:
    """The first one does not answer."""
    where = dict(run.url.query)
    if "port" not in where or not where["host"].startswith("/"):
        pytest.skip("a server with a socket and a port is needed")
    parts = [f"127.0.0.1:{1}", f"{where['host']}:{where['port']}"]
    for query in ({"host": parts}, {"host": f"127.0.0.1,{where['host']}", "port": f"1,{where['port']}"}):
        url = run.url.set(query=query)
        assert run.connection(lambda conn: conn.scalar(sa.text("SELECT 1")), url=url) == 1


def test_what_connect_takes_by_the_url(run: Runner) -> None:
    def threshold(conn: sa.Connection) -> Any:
        connection: Any = conn.connection.driver_connection
        return connection.prepare_threshold

    assert run.connection(threshold) == 5
    for given, expected in (("0", 0), ("12", 12), ("none", None)):
        url = run.url.update_query_dict({"prepare_threshold": given})
        assert run.connection(threshold, url=url) == expected


def test_the_client_encoding(run: Runner) -> None:
    shown = sa.text("SELECT current_setting('client_encoding'), '\u20ac'")
    assert run.connection(lambda conn: conn.execute(shown).one(), client_encoding="win1252") == ("WIN1252", "\u20ac")


# -- the driver's own


def test_copy(dsn: str) -> None:
    engine = sa.create_engine(url_of(dsn))
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE TEMPORARY TABLE copied (id int, t text)"))
        driver = conn.connection.driver_connection
        assert isinstance(driver, anyq.Connection)
        with driver.cursor().copy("COPY copied FROM STDIN") as copy:
            for number in range(1000):
                copy.write_row((number, f"a\t{number}"))
        assert conn.execute(sa.text("SELECT count(*), max(t) FROM copied WHERE id < 10")).one() == (10, "a\t9")
    engine.dispose()


def test_threads(dsn: str) -> None:
    engine = sa.create_engine(url_of(dsn), pool_size=3, max_overflow=0)

    def query(number: int) -> Any:
        with engine.connect() as conn:
            return conn.scalar(sa.select(sa.literal(number)))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(query, range(200))) == list(range(200))
    assert engine.pool.checkedin() <= 3
    engine.dispose()
