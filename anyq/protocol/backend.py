"""Decoders of the server's messages.

Knows how to read the payload of every message that a server of protocol 3.0 or 3.2 sends into the dataclass of
``messages``. Must not know which message may come when, how messages are framed, nor what a value means. A decoder
either returns the message or raises :exc:`RemoteProtocolError`, whatever the bytes are; what it allocates is in
proportion to the payload, never to a number that the payload claims.

There is a function for each message that the driver decodes; :func:`decode` knows all of them, by the first byte, for
tools and tests. Text is decoded with errors="replace": a server in SQL_ASCII may send any byte, and a report that is
readable in part is better than none. See the PostgreSQL manual, "Message Formats" and "Error and Notice Message
Fields".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NoReturn, Protocol, TypeVar

from ..errors import RemoteProtocolError
from .constants import (
    MAX_AUTH_REQUEST_LENGTH,
    MAX_REPORT_FIELDS,
    MAX_SECRET_KEY_LENGTH,
    MIN_SECRET_KEY_LENGTH,
    AuthenticationCode,
    BackendCode,
    Format,
)
from .messages import (
    FIELD,
    STATUS_LETTERS,
    Authentication,
    AuthenticationCleartextPassword,
    AuthenticationGSS,
    AuthenticationGSSContinue,
    AuthenticationKerberosV5,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    AuthenticationSCMCredential,
    AuthenticationSSPI,
    BackendKeyData,
    BackendMessage,
    BindComplete,
    CloseComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyInResponse,
    CopyOutResponse,
    CopyResponse,
    DataRow,
    EmptyQueryResponse,
    ErrorResponse,
    FieldDescription,
    FunctionCallResponse,
    NegotiateProtocolVersion,
    NoData,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    ParseComplete,
    PortalSuspended,
    ReadyForQuery,
    RowDescription,
)

__all__ = [
    "decode",
    "decode_authentication",
    "decode_backend_key_data",
    "decode_copy_response",
    "decode_error_response",
    "decode_negotiate_protocol_version",
    "decode_notice_response",
    "decode_notification_response",
    "decode_parameter_description",
    "decode_parameter_status",
    "decode_row_description",
]

_uint16 = struct.Struct(">H")
_int32 = struct.Struct(">i")
_uint32 = struct.Struct(">I")


class _Malformed(Exception):
    """What is wrong with the payload; the decoder says of which message."""


_M = TypeVar("_M", bound=BackendMessage)
_M_co = TypeVar("_M_co", bound=BackendMessage, covariant=True)


class _Decoder(Protocol[_M_co]):
    def __call__(self, payload: bytes | bytearray | memoryview, encoding: str = "utf-8") -> _M_co:
        """Return the message with this `payload`, which is what comes after its length word.

        `encoding` is the Python codec of the client encoding, for the texts in the message.

        :raises RemoteProtocolError: the payload is not one of this message.
        """
        ...


_DECODERS: dict[int, _Decoder[BackendMessage]] = {}


def _decoder(code: BackendCode) -> Callable[[Callable[[bytes, str], _M]], _Decoder[_M]]:
    """Make the decoder of a message of a function that reads a payload."""

    def make(read: Callable[[bytes, str], _M]) -> _Decoder[_M]:
        def decode_payload(payload: bytes | bytearray | memoryview, encoding: str = "utf-8") -> _M:
            try:
                return read(payload if type(payload) is bytes else bytes(payload), encoding)
            except (_Malformed, struct.error) as ex:
                # struct.error: unpack_from() beyond the end.
                why = ex if isinstance(ex, _Malformed) else "it ends early"
                raise RemoteProtocolError(f"the server sent a broken {code.name} message: {why}") from None

        _DECODERS[code] = decode_payload
        return decode_payload

    return make


def decode(code: int, payload: bytes | bytearray | memoryview, encoding: str = "utf-8") -> BackendMessage:
    """Return the message with `code` as its first byte; see :class:`_Decoder`.

    :raises RemoteProtocolError: there is no such message, or the payload is not one of it.
    """
    try:
        decode_payload = _DECODERS[code]
    except KeyError:
        raise RemoteProtocolError(
            f"the server sent a message of unknown type {code:#04x}: is this a PostgreSQL server?"
        ) from None
    return decode_payload(payload, encoding)


def _text(data: bytes, pos: int, encoding: str) -> tuple[str, int]:
    """Return the string that begins at `pos`, and the offset after its NUL."""
    end = data.find(0, pos)
    if end < 0:
        raise _Malformed("a string has no end")
    return data[pos:end].decode(encoding, "replace"), end + 1


def _check_end(data: bytes, pos: int) -> None:
    if pos != len(data):
        raise _Malformed(f"it has {len(data)} bytes and ends after {pos}")


@_decoder(BackendCode.AUTHENTICATION)
def decode_authentication(data: bytes, encoding: str) -> Authentication:
    if len(data) + 4 > MAX_AUTH_REQUEST_LENGTH:
        raise _Malformed(f"it has {len(data) + 4} bytes, more than {MAX_AUTH_REQUEST_LENGTH}")
    (request,) = _uint32.unpack_from(data)
    rest = data[4:]
    if (simple := _SIMPLE_AUTHENTICATION.get(request)) is not None:
        _check_end(data, 4)
        return simple
    if request == AuthenticationCode.MD5_PASSWORD:
        if len(rest) != 4:
            raise _Malformed(f"a salt has 4 bytes, not {len(rest)}")
        return AuthenticationMD5Password(rest)
    if request == AuthenticationCode.SASL:
        # A list of strings, and an empty one as its end.
        if rest != b"\0" and not rest.endswith(b"\0\0"):
            raise _Malformed("the list of SASL mechanisms has no end")
        names = rest[:-2].split(b"\0") if len(rest) > 1 else []
        if b"" in names:
            raise _Malformed("a SASL mechanism has no name")
        return AuthenticationSASL(tuple([name.decode("ascii", "replace") for name in names]))
    if request == AuthenticationCode.SASL_CONTINUE:
        return AuthenticationSASLContinue(rest)
    if request == AuthenticationCode.SASL_FINAL:
        return AuthenticationSASLFinal(rest)
    if request == AuthenticationCode.GSS_CONTINUE:
        return AuthenticationGSSContinue(rest)
    raise _Malformed(f"there is no authentication request {request}")


_SIMPLE_AUTHENTICATION: dict[int, Authentication] = {
    message.request: message
    for message in (
        AuthenticationOk(),
        AuthenticationKerberosV5(),
        AuthenticationCleartextPassword(),
        AuthenticationSCMCredential(),
        AuthenticationGSS(),
        AuthenticationSSPI(),
    )
}


@_decoder(BackendCode.NEGOTIATE_PROTOCOL_VERSION)
def decode_negotiate_protocol_version(data: bytes, encoding: str) -> NegotiateProtocolVersion:
    (newest,) = _uint32.unpack_from(data)
    (count,) = _uint32.unpack_from(data, 4)
    # Split first, then compare with the count, which is only a claim.
    names = data[8:].split(b"\0")
    if names.pop() or len(names) != count:
        raise _Malformed(f"it does not have the {count} option names it announces")
    return NegotiateProtocolVersion(newest, tuple([name.decode(encoding, "replace") for name in names]))


@_decoder(BackendCode.BACKEND_KEY_DATA)
def decode_backend_key_data(data: bytes, encoding: str) -> BackendKeyData:
    (pid,) = _int32.unpack_from(data)
    secret = data[4:]
    if not MIN_SECRET_KEY_LENGTH <= len(secret) <= MAX_SECRET_KEY_LENGTH:
        limits = f"{MIN_SECRET_KEY_LENGTH} to {MAX_SECRET_KEY_LENGTH}"
        raise _Malformed(f"a key has {limits} bytes, not {len(secret)}")
    return BackendKeyData(pid, secret)


@_decoder(BackendCode.PARAMETER_STATUS)
def decode_parameter_status(data: bytes, encoding: str) -> ParameterStatus:
    name, pos = _text(data, 0, encoding)
    value, pos = _text(data, pos, encoding)
    _check_end(data, pos)
    return ParameterStatus(name, value)


def _decode_report(data: bytes, encoding: str) -> dict[str, str]:
    # Fields of one letter and a string each; an empty field is the end.
    fields = data.split(b"\0", MAX_REPORT_FIELDS + 2)
    if len(fields) > MAX_REPORT_FIELDS + 2:
        raise _Malformed(f"it has more than {MAX_REPORT_FIELDS} fields")
    if fields.pop() or not fields or fields.pop():
        raise _Malformed("the list of fields has no end")
    report: dict[str, str] = {}
    for field in fields:
        if not field:
            raise _Malformed("a field has no type")
        report[chr(field[0])] = field[1:].decode(encoding, "replace")
    return report


@_decoder(BackendCode.ERROR_RESPONSE)
def decode_error_response(data: bytes, encoding: str) -> ErrorResponse:
    return ErrorResponse(_decode_report(data, encoding))


@_decoder(BackendCode.NOTICE_RESPONSE)
def decode_notice_response(data: bytes, encoding: str) -> NoticeResponse:
    return NoticeResponse(_decode_report(data, encoding))


@_decoder(BackendCode.NOTIFICATION_RESPONSE)
def decode_notification_response(data: bytes, encoding: str) -> NotificationResponse:
    (pid,) = _int32.unpack_from(data)
    # Many may come at once, so in one piece; what does not fit is looked at again, for the error.
    strings = data[4:].split(b"\0")
    if len(strings) != 3 or strings[2]:
        _, pos = _text(data, 4, encoding)
        _, pos = _text(data, pos, encoding)
        _check_end(data, pos)
    return NotificationResponse(pid, strings[0].decode(encoding, "replace"), strings[1].decode(encoding, "replace"))


@_decoder(BackendCode.READY_FOR_QUERY)
def _decode_ready_for_query(data: bytes, encoding: str) -> ReadyForQuery:
    try:
        return _READY[data]
    except KeyError:
        raise _Malformed(f"there is no transaction status {data[:10]!a}") from None


@_decoder(BackendCode.COMMAND_COMPLETE)
def _decode_command_complete(data: bytes, encoding: str) -> CommandComplete:
    # Comes with every command, so without the detour by _text().
    if not data or data.find(0) != len(data) - 1:
        raise _Malformed("it is not one string")
    return CommandComplete(data[:-1].decode(encoding, "replace"))


@_decoder(BackendCode.PARAMETER_DESCRIPTION)
def decode_parameter_description(data: bytes, encoding: str) -> ParameterDescription:
    (count,) = _uint16.unpack_from(data)
    _check_end(data, 2 + 4 * count)
    return ParameterDescription(struct.unpack_from(f">{count}I", data, 2))


@_decoder(BackendCode.ROW_DESCRIPTION)
def decode_row_description(data: bytes, encoding: str) -> RowDescription:
    (count,) = _uint16.unpack_from(data)
    fields: list[FieldDescription] = []
    pos = 2
    for _ in range(count):
        end = data.find(0, pos)
        if end < 0:
            raise _Malformed("a column name has no end")
        name = data[pos:end].decode(encoding, "replace")
        numbers = FIELD.unpack_from(data, end + 1)
        if numbers[5] > 1:
            _refuse_format(numbers[5])
        fields.append(FieldDescription._make((name, *numbers)))
        pos = end + 19
    _check_end(data, pos)
    return RowDescription(tuple(fields))


@_decoder(BackendCode.DATA_ROW)
def _decode_data_row(data: bytes, encoding: str) -> DataRow:
    (count,) = _uint16.unpack_from(data)
    values: list[bytes | None] = []
    pos = 2
    for _ in range(count):
        value, pos = _sized(data, pos)
        values.append(value)
    _check_end(data, pos)
    return DataRow(tuple(values))


@_decoder(BackendCode.FUNCTION_CALL_RESPONSE)
def _decode_function_call_response(data: bytes, encoding: str) -> FunctionCallResponse:
    value, pos = _sized(data, 0)
    _check_end(data, pos)
    return FunctionCallResponse(value)


def _sized(data: bytes, pos: int) -> tuple[bytes | None, int]:
    """Return the value that begins with its length at `pos`, and the offset after it."""
    (length,) = _int32.unpack_from(data, pos)
    pos += 4
    if length < 0:
        if length != -1:
            raise _Malformed(f"a value has {length} bytes")
        return None, pos
    end = pos + length
    if end > len(data):
        raise _Malformed(f"a value of {length} bytes has only {len(data) - pos}")
    return data[pos:end], end


def _copy_formats(data: bytes) -> tuple[Format, tuple[Format, ...]]:
    if not data:
        raise _Malformed("it ends early")
    overall = data[0]
    (count,) = _uint16.unpack_from(data, 1)
    _check_end(data, 3 + 2 * count)
    columns: tuple[int, ...] = struct.unpack_from(f">{count}H", data, 3)
    for code in (overall, *columns):
        if code > 1:
            _refuse_format(code)
    return _FORMATS[overall], tuple([_FORMATS[code] for code in columns])


def decode_copy_response(code: BackendCode, payload: bytes) -> tuple[bool, int]:
    """Return what a CopyInResponse or CopyOutResponse says: whether the data is binary, and the number of columns.

    :raises RemoteProtocolError: the payload is not one of such a message.
    """
    message = decode(code, payload)
    assert isinstance(message, CopyResponse)
    if any(column is not message.format for column in message.column_formats):
        raise RemoteProtocolError(
            f"the server sent a {code.name} message whose columns have another format than the whole"
        )
    return message.format is Format.BINARY, len(message.column_formats)


_FORMATS = (Format.TEXT, Format.BINARY)


def _refuse_format(code: int) -> NoReturn:
    raise _Malformed(f"there is no format code {code}")


@_decoder(BackendCode.COPY_IN_RESPONSE)
def _decode_copy_in_response(data: bytes, encoding: str) -> CopyInResponse:
    return CopyInResponse(*_copy_formats(data))


@_decoder(BackendCode.COPY_OUT_RESPONSE)
def _decode_copy_out_response(data: bytes, encoding: str) -> CopyOutResponse:
    return CopyOutResponse(*_copy_formats(data))


@_decoder(BackendCode.COPY_BOTH_RESPONSE)
def _decode_copy_both_response(data: bytes, encoding: str) -> CopyBothResponse:
    return CopyBothResponse(*_copy_formats(data))


@_decoder(BackendCode.COPY_DATA)
def _decode_copy_data(data: bytes, encoding: str) -> CopyData:
    return CopyData(data)


def _empty(message: BackendMessage) -> None:
    """Make the decoder of a message that is nothing but its code: it returns always the same object."""

    @_decoder(message.code)
    def decode_empty(data: bytes, encoding: str) -> BackendMessage:  # pyright: ignore[reportUnusedFunction]
        _check_end(data, 0)
        return message


for _message in (
    BindComplete(),
    CloseComplete(),
    CopyDone(),
    EmptyQueryResponse(),
    NoData(),
    ParseComplete(),
    PortalSuspended(),
):
    _empty(_message)

_READY = {letter: ReadyForQuery(status) for status, letter in STATUS_LETTERS.items()}
