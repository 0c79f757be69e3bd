"""PostGIS's geometries as objects of shapely.

Knows that both formats are EWKB, the text format in hexadecimal digits (manual of PostGIS, "OpenGIS WKB and WKT"), and
that shapely reads and writes it, with the SRID. Must not know the oid, which is another one in each database: whoever
wants the type fetches its `TypeInfo` and registers it; nor must it import shapely before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..adapt.adapters_map import AdaptContext, adapters_of
from ..adapt.base import Dumper, Loader
from ..adapt.typeinfo import TypeInfo
from ..protocol.constants import Format

__all__ = [
    "BaseGeometryBinaryDumper",
    "BaseGeometryDumper",
    "GeometryBinaryLoader",
    "GeometryLoader",
    "register_shapely",
]


class BaseGeometryDumper(Dumper):
    """Dump a geometry as text; `register_shapely` makes the subclass that has the oid."""

    def dump(self, obj: Any) -> bytes:
        return _ewkb(obj).hex().upper().encode()


class BaseGeometryBinaryDumper(Dumper):
    """Dump a geometry in binary; `register_shapely` makes the subclass that has the oid."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return _ewkb(obj)


def _ewkb(obj: Any) -> bytes:
    data: bytes = import_module("shapely").to_wkb(obj, include_srid=True)
    return data


class GeometryBinaryLoader(Loader):
    """Load a geometry from binary."""

    format = Format.BINARY

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._from_wkb: Any = import_module("shapely").from_wkb

    def load(self, data: bytes) -> Any:
        return self._from_wkb(data)


class GeometryLoader(GeometryBinaryLoader):
    """Load a geometry from text."""

    format = Format.TEXT

    def load(self, data: bytes) -> Any:
        return self._from_wkb(bytes.fromhex(data.decode()))


def register_shapely(info: TypeInfo, context: AdaptContext | None = None) -> None:
    """Load PostGIS's geometries as objects of shapely, and dump these.

    :param info: what `TypeInfo.fetch(conn, "geometry")` returned, with the schema's name if it is not in the path. Of
        several types, `geography` too, the one registered last is what objects are sent as.
    :param context: a connection, a cursor or a map; None for all connections that are opened from now on, which all
        have to find the type by the same oid then: that is in one database.
    :raises TypeError: `info` is None, as the type was not found.
    :raises ImportError: shapely is not installed.
    """
    if info is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError("there is no geometry to register: CREATE EXTENSION postgis, or name its schema in fetch()")
    try:
        geometry = import_module("shapely.geometry.base").BaseGeometry
    except ImportError as ex:
        raise ImportError("register_shapely() is for shapely, which is not installed: install anyq[shapely]") from ex
    info.register(context)
    adapters = adapters_of(context)
    known = {"oid": info.oid}
    # The last ones are preferred.
    adapters.register_dumper(geometry, type("GeometryDumper", (BaseGeometryDumper,), known))
    adapters.register_dumper(geometry, type("GeometryBinaryDumper", (BaseGeometryBinaryDumper,), known))
    adapters.register_loader(info.oid, GeometryLoader)
    adapters.register_loader(info.oid, GeometryBinaryLoader)
