"""What is registered counts where it was registered: on a cursor, on a connection, in a map, or everywhere.

`set_json_loads()` without a context is another thing, as in psycopg: tests/types/test_json.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest

import anyq
from anyq.adapt import AdaptersMap, Loader
from anyq.types import TypeInfo
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.hstore import register_hstore
from anyq.types.infinity import register_infinity
from anyq.types.interval import register_interval
from anyq.types.multirange import MultirangeInfo, register_multirange
from anyq.types.numpy import register_numpy_arrays
from anyq.types.range import RangeInfo, register_range
from anyq.types.shapely import register_shapely
from tests.support.adapters import global_map_restored

SCHEMA = """
    DROP SCHEMA IF EXISTS registered CASCADE;
    CREATE SCHEMA registered;
    CREATE TYPE registered.mood AS ENUM ('happy');
    CREATE TYPE registered.pair AS (a int, b text);
    CREATE TYPE registered.span AS RANGE (subtype = float8, multirange_type_name = registered.spans);
    CREATE DOMAIN registered.small AS int4;
"""


class Kind(NamedTuple):
    register: Callable[[Any, Any], object]
    """Fetches by a connection and registers in a context, None for everywhere."""
    query: str
    """Selects a value of another class where it counts."""


class Wrapped(Loader):
    def load(self, data: bytes) -> Any:
        return ("wrapped", data)


def with_map(register: Callable[[AdaptersMap], object]) -> Callable[[Any, Any], object]:
    return lambda conn, context: register(context.adapters if context is not None else anyq.adapters)


KINDS = {
    "enum": Kind(lambda c, x: register_enum(EnumInfo.fetch(c, "registered.mood"), x), "'happy'::registered.mood"),
    "list": Kind(lambda c, x: TypeInfo.fetch(c, "registered.mood").register(x), "'{happy}'::registered.mood[]"),
    "domain": Kind(lambda c, x: TypeInfo.fetch(c, "registered.small").register(x), "'{1}'::registered.small[]"),
    "composite": Kind(
        lambda c, x: register_composite(CompositeInfo.fetch(c, "registered.pair"), x), "row(1, 'a')::registered.pair"
    ),
    "range": Kind(lambda c, x: register_range(RangeInfo.fetch(c, "registered.span"), x), "'[1,2)'::registered.span"),
    "multirange": Kind(
        lambda c, x: register_multirange(MultirangeInfo.fetch(c, "registered.spans"), x), "'{}'::registered.spans"
    ),
    "hstore": Kind(lambda c, x: register_hstore(like(c, "json", "hstore"), x), "'\"a\"=>NULL'::text"),
    "interval": Kind(lambda c, x: register_interval(x), "'1 day'::interval"),
    "infinity": Kind(lambda c, x: register_infinity(x), "'infinity'::date"),
    "loader": Kind(with_map(lambda adapters: adapters.register_loader("int4", Wrapped)), "1"),
    "numpy": Kind(lambda c, x: register_numpy_arrays(x), "'{1}'::int4[]"),
    "shapely": Kind(lambda c, x: register_shapely(like(c, "json", "geometry"), x), ""),
}


def like(conn: Any, name: str, called: str) -> TypeInfo:
    return TypeInfo(called, conn.adapters.types["text"].oid, conn.adapters.types["text"].array_oid)


for missing in ("numpy", "shapely"):
    if find_spec(missing) is None:
        del KINDS[missing]
if "shapely" in KINDS:
    shapely: Any = import_module("shapely")
    KINDS["shapely"] = KINDS["shapely"]._replace(query=f"'{shapely.to_wkb(shapely.Point(1, 2), hex=True)}'::text")


@pytest.fixture(scope="module")
def dsn_of_types(dsn: str) -> Iterator[str]:
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA)
        yield dsn
        conn.execute("DROP SCHEMA registered CASCADE")


def kind_of(context: Any, query: str) -> str:
    """Return of which class a value is, in the format that is asked for by itself; an error's if there is none."""
    try:
        [value] = context.execute(f"SELECT {query}", binary=False).fetchone()
    except anyq.DataError as error:
        return type(error).__name__
    return type(value).__name__


@pytest.mark.parametrize("name", KINDS)
def test_where_it_counts(name: str, dsn_of_types: str) -> None:
    kind = KINDS[name]
    with anyq.connect(dsn_of_types, autocommit=True) as conn, anyq.connect(dsn_of_types, autocommit=True) as other:
        plain = kind_of(conn, kind.query)

        # A cursor: nothing else is changed, and it is changed at once.
        cursor, neighbour = conn.cursor(), conn.cursor()
        kind.register(conn, cursor)
        registered = kind_of(cursor, kind.query)
        assert registered != plain
        assert [kind_of(one, kind.query) for one in (neighbour, conn, conn.cursor(), other)] == [plain] * 4

        # A connection: its cursors from then on, and no other connection.
        kind.register(conn, conn)
        assert [kind_of(one, kind.query) for one in (conn, conn.cursor(), cursor)] == [registered] * 3
        assert [kind_of(one, kind.query) for one in (neighbour, other)] == [plain] * 2

        # A map: the connections that are given it.
        adapters = AdaptersMap(anyq.adapters)
        kind.register(conn, adapters)
        with anyq.connect(dsn_of_types, autocommit=True, context=adapters) as third:
            assert kind_of(third, kind.query) == registered
        with anyq.connect(dsn_of_types, autocommit=True) as third:
            assert kind_of(third, kind.query) == plain

        # Everywhere: the connections that are opened from then on.
        with global_map_restored():
            kind.register(conn, None)
            assert kind_of(other, kind.query) == plain
            with anyq.connect(dsn_of_types, autocommit=True) as third:
                assert kind_of(third, kind.query) == registered
        with anyq.connect(dsn_of_types, autocommit=True) as third:
            assert kind_of(third, kind.query) == plain
