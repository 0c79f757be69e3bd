"""Messages of the server: one dataclass each, with an encoder.

Knows what is in every message that a server of protocol 3.0 or 3.2 sends, and how to write it. Must not know
how to read one (``backend`` does), which message may come when, nor what a value means. The encoders are for
tests that play the server. See the PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from .constants import PROTOCOL_3_0, AuthenticationCode, BackendCode, Format, TransactionStatus

_uint16 = struct.Struct(">H")
_int32 = struct.Struct(">i")
_uint32 = struct.Struct(">I")
_header = struct.Struct(">BI")

FIELD = struct.Struct(">IhIhiH")
"""What follows the name of a column in a RowDescription."""

NULL = b"\xff\xff\xff\xff"
"""How a NULL value is written: a length of -1 and no content."""


@dataclass(slots=True)
class BackendMessage:
    """Base of all messages of the server, and all there is to one that has nothing but its code."""

    code: ClassVar[BackendCode]
    """First byte on the wire."""

    def encode(self) -> bytes:
        """Return the whole message as a server sends it, text in UTF-8."""
        payload = self._payload()
        return _header.pack(self.code, len(payload) + 4) + payload

    def _payload(self) -> bytes:
        return b""


# --- Start-up


class Authentication(BackendMessage):
    """Base of all authentication messages, told apart by their first number."""

    __slots__ = ()

    code = BackendCode.AUTHENTICATION
    request: ClassVar[AuthenticationCode]

    def _payload(self) -> bytes:
        return _uint32.pack(self.request) + self._data()

    def _data(self) -> bytes:
        return b""


@dataclass(slots=True)
class AuthenticationData(Authentication):
    """Base of those with bytes of a mechanism."""

    data: bytes

    def _data(self) -> bytes:
        return self.data


class AuthenticationOk(Authentication):
    """The client is who it says."""

    __slots__ = ()
    request = AuthenticationCode.OK


class AuthenticationKerberosV5(Authentication):
    """Kerberos V5 is required (no server later than 9.3 asks for it)."""

    __slots__ = ()
    request = AuthenticationCode.KERBEROS_V5


class AuthenticationCleartextPassword(Authentication):
    """The password itself is required."""

    __slots__ = ()
    request = AuthenticationCode.CLEARTEXT_PASSWORD


@dataclass(slots=True)
class AuthenticationMD5Password(Authentication):
    """The password hashed with the user's name and `salt` (4 bytes) is required."""

    request = AuthenticationCode.MD5_PASSWORD
    salt: bytes

    def _data(self) -> bytes:
        return self.salt


class AuthenticationSCMCredential(Authentication):
    """A message with Unix socket credentials is required (no server later than 9.1 asks for it)."""

    __slots__ = ()
    request = AuthenticationCode.SCM_CREDENTIAL


class AuthenticationGSS(Authentication):
    """A GSSAPI exchange is required."""

    __slots__ = ()
    request = AuthenticationCode.GSS


class AuthenticationGSSContinue(AuthenticationData):
    """A token of the GSSAPI or SSPI exchange."""

    __slots__ = ()
    request = AuthenticationCode.GSS_CONTINUE


class AuthenticationSSPI(Authentication):
    """An SSPI exchange is required."""

    __slots__ = ()
    request = AuthenticationCode.SSPI


@dataclass(slots=True)
class AuthenticationSASL(Authentication):
    """A SASL exchange by one of `mechanisms` is required, in the server's order of preference."""

    request = AuthenticationCode.SASL
    mechanisms: tuple[str, ...]

    def _data(self) -> bytes:
        return b"".join([_cstring(name) for name in self.mechanisms]) + b"\0"


class AuthenticationSASLContinue(AuthenticationData):
    """The mechanism's challenge."""

    __slots__ = ()
    request = AuthenticationCode.SASL_CONTINUE


class AuthenticationSASLFinal(AuthenticationData):
    """The mechanism's last word: the exchange is complete, and AuthenticationOk follows."""

    __slots__ = ()
    request = AuthenticationCode.SASL_FINAL


@dataclass(slots=True)
class NegotiateProtocolVersion(BackendMessage):
    """The server does not know the minor version or some `_pq_.` options asked for; it goes on with what it
    knows."""

    code = BackendCode.NEGOTIATE_PROTOCOL_VERSION
    newest: int
    """The number on the wire. The manual calls it a minor version; servers send the whole version. See
    `version`."""
    unrecognized: tuple[str, ...] = ()
    """Names of the options that the server does not know."""

    @property
    def version(self) -> int:
        """Return the newest version the server speaks, as PROTOCOL_3_0 is written, whichever form was
        sent."""
        return self.newest if self.newest >> 16 else PROTOCOL_3_0 | self.newest

    def _payload(self) -> bytes:
        names = b"".join([_cstring(name) for name in self.unrecognized])
        return _uint32.pack(self.newest) + _uint32.pack(len(self.unrecognized)) + names


@dataclass(slots=True)
class BackendKeyData(BackendMessage):
    """What a CancelRequest for this session must carry."""

    code = BackendCode.BACKEND_KEY_DATA
    pid: int
    """Process id of the backend; what a pooler makes up here may be negative."""
    secret: bytes
    """4 bytes in protocol 3.0, 4 to 256 in 3.2."""

    def __repr__(self) -> str:
        # Whoever has the key can cancel this session's queries: it must not get into a log.
        return f"{type(self).__name__}(pid={self.pid}, secret=<{len(self.secret)} bytes>)"

    def _payload(self) -> bytes:
        return _int32.pack(self.pid) + self.secret


@dataclass(slots=True)
class ParameterStatus(BackendMessage):
    """The value of a run-time parameter, at start-up and whenever it changes."""

    code = BackendCode.PARAMETER_STATUS
    name: str
    value: str

    def _payload(self) -> bytes:
        return _cstring(self.name) + _cstring(self.value)


# --- Reports, at any time


@dataclass(slots=True)
class Report(BackendMessage):
    """Base of ErrorResponse and NoticeResponse."""

    fields: Mapping[str, str]
    """One-letter field code to text. Later versions may add codes."""

    def _payload(self) -> bytes:
        fields = [code.encode("latin-1") + _cstring(text) for code, text in self.fields.items()]
        return b"".join(fields) + b"\0"


class ErrorResponse(Report):
    """A command or the session has failed."""

    __slots__ = ()
    code = BackendCode.ERROR_RESPONSE


class NoticeResponse(Report):
    """A warning or other message for the user."""

    __slots__ = ()
    code = BackendCode.NOTICE_RESPONSE


@dataclass(slots=True)
class NotificationResponse(BackendMessage):
    """A NOTIFY on a channel this session listens to."""

    code = BackendCode.NOTIFICATION_RESPONSE
    pid: int
    """Process id of the backend that notified."""
    channel: str
    payload: str

    def _payload(self) -> bytes:
        return _int32.pack(self.pid) + _cstring(self.channel) + _cstring(self.payload)


# --- Queries


@dataclass(slots=True)
class ReadyForQuery(BackendMessage):
    """The server waits for the next command."""

    code = BackendCode.READY_FOR_QUERY
    status: TransactionStatus
    """IDLE, INTRANS or INERROR."""

    def _payload(self) -> bytes:
        return STATUS_LETTERS[self.status]


STATUS_LETTERS = {
    TransactionStatus.IDLE: b"I",
    TransactionStatus.INTRANS: b"T",
    TransactionStatus.INERROR: b"E",
}


@dataclass(slots=True)
class CommandComplete(BackendMessage):
    """A command of the query has ended well."""

    code = BackendCode.COMMAND_COMPLETE
    tag: str
    """Such as "INSERT 0 5" or "CREATE TABLE"."""

    @property
    def rows(self) -> int | None:
        """Return the number of rows that the tag tells, None if it tells none."""
        last = self.tag.rpartition(" ")[2]
        # A row count has 64 bits; int() is slow on much longer texts and refuses very long ones.
        return int(last) if last.isascii() and last.isdigit() and len(last) <= 20 else None

    def _payload(self) -> bytes:
        return _cstring(self.tag)


class EmptyQueryResponse(BackendMessage):
    """The query had no command: comes instead of CommandComplete."""

    __slots__ = ()
    code = BackendCode.EMPTY_QUERY_RESPONSE


class ParseComplete(BackendMessage):
    """Parse is done."""

    __slots__ = ()
    code = BackendCode.PARSE_COMPLETE


class BindComplete(BackendMessage):
    """Bind is done."""

    __slots__ = ()
    code = BackendCode.BIND_COMPLETE


class CloseComplete(BackendMessage):
    """Close is done."""

    __slots__ = ()
    code = BackendCode.CLOSE_COMPLETE


class PortalSuspended(BackendMessage):
    """Execute has given as many rows as it was asked for; the portal may have more."""

    __slots__ = ()
    code = BackendCode.PORTAL_SUSPENDED


class NoData(BackendMessage):
    """What was described returns no rows."""

    __slots__ = ()
    code = BackendCode.NO_DATA


@dataclass(slots=True)
class ParameterDescription(BackendMessage):
    """The parameter types of a statement."""

    code = BackendCode.PARAMETER_DESCRIPTION
    oids: tuple[int, ...]

    def _payload(self) -> bytes:
        return struct.pack(f">H{len(self.oids)}I", len(self.oids), *self.oids)


class FieldDescription(NamedTuple):
    """One column of a result."""

    name: str
    table_oid: int
    """0 if the column is not one of a table."""
    column: int
    """Attribute number in that table; 0 if there is none, negative for a system column."""
    type_oid: int
    type_size: int
    """Bytes; negative for types of variable width."""
    type_modifier: int
    """-1 if there is none."""
    format: int
    """A :class:`Format`. A described statement always says 0: it is not known before Bind."""


@dataclass(slots=True)
class RowDescription(BackendMessage):
    """The columns of the rows that follow."""

    code = BackendCode.ROW_DESCRIPTION
    fields: tuple[FieldDescription, ...]

    def _payload(self) -> bytes:
        fields = [_cstring(field.name) + FIELD.pack(*field[1:]) for field in self.fields]
        return _uint16.pack(len(fields)) + b"".join(fields)


@dataclass(slots=True)
class DataRow(BackendMessage):
    """One row. (The driver decodes rows in bulk and makes none of these; this one is for tools and tests.)"""

    code = BackendCode.DATA_ROW
    values: tuple[bytes | None, ...]

    def _payload(self) -> bytes:
        return _uint16.pack(len(self.values)) + b"".join([_value(value) for value in self.values])


@dataclass(slots=True)
class FunctionCallResponse(BackendMessage):
    """The result of a FunctionCall, None for NULL."""

    code = BackendCode.FUNCTION_CALL_RESPONSE
    value: bytes | None

    def _payload(self) -> bytes:
        return _value(self.value)


# --- COPY


@dataclass(slots=True)
class CopyResponse(BackendMessage):
    """Base of the three messages that start a COPY."""

    format: Format
    """Of the whole stream."""
    column_formats: tuple[Format, ...]

    def _payload(self) -> bytes:
        count = len(self.column_formats)
        return struct.pack(f">BH{count}H", self.format, count, *self.column_formats)


class CopyInResponse(CopyResponse):
    """The server waits for the client's CopyData."""

    __slots__ = ()
    code = BackendCode.COPY_IN_RESPONSE


class CopyOutResponse(CopyResponse):
    """The server is about to send CopyData."""

    __slots__ = ()
    code = BackendCode.COPY_OUT_RESPONSE


class CopyBothResponse(CopyResponse):
    """CopyData goes both ways: streaming replication."""

    __slots__ = ()
    code = BackendCode.COPY_BOTH_RESPONSE


@dataclass(slots=True)
class CopyData(BackendMessage):
    """A piece of the stream; a server sends one row in each."""

    code = BackendCode.COPY_DATA
    data: bytes

    def _payload(self) -> bytes:
        return self.data


class CopyDone(BackendMessage):
    """The stream is complete."""

    __slots__ = ()
    code = BackendCode.COPY_DONE


# --- Encoding


def _cstring(text: str) -> bytes:
    data = text.encode()
    if 0 in data:
        raise ValueError(f"{text!a} has a NUL character, which would end it early on the wire")
    return data + b"\0"


def _value(value: bytes | None) -> bytes:
    return NULL if value is None else _uint32.pack(len(value)) + value
