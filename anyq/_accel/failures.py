"""Failures of loading: which exceptions of a load function mean that the value is malformed, and what is raised then.
And what a dump function returns that is no value.

Knows the driver's own load functions from those of a user. Must not know what a value looks like.

A load function of the driver's may be one C function, such as `int`, which raises what it likes. What it raises becomes
a `DataError` where the value is loaded and not in the function, which so costs nothing while values are good. Functions
that call others, of arrays for example, see to it for these: an exception of a user's own loader is never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import error as StructError
from typing import Any

from ..errors import DataError, Error, ProgrammingError
from .twins import name_of

_SHOWN = 40  # bytes of a value in a message
_LONGEST_OBJECT = 80  # characters of an object in a message
_LONGEST_REASON = 200  # characters of one that repeats the value, as that of float() does


def load_failure(load: Callable[[bytes], Any], data: bytes, ex: Exception) -> Exception:
    """Return what to raise for an exception of a load function: a `DataError` if the value is at fault.

    :param load: what was called with the value.
    """
    if isinstance(ex, Error | MemoryError) or not is_own(load):
        return ex
    # The text of other exceptions is about Python and not about the value.
    why = f": {ex}" if isinstance(ex, ValueError) else ""
    if len(why) > _LONGEST_REASON:
        why = why[:_LONGEST_REASON] + " ..."
    if isinstance(ex, StructError):
        why = ": it has not the length that its type has"
    if isinstance(ex, UnicodeDecodeError):
        why += "; SET client_encoding TO 'SQL_ASCII' to load text as bytes"
    failure = DataError(f"cannot load the value {shown(data)}{why}")
    failure.__cause__ = ex
    return failure


def dumped_buffer(value: Any, dump: Callable[[Any], Any]) -> bytes | bytearray | memoryview | None:
    """Return what a dump function has returned, None for NULL.

    :param dump: what has returned it.
    :raises ProgrammingError: it is neither bytes nor like bytes. A dumper of a user's returns str, usually.
    """
    try:
        # Other buffers too, if there is one that is not among these.
        return value if value is None or isinstance(value, bytes | bytearray) else memoryview(value)
    except TypeError:
        name = getattr(dump, "__qualname__", repr(dump))
        owner = getattr(dump, "__self__", None)
        if owner is not None:
            # Its class is the one that is registered, and may have inherited the method.
            name = f"{type(owner).__name__}.{name.rpartition('.')[2]}"
        advice = "return text.encode()" if isinstance(value, str) else "return the value as the server reads it"
        raise ProgrammingError(f"{name}() returned {type(value).__name__}, and has to return bytes: {advice}") from None


def dumped_bytes(value: Any, dump: Callable[[Any], Any]) -> bytes | None:
    """Return what a dump function has returned as bytes, None for NULL.

    :raises ProgrammingError: as `dumped_buffer`.
    """
    buffer = dumped_buffer(value, dump)
    return buffer if buffer is None or type(buffer) is bytes else bytes(buffer)


def shown(data: bytes) -> str:
    """Return a value as it is shown in a message."""
    return repr(data) if len(data) <= _SHOWN else f"{data[:_SHOWN]!r} ... ({len(data)} bytes)"


def shown_object(obj: object) -> str:
    """Return an object as it is shown in a message: its class, where it cannot say what it is."""
    try:
        text = repr(obj)
    except Exception:
        # Of an int of thousands of digits, say, or of what is nested too deeply.
        return f"a value of type {type(obj).__name__}"
    return text if len(text) <= _LONGEST_OBJECT else text[:_LONGEST_OBJECT] + " ..."


def is_own(load: Callable[[bytes], Any]) -> bool:
    """Return whether a load function is the driver's, and nobody else's code runs in it."""
    if getattr(getattr(load, "__self__", None), "delegates", False):
        return False
    if str(type(load).__module__).startswith(_PACKAGE):
        # A twin, which has seen to it.
        return False
    return name_of(load) is not None or str(getattr(load, "__module__", "")).startswith(_PACKAGE)


_PACKAGE = __name__.partition(".")[0] + "."
