"""The types of adaptation: dumpers and loaders that users write, what they are registered in, and what converts."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import IO, Any

from typing_extensions import assert_type

import anyq
from anyq import AsyncConnection, sql
from anyq.abc import AdaptContext
from anyq.abc import Dumper as DumperProtocol
from anyq.abc import Loader as LoaderProtocol
from anyq.adapt import AdaptersMap, Buffer, Dumper, Format, Loader, PyFormat, Transformer
from anyq.copy import AsyncWriter, FileWriter, Writer
from anyq.types.array import ListBinaryDumper, ListDumper
from anyq.types.numeric import FloatDumper, Int4
from anyq.types.string import StrDumper


class Point:
    x = 0.0


class PointDumper(Dumper):
    oid = 600

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)

    def dump(self, obj: Point) -> Buffer | None:
        return str(obj.x).encode()


class PointLoader(Loader):
    format = Format.BINARY

    def load(self, data: bytes) -> Point:
        return Point()


class Upper(StrDumper):
    def dump(self, obj: str) -> bytes:
        return super().dump(obj.upper())


class Unencoded(Dumper):
    def dump(self, obj: Point) -> str:  # type: ignore[override]
        return "text"


class TagsDumper(ListDumper):
    oid = 1009

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self.sub_dumper = Upper(str, context)


def registering(conn: anyq.Connection, aconn: AsyncConnection, adapters: AdaptersMap) -> None:
    for context in (conn, aconn, conn.cursor(), aconn.cursor()):
        assert_type(context.adapters, AdaptersMap)
    assert_type(anyq.adapters, AdaptersMap)
    assert_type(adapters.register_dumper(Point, PointDumper), None)
    adapters.register_dumper("package.Point", PointDumper)
    adapters.register_dumper(None, PointDumper)
    assert_type(adapters.register_loader("point", PointLoader), None)
    adapters.register_loader(600, PointLoader)
    adapters.register_loader(600, PointLoader(600))  # type: ignore[arg-type]
    adapters.register_dumper(Point, PointLoader)  # type: ignore[arg-type]
    assert_type(adapters.get_dumper(Point, PyFormat.AUTO), type[DumperProtocol])
    assert_type(adapters.get_loader(600, Format.TEXT), type[LoaderProtocol] | None)


def dumping(conn: anyq.Connection) -> None:
    tx = Transformer(conn)
    assert_type(tx.as_literal(5), bytes)
    assert_type(tx.get_dumper(5, PyFormat.TEXT), DumperProtocol)
    assert_type(FloatDumper(float).quote(1.5), bytes)
    assert_type(PointDumper(Point, conn).dump(Point()), Buffer | None)
    assert_type(ListDumper(list, conn).sub_dumper, DumperProtocol | None)
    assert_type(TagsDumper(list, conn).dump(["a"]), bytes)
    assert_type(ListBinaryDumper(list).format, Format)
    assert_type(Int4(5) + 1, int)
    assert_type(sql.Literal(5).as_string(conn), str)
    assert_type(sql.Literal(5).as_bytes(), bytes)
    assert_type(sql.as_string(5, conn), str)


class Collecting(Writer):
    def write(self, data: Buffer) -> None:
        pass

    def finish(self, exc: BaseException | None = None) -> None:
        pass


class AsyncCollecting(AsyncWriter):
    async def write(self, data: Buffer) -> None:
        pass


async def writers(conn: anyq.Connection, aconn: AsyncConnection, file: IO[bytes]) -> None:
    with conn.cursor().copy("COPY t FROM STDIN", writer=Collecting()) as copy:
        assert_type(copy.writer, Writer | None)
        assert_type(copy.write_row((1, "x")), None)
        assert_type(copy.set_types(["int4", 25]), None)
        assert_type(copy.finish(), None)
    conn.cursor().copy("COPY t FROM STDIN", writer=FileWriter(file))
    conn.cursor().copy("COPY t FROM STDIN", writer=file)  # type: ignore[arg-type]
    conn.cursor().copy("COPY t FROM STDIN", writer=AsyncCollecting())  # type: ignore[arg-type]
    async with aconn.cursor().copy("COPY t FROM STDIN", writer=AsyncCollecting()) as acopy:
        assert_type(acopy.writer, AsyncWriter | None)
        assert_type(await acopy.finish(), None)
    aconn.cursor().copy("COPY t FROM STDIN", writer=Collecting())  # type: ignore[arg-type]
    made: anyq.Copy[Any] = anyq.Copy(conn.cursor(), binary=True, writer=FileWriter(file))
    assert_type(made.connection, Any)


def in_two_phases(conn: anyq.Connection) -> None:
    xid = conn.xid(1, "global", "branch")
    assert_type(xid, anyq.Xid)
    assert_type(conn.tpc_begin(xid), None)
    assert_type(conn.tpc_prepare(), None)
    assert_type(conn.tpc_commit(), None)
    assert_type(conn.tpc_rollback("text"), None)
    conn.tpc_rollback(5)  # type: ignore[arg-type]
    assert_type(anyq.Xid.from_string("text"), anyq.Xid)
    assert_type(anyq.Xid.from_parts(1, "global", "branch"), anyq.Xid)
    assert_type(xid.format_id, int | None)


def named(conn: anyq.Connection) -> None:
    with conn.cursor("c", scrollable=True) as cur:
        assert_type(cur.scroll(5, mode="absolute"), None)
        assert_type(cur.itersize, int)
