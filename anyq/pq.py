"""psycopg.pq's enumerations, for programs that import them: libpq's names and numbers.

Knows numbers. Must not know what a connection does with them.

There is no libpq here, so nothing else of psycopg.pq is: not its classes (PGconn, PGresult, PGcancel, PGcancelConn,
Conninfo, ConninfoOption, Escaping, PGnotify, PGresAttDesc), not its functions (version(), version_pretty(),
error_message()), not ``__build_version__``, and not ``__impl__``: see ``anyq.__impl__``.

What the driver itself uses is :class:`TransactionStatus`, which ``connection.info.transaction_status`` is, and
:class:`Format`. The letters of :class:`DiagnosticField` are those of :class:`anyq.Diagnostic`'s attributes of the same
names. The others say what libpq's functions would return, which nothing here does.

Sources: PostgreSQL's libpq-fe.h and postgres_ext.h; manual, "libpq - C Library".
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NoReturn

from .protocol.constants import Format, TransactionStatus

__all__ = [
    "ConnStatus",
    "DiagnosticField",
    "ExecStatus",
    "Format",
    "Ping",
    "PipelineStatus",
    "PollingStatus",
    "Trace",
    "TransactionStatus",
]


class ConnStatus(IntEnum):
    """How far a connection is: libpq's ConnStatusType, without its prefix CONNECTION_."""

    OK = 0
    BAD = 1
    STARTED = 2
    MADE = 3
    AWAITING_RESPONSE = 4
    AUTH_OK = 5
    SETENV = 6
    SSL_STARTUP = 7
    NEEDED = 8
    CHECK_WRITABLE = 9
    CONSUME = 10
    GSS_STARTUP = 11
    CHECK_TARGET = 12
    CHECK_STANDBY = 13
    ALLOCATED = 14
    AUTHENTICATING = 15


class PollingStatus(IntEnum):
    """What a connection that is being made waits for: libpq's PostgresPollingStatusType."""

    FAILED = 0
    READING = 1
    WRITING = 2
    OK = 3
    ACTIVE = 4


class ExecStatus(IntEnum):
    """What a result is: libpq's ExecStatusType, without its prefix PGRES_."""

    EMPTY_QUERY = 0
    COMMAND_OK = 1
    TUPLES_OK = 2
    COPY_OUT = 3
    COPY_IN = 4
    BAD_RESPONSE = 5
    NONFATAL_ERROR = 6
    FATAL_ERROR = 7
    COPY_BOTH = 8
    SINGLE_TUPLE = 9
    PIPELINE_SYNC = 10
    PIPELINE_ABORTED = 11
    TUPLES_CHUNK = 12


class PipelineStatus(IntEnum):
    """Whether a connection is in pipeline mode: libpq's PGpipelineStatus."""

    OFF = 0
    ON = 1
    ABORTED = 2


class Ping(IntEnum):
    """Whether a server takes connections: libpq's PGPing."""

    OK = 0
    REJECT = 1
    NO_RESPONSE = 2
    NO_ATTEMPT = 3


class Trace(IntFlag):
    """How libpq writes down its traffic: the flags of PQsetTraceFlags."""

    SUPPRESS_TIMESTAMPS = 1
    REGRESS_MODE = 2


class DiagnosticField(IntEnum):
    """The fields of a server's error or notice by the letters of the message: libpq's PG_DIAG_ codes.

    Manual: "Error and Notice Message Fields".
    """

    SEVERITY = ord("S")
    SEVERITY_NONLOCALIZED = ord("V")
    SQLSTATE = ord("C")
    MESSAGE_PRIMARY = ord("M")
    MESSAGE_DETAIL = ord("D")
    MESSAGE_HINT = ord("H")
    STATEMENT_POSITION = ord("P")
    INTERNAL_POSITION = ord("p")
    INTERNAL_QUERY = ord("q")
    CONTEXT = ord("W")
    SCHEMA_NAME = ord("s")
    TABLE_NAME = ord("t")
    COLUMN_NAME = ord("c")
    DATATYPE_NAME = ord("d")
    CONSTRAINT_NAME = ord("n")
    SOURCE_FILE = ord("F")
    SOURCE_LINE = ord("L")
    SOURCE_FUNCTION = ord("R")


class Libpq:
    """For this package: an attribute that is libpq's in psycopg, so that whoever asks for it is told what there is.

    :param instead: what to use instead.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, obj: object, owner: type) -> NoReturn:
        why = f"{owner.__qualname__} has no {self._name!r}, as there is no libpq in anyq: {self._instead}"
        raise AttributeError(why, name=self._name)


PGRESULT = "description, statusmessage and rowcount tell what the result is"


class NoLibpq:
    """For this package: the part of a connection that it has not."""

    pgconn = Libpq("conn.info tells what is known of the connection, and conn.change_password() changes passwords")
    lock = Libpq("any number of tasks or threads may use a connection at the same time")
    wait = Libpq("there are no generators for a connection to wait for; await its methods")
