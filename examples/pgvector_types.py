"""The types of the extension pgvector, `vector`, `halfvec`, `sparsevec` and `bit`, by the names that are for everybody.

Import it, or take it as the beginning of your own: a class for the values, a dumper and a loader for each format, and a
function that asks the server for the oids, which are others in each database.

    register_vectors(conn)              # or: await register_vectors_async(conn)
    conn.execute("SELECT * FROM items ORDER BY embedding <-> %s LIMIT 5", (Vector((1, 2, 3)),))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import calcsize, pack, unpack_from

from anyq import AsyncConnection, Connection, DataError
from anyq.adapt import AdaptersMap, Dumper, Loader
from anyq.pq import Format
from anyq.types import TypeInfo


@dataclass(frozen=True)
class Vector:
    """A value of the type `vector`: numbers, which the server rounds to float4."""

    numbers: tuple[float, ...]


@dataclass(frozen=True)
class HalfVector(Vector):
    """A value of the type `halfvec`: numbers, which are rounded to 16 bits."""


@dataclass(frozen=True)
class SparseVector:
    """A value of the type `sparsevec`: the numbers that are not 0, by their index from 0, and how many there are."""

    numbers: Mapping[int, float]
    dimensions: int


@dataclass(frozen=True)
class Bit:
    """A value of the type `bit`, as `1011`, as a parameter. They are loaded as str."""

    digits: str


class VectorDumper(Dumper):
    """Write `[1.0,2.0]`: a vector or a halfvec."""

    def dump(self, obj: Vector) -> bytes:
        return f"[{','.join(map(str, obj.numbers))}]".encode()


class VectorBinaryDumper(Dumper):
    """Write the number of dimensions in two bytes, two bytes that are not used, and each number as float4."""

    format = Format.BINARY
    number = "f"  # as struct calls it

    def dump(self, obj: Vector) -> bytes:
        return pack(f">HH{len(obj.numbers)}{self.number}", len(obj.numbers), 0, *obj.numbers)


class HalfVectorBinaryDumper(VectorBinaryDumper):
    """The same, with numbers of two bytes."""

    number = "e"


class VectorLoader(Loader):
    """Read what `VectorDumper` writes."""

    cls = Vector

    def load(self, data: bytes) -> Vector:
        return self.cls(tuple(map(float, bytes(data)[1:-1].split(b","))))


class HalfVectorLoader(VectorLoader):
    """The same, of a halfvec."""

    cls = HalfVector


class VectorBinaryLoader(Loader):
    """Read what `VectorBinaryDumper` writes."""

    format = Format.BINARY
    cls = Vector
    number = "f"

    def load(self, data: bytes) -> Vector:
        return self.cls(_unpack(data, 4, ">H", self.number))


class HalfVectorBinaryLoader(VectorBinaryLoader):
    """Read what `HalfVectorBinaryDumper` writes."""

    cls = HalfVector
    number = "e"


class SparseVectorDumper(Dumper):
    """Write `{1:0.5,3:2.0}/5`, whose indices are from 1."""

    def dump(self, obj: SparseVector) -> bytes:
        numbers = [f"{index + 1}:{number}" for index, number in sorted(obj.numbers.items())]
        return f"{{{','.join(numbers)}}}/{obj.dimensions}".encode()


class SparseVectorBinaryDumper(Dumper):
    """Write dimensions, how many numbers follow, four unused bytes, the indices, and the numbers as float4."""

    format = Format.BINARY

    def dump(self, obj: SparseVector) -> bytes:
        indices, numbers = zip(*sorted(obj.numbers.items()), strict=True) if obj.numbers else ((), ())
        count = len(indices)
        return pack(f">iii{count}i{count}f", obj.dimensions, count, 0, *indices, *numbers)


class SparseVectorLoader(Loader):
    """Read what `SparseVectorDumper` writes."""

    def load(self, data: bytes) -> SparseVector:
        numbers, _, dimensions = bytes(data).decode().partition("/")
        items = [item.split(":") for item in numbers[1:-1].split(",") if item]
        return SparseVector({int(index) - 1: float(number) for index, number in items}, int(dimensions))


class SparseVectorBinaryLoader(Loader):
    """Read what `SparseVectorBinaryDumper` writes."""

    format = Format.BINARY

    def load(self, data: bytes) -> SparseVector:
        numbers = _unpack(data, 12, ">4xi", "if")
        (dimensions,) = unpack_from(">i", data)
        half = len(numbers) // 2
        return SparseVector(dict(zip(map(int, numbers[:half]), numbers[half:], strict=True)), dimensions)


class BitDumper(Dumper):
    """Write a bit string, which needs no cast then: the type that `bit(n)` columns have."""

    oid = 1560

    def dump(self, obj: Bit) -> bytes:
        return obj.digits.encode()


def _unpack(data: bytes, size: int, count: str, number: str) -> tuple[float, ...]:
    """Return all numbers behind a header of so many bytes, which says how many there are of each kind."""
    if len(data) >= size:
        (found,) = unpack_from(count, data)
        layout = ">" + "".join(f"{found}{letter}" for letter in number)
        if found >= 0 and len(data) == size + calcsize(layout):
            return unpack_from(layout, data, size)
    raise DataError("malformed vector: it has not the length that it says")


NAMES = ["vector", "halfvec", "sparsevec"]


def register_vectors_info(infos: Sequence[TypeInfo | None], adapters: AdaptersMap) -> None:
    """Register the types in the map of a connection or a cursor. Older versions of pgvector have but the first."""
    if infos[0] is None:
        raise LookupError("there is no type vector: CREATE EXTENSION vector, or name its schema")
    # The last ones are preferred.
    for info, cls, dumpers, loaders in (
        (infos[0], Vector, (VectorDumper, VectorBinaryDumper), (VectorLoader, VectorBinaryLoader)),
        (infos[1], HalfVector, (VectorDumper, HalfVectorBinaryDumper), (HalfVectorLoader, HalfVectorBinaryLoader)),
        (
            infos[2],
            SparseVector,
            (SparseVectorDumper, SparseVectorBinaryDumper),
            (SparseVectorLoader, SparseVectorBinaryLoader),
        ),
    ):
        if info is None:
            continue
        info.register(adapters)
        for dumper in dumpers:
            adapters.register_dumper(cls, type(dumper.__name__, (dumper,), {"oid": info.oid}))
        for loader in loaders:
            adapters.register_loader(info.oid, loader)
    adapters.register_dumper(Bit, BitDumper)


def register_vectors(conn: Connection) -> None:
    """Register the types on a synchronous connection."""
    register_vectors_info([TypeInfo.fetch(conn, name) for name in NAMES], conn.adapters)


async def register_vectors_async(conn: AsyncConnection) -> None:
    """Register the types on an asynchronous connection."""
    register_vectors_info([await TypeInfo.fetch(conn, name) for name in NAMES], conn.adapters)
