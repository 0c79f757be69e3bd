"""The types of values that have a class of their own."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from typing_extensions import assert_type

from anyq import AsyncConnection, Connection
from anyq.types import TypeInfo
from anyq.types.geometric import Box, Circle, Path, Point, Polygon
from anyq.types.hstore import Hstore, register_hstore
from anyq.types.infinity import InfiniteDate, InfiniteDatetime, register_infinity
from anyq.types.interval import Interval, register_interval
from anyq.types.net import InetLoader


def geometric(box: Box, path: Path, polygon: Polygon, circle: Circle) -> None:
    assert_type(box.high, Point)
    assert_type(box.low.x, float)
    assert_type(path.points, Sequence[Point])
    assert_type(path.closed, bool)
    assert_type(polygon.points[0].y, float)
    assert_type(circle.radius, float)
    assert_type(Path([Point(1, 2)], closed=True), Path)
    assert_type(Polygon([Point(1, 2)]), Polygon)
    Point("1", 2)  # type: ignore[arg-type]


def times(interval: Interval, day: InfiniteDate, moment: InfiniteDatetime) -> None:
    assert_type(interval.months, int)
    assert_type(interval.is_infinite, bool)
    assert_type(day < date.max, bool)
    assert_type(datetime.max < moment, bool)


def addresses(loader: InetLoader) -> None:
    assert_type(loader.load(b"::1"), IPv4Address | IPv6Address | IPv4Interface | IPv6Interface)


async def registered(conn: AsyncConnection, blocking: Connection) -> None:
    register_interval(conn)
    register_infinity(blocking)
    register_interval()
    info = await TypeInfo.fetch(conn, "hstore")
    assert_type(info, TypeInfo | None)
    register_hstore(info, conn)  # type: ignore[arg-type]
    if info is not None:
        register_hstore(info, conn)
        register_hstore(info, blocking.adapters)


def pairs(stored: Hstore) -> None:
    assert_type(stored["a"], str | None)
