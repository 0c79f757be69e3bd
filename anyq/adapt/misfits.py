"""What is said where a value does not fit the PostgreSQL type that it is to be written as.

Knows which exceptions the driver's own dumpers raise for that: they pack numbers and call methods, and look at no
class. Must not know what a value looks like in PostgreSQL.
"""

from __future__ import annotations

from struct import error as StructError
from typing import Any

from ..errors import DataError
from ..protocol.constants import Format
from .adapters_map import AdaptersMap

OUT_OF_RANGE = (StructError, OverflowError)
"""What may be raised for a value of the class that a dumper is for."""

UNFIT = (StructError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What may be raised for an object of another class, where a dumper was found by an oid."""


def is_own_dumper(dumper: object) -> bool:
    """Return whether a dumper is the driver's, whose exceptions are about the value."""
    return type(dumper).__module__.startswith(_PACKAGE)


def misfit(adapters: AdaptersMap, oid: int, obj: Any, ex: Exception, where: str = "") -> DataError:
    """Return the error for a value that a dumper has raised one of these for.

    :param oid: that of the dumper.
    :param where: what the message begins with.
    """
    info = adapters.types.get(oid)
    name = "its PostgreSQL type" if info is None else info.name + ("[]" if oid == info.array_oid else "")
    why = reason(adapters, oid, obj, ex)
    failure = DataError(f"{where}a value of type {type(obj).__name__} does not fit {name}: {why}")
    failure.__cause__ = ex
    return failure


def reason(adapters: AdaptersMap, oid: int, obj: Any, ex: Exception) -> str:
    """Return why a value does not fit, or what to do about it."""
    # What struct says is about its own letters.
    if isinstance(ex, OverflowError) or isinstance(ex, StructError) and isinstance(obj, int):
        return "it is out of range"
    # The class is what the driver's dumper is annotated with.
    dumper = adapters.get_dumper_by_oid(oid, Format.TEXT) if adapters.has_dumper_for(oid, Format.TEXT) else None
    wanted = getattr(dumper and dumper.dump, "__annotations__", {}).get("obj")
    if isinstance(ex, ValueError) and type(obj).__name__ == wanted:
        return str(ex)
    if not isinstance(wanted, str) or wanted == "Any":
        return f"convert it first ({ex})"
    return f"convert it to {_CALLED.get(wanted) or wanted.partition('[')[0].replace(' | ', ' or ')} first"


_PACKAGE = __name__.partition(".")[0] + "."

_CALLED = {
    "Address | Interface": "ip_address() or ip_interface()",
    "Buffer": "bytes",
    "Network": "ip_network()",
}
"""What a user calls that by which a `dump()` is annotated."""
