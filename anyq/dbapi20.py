"""PEP 249's module interface: the globals, the type objects and the constructors.

Knows which of PostgreSQL's built-in types are of which kind. Must not know connections or cursors.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from . import errors

apilevel = "2.0"
"""The version of the interface."""

threadsafety = 2
"""Threads may share the module and connections."""

paramstyle = "pyformat"
"""Placeholders are ``%s`` and ``%(name)s``."""


class DBAPITypeObject:
    """A kind of types: it is equal to the type codes of columns of that kind.

    Aliases of types in an application's own schema have other oids, which no kind knows.
    """

    def __init__(self, name: str, *oids: int) -> None:
        self._name = name
        self._oids = frozenset(oids)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return other in self._oids
        return self is other

    # It is equal to several numbers, which have hashes of their own.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{__name__}.{self._name}"


# The oids are those of PostgreSQL's pg_type.dat, which never change.
STRING = DBAPITypeObject("STRING", 18, 19, 25, 1042, 1043, 705)
"""char, name, text, bpchar, varchar, and literals whose type nobody has asked for."""
BINARY = DBAPITypeObject("BINARY", 17)
"""bytea."""
NUMBER = DBAPITypeObject("NUMBER", 20, 21, 23, 700, 701, 790, 1700)
"""int8, int2, int4, float4, float8, money, numeric."""
DATETIME = DBAPITypeObject("DATETIME", 1082, 1083, 1114, 1184, 1186, 1266)
"""date, time, timestamp, timestamptz, interval, timetz."""
ROWID = DBAPITypeObject("ROWID", 26, 27)
"""oid, tid."""

Date = dt.date
Time = dt.time
Timestamp = dt.datetime

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def DateFromTicks(ticks: float) -> dt.date:
    """Return the local date of a time in seconds since 1970-01-01 00:00 UTC."""
    return dt.datetime.fromtimestamp(ticks).date()


def TimeFromTicks(ticks: float) -> dt.time:
    """Return the local time of day, to the microsecond, of a time in seconds since 1970-01-01 00:00 UTC."""
    return dt.datetime.fromtimestamp(ticks).time()


def TimestampFromTicks(ticks: float) -> dt.datetime:
    """Return the instant, in UTC, that is so many seconds after 1970-01-01 00:00 UTC.

    It has its zone with it, so that it is stored as this instant whatever the zone of the session is.
    """
    return _EPOCH + dt.timedelta(seconds=ticks)


def Binary(obj: Any) -> bytes | bytearray | memoryview:
    """Return an object that is sent as bytea.

    :raises TypeError: it has no bytes; encode a str yourself.
    """
    if isinstance(obj, bytes | bytearray):
        return obj
    if isinstance(obj, str):
        raise TypeError("a str has no bytes until it is encoded: use Binary(text.encode(...))")
    return memoryview(obj)


class ErrorClasses:
    """The exceptions as attributes of a connection, for code that knows the connection but not the module."""

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError
