"""Numbers of the PostgreSQL protocol: message codes, request codes, versions and limits.

Knows the numbers and why each limit is what it is. Must not know how a message is laid out. Sources:
PostgreSQL manual, "Message Formats" and "Message Flow"; limits of the server are named where they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

__all__ = [
    "CANCEL_REQUEST_CODE",
    "LONG_MESSAGES",
    "MAX_AUTH_MESSAGE_LENGTH",
    "MAX_COLUMNS",
    "MAX_AUTH_REQUEST_LENGTH",
    "MAX_MESSAGE_LENGTH",
    "MAX_PARAMETERS",
    "MAX_REPORTED_PARAMETERS",
    "MAX_REPORT_FIELDS",
    "MAX_SCRAM_ITERATIONS",
    "MAX_SECRET_KEY_LENGTH",
    "MAX_SHORT_MESSAGE_LENGTH",
    "MAX_STARTUP_LENGTH",
    "MIN_SECRET_KEY_LENGTH",
    "PROTOCOL_3_0",
    "PROTOCOL_3_2",
    "SCRAM_THREAD_ITERATIONS",
    "SSL_REQUEST_CODE",
    "AuthenticationCode",
    "BackendCode",
    "Format",
    "FrontendCode",
    "TransactionStatus",
    "show_version",
]


class Format(IntEnum):
    """How a parameter or a column value is written."""

    TEXT = 0
    BINARY = 1


class TransactionStatus(IntEnum):
    """What the session is doing, in the terms of libpq's PQtransactionStatus."""

    IDLE = 0
    """Between transactions."""
    ACTIVE = 1
    """A command is in progress: no ReadyForQuery has come for it yet."""
    INTRANS = 2
    """Idle inside a transaction block."""
    INERROR = 3
    """Idle inside a failed transaction block."""
    UNKNOWN = 4
    """The connection is bad or closed."""


class BackendCode(IntEnum):
    """First byte of each message from the server."""

    AUTHENTICATION = ord("R")
    BACKEND_KEY_DATA = ord("K")
    BIND_COMPLETE = ord("2")
    CLOSE_COMPLETE = ord("3")
    COMMAND_COMPLETE = ord("C")
    COPY_BOTH_RESPONSE = ord("W")
    COPY_DATA = ord("d")
    COPY_DONE = ord("c")
    COPY_IN_RESPONSE = ord("G")
    COPY_OUT_RESPONSE = ord("H")
    DATA_ROW = ord("D")
    EMPTY_QUERY_RESPONSE = ord("I")
    ERROR_RESPONSE = ord("E")
    FUNCTION_CALL_RESPONSE = ord("V")
    NEGOTIATE_PROTOCOL_VERSION = ord("v")
    NO_DATA = ord("n")
    NOTICE_RESPONSE = ord("N")
    NOTIFICATION_RESPONSE = ord("A")
    PARAMETER_DESCRIPTION = ord("t")
    PARAMETER_STATUS = ord("S")
    PARSE_COMPLETE = ord("1")
    PORTAL_SUSPENDED = ord("s")
    READY_FOR_QUERY = ord("Z")
    ROW_DESCRIPTION = ord("T")


class FrontendCode(IntEnum):
    """First byte of each message from the client, but for start-up and the special requests, which have
    none."""

    BIND = ord("B")
    CLOSE = ord("C")
    COPY_DATA = ord("d")
    COPY_DONE = ord("c")
    COPY_FAIL = ord("f")
    DESCRIBE = ord("D")
    EXECUTE = ord("E")
    FLUSH = ord("H")
    FUNCTION_CALL = ord("F")
    PARSE = ord("P")
    PASSWORD = ord("p")
    QUERY = ord("Q")
    SYNC = ord("S")
    TERMINATE = ord("X")
    # One letter, told apart by what the server has just asked for.
    GSS_RESPONSE = ord("p")
    SASL_INITIAL_RESPONSE = ord("p")
    SASL_RESPONSE = ord("p")


class AuthenticationCode(IntEnum):
    """What an authentication message ('R') asks for. 1 and 4 (Kerberos V4, crypt) are long gone from every
    server."""

    OK = 0
    KERBEROS_V5 = 2
    CLEARTEXT_PASSWORD = 3
    MD5_PASSWORD = 5
    SCM_CREDENTIAL = 6
    GSS = 7
    GSS_CONTINUE = 8
    SSPI = 9
    SASL = 10
    SASL_CONTINUE = 11
    SASL_FINAL = 12


PROTOCOL_3_0: Final = 3 << 16
"""Every server since PostgreSQL 7.4."""

PROTOCOL_3_2: Final = 3 << 16 | 2
"""PostgreSQL 18: cancellation keys longer than 4 bytes. 3.1 is reserved and was never a protocol."""


def show_version(version: int) -> str:
    """Return a version of the protocol as people write it."""
    return f"{version >> 16}.{version & 0xFFFF}"


CANCEL_REQUEST_CODE: Final = 1234 << 16 | 5678
SSL_REQUEST_CODE: Final = 1234 << 16 | 5679

MAX_PARAMETERS: Final = 65535
"""Parameters of one statement: their number travels as an unsigned 16-bit integer."""

MAX_COLUMNS: Final = 65535
"""Result format codes of one Bind, and fields of one row: an unsigned 16-bit integer. (Tables stop at
1,600.)"""

MAX_MESSAGE_LENGTH: Final = 0x3FFFFFFE
"""Longest message a server takes, length word included: MaxAllocSize - 1. It ends the connection over a
longer one."""

MAX_STARTUP_LENGTH: Final = 10_000
"""Longest start-up packet a server takes, length word included (MAX_STARTUP_PACKET_LENGTH)."""

MAX_AUTH_MESSAGE_LENGTH: Final = 65_535
"""Longest answer to an authentication request a server takes, length word included
(PG_MAX_AUTH_TOKEN_LENGTH)."""

MAX_AUTH_REQUEST_LENGTH: Final = 2_000
"""Longest authentication request that is taken, length word included: libpq's limit."""

MAX_SHORT_MESSAGE_LENGTH: Final = 30_000
"""Longest message that is taken, length word included, but for the LONG_MESSAGES; of a server that has not let us in it
is the longest of all. libpq's limit (VALID_LONG_MESSAGE_TYPE, MAX_ERRLEN)."""

LONG_MESSAGES: Final[Mapping[int, int]] = {
    BackendCode.COPY_DATA: MAX_MESSAGE_LENGTH,
    BackendCode.DATA_ROW: MAX_MESSAGE_LENGTH,
    BackendCode.FUNCTION_CALL_RESPONSE: MAX_MESSAGE_LENGTH,
    # Texts that somebody composed, who may have put a whole document into one.
    BackendCode.ERROR_RESPONSE: 16 * 1024 * 1024,
    BackendCode.NOTICE_RESPONSE: 16 * 1024 * 1024,
    # For each of MAX_COLUMNS a name, and 19 bytes.
    BackendCode.ROW_DESCRIPTION: 16 * 1024 * 1024,
    # A number of 4 bytes for each of MAX_PARAMETERS.
    BackendCode.PARAMETER_DESCRIPTION: 6 + 4 * MAX_PARAMETERS,
    # 8,000 bytes, more with a larger BLCKSZ (up to 32 kB), which another encoding may make up to three times as many.
    BackendCode.NOTIFICATION_RESPONSE: 100_000,
}
"""The messages that may be longer than MAX_SHORT_MESSAGE_LENGTH, and how long."""

MAX_REPORT_FIELDS: Final = 64
"""Fields that an error or a notice may have; PostgreSQL 18 knows 18 of them."""

MAX_REPORTED_PARAMETERS: Final = 256 * 1024
"""Bytes that all parameters together may take which a server reports, each with 128 for keeping it. PostgreSQL reports
about fifteen, of which the longest is a search_path."""

MIN_SECRET_KEY_LENGTH: Final = 4
MAX_SECRET_KEY_LENGTH: Final = 256
"""Bytes of a cancellation key: always 4 in protocol 3.0; 4 to 256 in 3.2, of which PostgreSQL 18 uses 32."""

MAX_SCRAM_ITERATIONS: Final = 1_000_000
"""Most SCRAM iterations a server may ask for: PostgreSQL's default is 4,096, and a million keeps a core busy
for about half a second. Without a cap, one false server could keep it busy for twenty minutes with a 31-bit
number."""

SCRAM_THREAD_ITERATIONS: Final = 10_000
"""SCRAM iterations above which the hash takes several milliseconds: too long for an event loop to stand
still."""
