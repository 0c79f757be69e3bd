"""The type `vector` of the extension pgvector, adapted by the names that anyq gives to everybody.

Import it, or take it as the beginning of your own: a class for the values, a dumper and a loader for each format, and a
function that asks the server for the oid, which is another one in each database. `halfvec` and `sparsevec` go the same
way.

    register_vector(conn)              # or: await register_vector_async(conn)
    conn.execute("SELECT * FROM items ORDER BY embedding <-> %s LIMIT 5", (Vector((1, 2, 3)),))
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack, unpack_from

from anyq import AsyncConnection, Connection, DataError
from anyq.adapt import AdaptersMap, Dumper, Loader
from anyq.pq import Format
from anyq.types import TypeInfo


@dataclass(frozen=True)
class Vector:
    """A value of the type `vector`: numbers, which the server rounds to float4."""

    numbers: tuple[float, ...]


class VectorDumper(Dumper):
    """Write `[1.0,2.0]`."""

    def dump(self, obj: Vector) -> bytes:
        return f"[{','.join(map(str, obj.numbers))}]".encode()


class VectorBinaryDumper(Dumper):
    """Write the number of dimensions in two bytes, two bytes that are not used, and each number as float4."""

    format = Format.BINARY

    def dump(self, obj: Vector) -> bytes:
        return pack(f">HH{len(obj.numbers)}f", len(obj.numbers), 0, *obj.numbers)


class VectorLoader(Loader):
    """Read what `VectorDumper` writes."""

    def load(self, data: bytes) -> Vector:
        return Vector(tuple(map(float, bytes(data)[1:-1].split(b","))))


class VectorBinaryLoader(Loader):
    """Read what `VectorBinaryDumper` writes."""

    format = Format.BINARY

    def load(self, data: bytes) -> Vector:
        (count,) = unpack_from(">H", data)
        if len(data) != 4 + 4 * count:
            raise DataError("malformed vector: it has not the length that it says")
        return Vector(unpack_from(f">{count}f", data, 4))


def register_vector_info(info: TypeInfo | None, adapters: AdaptersMap) -> None:
    """Register the type in the map of a connection or a cursor."""
    if info is None:
        raise LookupError("there is no type vector: CREATE EXTENSION vector, or name its schema")
    info.register(adapters)
    # The last ones are preferred.
    for dumper in (VectorDumper, VectorBinaryDumper):
        adapters.register_dumper(Vector, type(dumper.__name__, (dumper,), {"oid": info.oid}))
    adapters.register_loader(info.oid, VectorLoader)
    adapters.register_loader(info.oid, VectorBinaryLoader)


def register_vector(conn: Connection) -> None:
    """Register the type on a synchronous connection."""
    register_vector_info(TypeInfo.fetch(conn, "vector"), conn.adapters)


async def register_vector_async(conn: AsyncConnection) -> None:
    """Register the type on an asynchronous connection."""
    register_vector_info(await TypeInfo.fetch(conn, "vector"), conn.adapters)
