"""Geometric types: point, line, lseg, box, path, polygon, circle, which are plain named tuples of floats.

Knows both formats (PostgreSQL manual, "Geometric Types"; src/backend/utils/adt/geo_ops.c). Must not know geometry: what
the server makes of a value, such as which corner of a box is its first, is the server's.

All numbers are float8. A plain tuple is a point where one is wanted: `Box((1, 1), (0, 0))`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

from .._accel.failures import shown_object
from ..adapt.adapters_map import AdaptContext
from ..adapt.base import Dumper, Loader, plain
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format

__all__ = ["Box", "Circle", "Line", "Lseg", "Path", "Point", "Polygon", "register_default_adapters"]


class Point(NamedTuple):
    """A point of the plane."""

    x: float
    y: float


class Line(NamedTuple):
    """The infinite line of the equation ``a*x + b*y + c = 0``."""

    a: float
    b: float
    c: float


class Lseg(NamedTuple):
    """A line segment."""

    start: Point
    end: Point


class Box(NamedTuple):
    """A rectangle; the server makes `high` its upper right corner and `low` its lower left one, whichever are given."""

    high: Point
    low: Point


class Path(NamedTuple):
    """A line through points, which ends where it begins if it is closed."""

    points: Sequence[Point]
    """A tuple where it was loaded."""
    closed: bool


class Polygon(NamedTuple):
    """The area inside of a closed path."""

    points: Sequence[Point]
    """A tuple where it was loaded."""


class Circle(NamedTuple):
    """A circle."""

    center: Point
    radius: float


_two, _three, _four = Struct("!2d"), Struct("!3d"), Struct("!4d")
_path_header = Struct("!?i")  # whether it is closed, the number of points
_polygon_header = Struct("!i")

# What a value looks like in text, with an n for each number; of a path or polygon, what its points look like.
_TEMPLATES = {
    "point": "(n,n)",
    "line": "{n,n,n}",
    "lseg": "[(n,n),(n,n)]",
    "box": "(n,n),(n,n)",
    "circle": "<(n,n),n>",
}
_number = re.compile(r"[-+.0-9A-Za-z]+")

# To and from binary


def _flat(points: Sequence[Iterable[float]]) -> list[float]:
    # What has no length, such as a network of millions of addresses, may have no end. Two numbers each: a third one
    # would shift the others.
    len(points)
    return [number for x, y in points for number in (x, y)]


def _pack(numbers: Sequence[float]) -> bytes:
    return Struct(f"!{len(numbers)}d").pack(*numbers)


def _pack_path(obj: Path) -> bytes:
    points, closed = obj
    numbers = _flat(points)
    return _path_header.pack(closed, len(numbers) // 2) + _pack(numbers)


def _pack_polygon(obj: Polygon) -> bytes:
    (points,) = obj
    numbers = _flat(points)
    return _polygon_header.pack(len(numbers) // 2) + _pack(numbers)


def _pack_point(obj: Point) -> bytes:
    x, y = obj
    return _two.pack(x, y)


def _pack_line(obj: Line) -> bytes:
    a, b, c = obj
    return _three.pack(a, b, c)


def _pack_four(obj: Lseg | Box) -> bytes:
    start, end = obj
    return _four.pack(*_flat((start, end)))


def _pack_circle(obj: Circle) -> bytes:
    (x, y), radius = obj
    return _three.pack(x, y, radius)


def _unpack_lseg(data: bytes) -> Lseg:
    x1, y1, x2, y2 = _four.unpack(data)
    return Lseg(Point(x1, y1), Point(x2, y2))


def _unpack_box(data: bytes) -> Box:
    x1, y1, x2, y2 = _four.unpack(data)
    return Box(Point(x1, y1), Point(x2, y2))


def _unpack_points(data: bytes, count: int) -> tuple[Point, ...]:
    points = tuple(map(Point._make, _two.iter_unpack(data)))
    if len(points) != count:
        raise ValueError("it has not the length that it says")
    return points


def _unpack_path(data: bytes) -> Path:
    closed, count = _path_header.unpack_from(data)
    return Path(_unpack_points(data[_path_header.size :], count), closed)


def _unpack_polygon(data: bytes) -> Polygon:
    (count,) = _polygon_header.unpack_from(data)
    return Polygon(_unpack_points(data[_polygon_header.size :], count))


def _unpack_circle(data: bytes) -> Circle:
    x, y, radius = _three.unpack(data)
    return Circle(Point(x, y), radius)


# Between text and binary


def _template_of_points(count: int, brackets: str) -> str:
    return brackets[0] + ",".join(["(n,n)"] * count) + brackets[1]


def _to_text(name: str, data: bytes) -> str:
    template = _TEMPLATES.get(name)
    if name == "path":
        closed, count = _path_header.unpack_from(data)
        template = _template_of_points(count, "()" if closed else "[]")
        data = data[_path_header.size :]
    elif name == "polygon":
        (count,) = _polygon_header.unpack_from(data)
        template = _template_of_points(count, "()")
        data = data[_polygon_header.size :]
    assert template is not None
    numbers = Struct(f"!{len(data) // 8}d").unpack(data)
    return template.replace("n", "%r") % numbers


def _from_text(name: str, data: bytes) -> bytes:
    text = data.decode("ascii")
    numbers = [float(number) for number in _number.findall(text)]
    template = _TEMPLATES.get(name)
    header = b""
    if template is None:
        count = len(numbers) // 2
        is_open = name == "path" and text.startswith("[")
        template = _template_of_points(count, "[]" if is_open else "()")
        header = _path_header.pack(not is_open, count) if name == "path" else _polygon_header.pack(count)
    if _number.sub("n", text) != template:
        raise ValueError(f"it is no {name}")
    return header + _pack(numbers)


class _GeometricDumper(Dumper):
    """Dump one of the named tuples; there is a subclass for each, which knows its oid."""

    name: str
    pack: Callable[[Any], bytes]

    def packed(self, obj: Any) -> bytes:
        try:
            return self.pack(obj)
        except (TypeError, ValueError, StructError) as ex:
            # Of the text of these nothing is about geometry.
            raise DataError(
                f"cannot dump {shown_object(obj)} as {self.name}: a point has two numbers, a line three,"
                " and other types have points"
            ) from ex

    def dump(self, obj: Any) -> bytes:
        return _to_text(self.name, self.packed(obj)).encode()


class _GeometricBinaryDumper(_GeometricDumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return self.packed(obj)


class _GeometricLoader(Loader):
    name: str
    unpack: Callable[[bytes], Any]

    def load(self, data: bytes) -> Any:
        return self.unpack(_from_text(self.name, data))


def register_default_adapters(context: AdaptContext) -> None:
    """Register the geometric types."""
    adapters = context.adapters
    for cls, pack, unpack in _SHAPES:
        name = cls.__name__.lower()
        known = {"oid": global_types[name].oid, "name": name, "pack": plain(pack), "unpack": plain(unpack)}
        binary_loader = {"format": Format.BINARY, "load": plain(unpack)}
        # The last ones are preferred.
        adapters.register_dumper(cls, type(f"{cls.__name__}Dumper", (_GeometricDumper,), known))
        adapters.register_dumper(cls, type(f"{cls.__name__}BinaryDumper", (_GeometricBinaryDumper,), known))
        adapters.register_loader(name, type(f"{cls.__name__}Loader", (_GeometricLoader,), known))
        adapters.register_loader(name, type(f"{cls.__name__}BinaryLoader", (Loader,), binary_loader))


_SHAPES: tuple[tuple[type, Callable[[Any], bytes], Callable[[bytes], Any]], ...] = (
    (Point, _pack_point, lambda data: Point._make(_two.unpack(data))),
    (Line, _pack_line, lambda data: Line._make(_three.unpack(data))),
    (Lseg, _pack_four, _unpack_lseg),
    (Box, _pack_four, _unpack_box),
    (Path, _pack_path, _unpack_path),
    (Polygon, _pack_polygon, _unpack_polygon),
    (Circle, _pack_circle, _unpack_circle),
)
