"""Geometries of shapely, against a type that stands in for PostGIS's: no server that the tests have has the extension.

What PostGIS does with EWKB is not tested here; that it is EWKB is, by examples out of its manual.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from anyq import AsyncClientCursor, AsyncConnection
from anyq.adapt import AdaptersMap, Format, PyFormat, Transformer
from anyq.errors import DataError
from anyq.postgres import adapters
from anyq.types import TypeInfo
from anyq.types.shapely import register_shapely
from tests.support.types import stand_in
from tests.support.values import PYFORMATS, dump, load, there_and_back

#: None where there is no wheel of it for this interpreter.
shapely: Any = import_module("shapely") if find_spec("shapely") else None
needs_shapely = pytest.mark.skipif(shapely is None, reason="shapely is not installed")

OID, ARRAY_OID = 90_000, 90_001


@pytest.fixture
def tx() -> Transformer:
    context = AdaptersMap(adapters)
    register_shapely(TypeInfo("geometry", OID, ARRAY_OID, delimiter=":"), context)
    return Transformer(context)


def test_without_shapely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shapely.geometry.base", None)
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(ImportError, match=r"install anyq\[shapely\]"):
        register_shapely(TypeInfo("geometry", OID, ARRAY_OID), AdaptersMap(adapters))


def test_a_type_that_was_not_found() -> None:
    with pytest.raises(TypeError, match="CREATE EXTENSION postgis"):
        register_shapely(None)  # type: ignore[arg-type]


#: Geometries as WKT with their SRID, and what `SELECT geom` shows of them.
EXAMPLES = [
    ("POINT (1 2)", 0, "0101000000000000000000F03F0000000000000040"),
    ("POINT (1 2)", 4326, "0101000020E6100000000000000000F03F0000000000000040"),
    ("POINT Z (1 2 3)", 0, "0101000080000000000000F03F00000000000000400000000000000840"),
    ("LINESTRING EMPTY", 4326, "0102000020E610000000000000"),
]


@needs_shapely
@pytest.mark.parametrize(("wkt", "srid", "digits"), EXAMPLES)
def test_ewkb(wkt: str, srid: int, digits: str, tx: Transformer) -> None:
    geometry = shapely.set_srid(shapely.from_wkt(wkt), srid)
    assert dump(geometry, PyFormat.TEXT, tx) == (digits.encode(), OID, Format.TEXT)
    assert dump(geometry, PyFormat.AUTO, tx) == (bytes.fromhex(digits), OID, Format.BINARY)
    assert tx.as_literal(geometry) == f"'{digits}'::geometry".encode()
    for data, format in ((digits.encode(), Format.TEXT), (bytes.fromhex(digits), Format.BINARY)):
        got = load(data, OID, format, tx)
        assert got == geometry
        assert shapely.get_srid(got) == srid


@needs_shapely
@pytest.mark.parametrize("format", PYFORMATS)
def test_there_and_back(format: PyFormat, tx: Transformer) -> None:
    for wkt in (
        "MULTIPOINT ((0 0), (1 1))",
        "POLYGON ((0 0, 4 0, 4 4, 0 0), (1 1, 2 1, 2 2, 1 1))",
        "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 1))",
        "MULTIPOLYGON EMPTY",
    ):
        geometry = shapely.from_wkt(wkt)
        assert there_and_back(geometry, format, tx) == geometry
        assert there_and_back([geometry, None], format, tx) == [geometry, None]


@needs_shapely
@pytest.mark.anyio
async def test_by_a_server(conn: AsyncConnection[Any]) -> None:
    # The text of a bytea is what went in only in this format; and text and binary of it are two values.
    await conn.execute("SET bytea_output TO escape")
    await stand_in(conn, "geometry", "bytea", delimiter=":")
    info = await TypeInfo.fetch(conn, "geometry")
    assert info is not None
    assert info.delimiter == ":"
    register_shapely(info, conn)
    point = shapely.set_srid(shapely.Point(1, 2), 4326)
    for placeholder, cursor in (
        ("%b", conn.cursor(binary=True)),
        ("%t", conn.cursor(binary=False)),
        ("%s", AsyncClientCursor(conn)),
    ):
        query = f"SELECT {placeholder}, {placeholder}, pg_typeof({placeholder})::text, NULL::geometry"
        await cursor.execute(query, (point, [point, None], point))
        assert await cursor.fetchone() == (point, [point, None], "geometry", None)
        await cursor.execute("SELECT 'AZ'::geometry")
        with pytest.raises(DataError, match="geometry"):
            await cursor.fetchone()
