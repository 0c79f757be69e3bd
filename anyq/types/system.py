"""Types of the system catalogues that are str, as the server writes them: "char", tid, pg_lsn, int2vector and others.

Knows how the server writes these as text, and makes the same of their binary format, so that they can be in arrays and
composites of either (PostgreSQL manual, "Object Identifier Types", "pg_lsn Type"; src/backend/utils/adt/{char,tid,
pg_lsn,xid8funcs,int,oid}.c). Must not know types that Python has classes for.

What is not here has no loader of its own and is str, always asked for as text: money, which only the server's locale
can read, regclass and the like, whose binary format is a number and not the name, aclitem and others that have none.
"""

from __future__ import annotations

from struct import Struct

from ..adapt.adapters_map import AdaptContext
from ..adapt.base import Loader
from ..protocol.constants import Format
from .string import AsciiBinaryLoader, AsciiLoader, TextBinaryLoader, TextLoader

__all__ = [
    "CharBinaryLoader",
    "CharLoader",
    "LsnBinaryLoader",
    "SnapshotBinaryLoader",
    "TidBinaryLoader",
    "VectorBinaryLoader",
    "register_default_adapters",
]

_unpack_tid = Struct("!IH").unpack  # block, offset
_unpack_lsn = Struct("!II").unpack
_snapshot = Struct("!iQQ")  # number of transactions in progress, xmin, xmax
_unpack_xids = Struct("!Q").iter_unpack
_vector = Struct("!iiIii")  # dimensions, whether there are NULLs, oid of the items, their number, the lower bound
# The length of an item, and the item, by the oid of its type: int2, oid.
_VECTOR_ITEMS = {21: Struct("!ih"), 26: Struct("!iI")}


class CharLoader(Loader):
    """Load "char" from text: a character of ASCII, an empty str for the byte 0, and `\\377` for a byte above 127."""

    def load(self, data: bytes) -> str:
        # Before PostgreSQL 16 a byte above 127 is not escaped, and half a character in most encodings.
        if len(data) == 1:
            return _one_char(data[0])
        return data.decode("ascii")


class CharBinaryLoader(Loader):
    """Load "char" from its byte, as it is loaded from text."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        (byte,) = data
        return _one_char(byte)


def _one_char(byte: int) -> str:
    if byte > 127:
        return f"\\{byte:o}"
    return chr(byte) if byte else ""


class TidBinaryLoader(Loader):
    """Load tid from binary, as str: `(0,1)`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        block, offset = _unpack_tid(data)
        return f"({block},{offset})"


class LsnBinaryLoader(Loader):
    """Load pg_lsn from binary, as str: `16/B374D848`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        high, low = _unpack_lsn(data)
        return f"{high:X}/{low:X}"


class SnapshotBinaryLoader(Loader):
    """Load pg_snapshot or txid_snapshot from binary, as str: `10:20:10,14,15`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        count, xmin, xmax = _snapshot.unpack_from(data)
        in_progress = [xid for (xid,) in _unpack_xids(data[_snapshot.size :])]
        if len(in_progress) != count:
            raise ValueError("it has not the length that it says")
        return f"{xmin}:{xmax}:{','.join(map(str, in_progress))}"


class VectorBinaryLoader(Loader):
    """Load int2vector or oidvector from binary, as str: `1 2`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        ndim, has_null, oid, count, _ = _vector.unpack_from(data)
        if ndim != 1 or has_null or oid not in _VECTOR_ITEMS:
            raise ValueError("it is no vector")
        item = _VECTOR_ITEMS[oid]
        items = list(item.iter_unpack(data[_vector.size :]))
        if len(items) != count or any(length != item.size - 4 for length, _ in items):
            raise ValueError("it has not the length that it says")
        return " ".join([str(number) for _, number in items])


def register_default_adapters(context: AdaptContext) -> None:
    """Register what the catalogues have that is str."""
    adapters = context.adapters
    for name, *loaders in _LOADERS:
        for loader in loaders:
            adapters.register_loader(name, loader)


# The last one of a type is preferred: text is what it becomes.
_LOADERS: tuple[tuple[str, type[Loader], type[Loader]], ...] = (
    ("char", CharBinaryLoader, CharLoader),
    ("tid", TidBinaryLoader, AsciiLoader),
    ("pg_lsn", LsnBinaryLoader, AsciiLoader),
    ("pg_snapshot", SnapshotBinaryLoader, AsciiLoader),
    ("txid_snapshot", SnapshotBinaryLoader, AsciiLoader),
    ("int2vector", VectorBinaryLoader, AsciiLoader),
    ("oidvector", VectorBinaryLoader, AsciiLoader),
    ("void", AsciiBinaryLoader, AsciiLoader),
    ("cstring", TextBinaryLoader, TextLoader),
    ("refcursor", TextBinaryLoader, TextLoader),
    ("pg_node_tree", TextBinaryLoader, TextLoader),
)
