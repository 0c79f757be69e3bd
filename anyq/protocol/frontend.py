"""Writers of client messages: each function appends one whole message to a bytearray; what never varies is a constant.

Knows the layout of every message a client sends and the limits past which a server would drop the connection.
Must not know when a message may be sent, nor where the bytes go. A function that raises has appended nothing.

Names, values and SQL are bytes here, in the client encoding. See the PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, NoReturn

from ..errors import DataError, LocalProtocolError
from .constants import (
    CANCEL_REQUEST_CODE,
    MAX_AUTH_MESSAGE_LENGTH,
    MAX_COLUMNS,
    MAX_MESSAGE_LENGTH,
    MAX_PARAMETERS,
    MAX_SECRET_KEY_LENGTH,
    MAX_STARTUP_LENGTH,
    MIN_SECRET_KEY_LENGTH,
    PROTOCOL_3_0,
    SSL_REQUEST_CODE,
    Format,
    FrontendCode,
)

__all__ = [
    "COPY_DATA_HEADER",
    "COPY_DONE",
    "DESCRIBE_EXECUTE",
    "DESCRIBE_EXECUTE_SYNC",
    "EXECUTE",
    "EXECUTE_SYNC",
    "FLUSH",
    "LONGEST_REASON",
    "SSL_REQUEST",
    "SYNC",
    "TERMINATE",
    "bind",
    "cancel_request",
    "close",
    "copy_data",
    "copy_fail",
    "describe",
    "end_copy_data",
    "parse",
    "password",
    "query",
    "sasl_initial_response",
    "sasl_response",
    "startup",
]

Buffer = bytes | bytearray | memoryview

# Bound methods of compiled formats: a third faster than struct.pack with a format string.
_int32 = struct.Struct(">i").pack
_uint16 = struct.Struct(">H").pack
_uint32 = struct.Struct(">I").pack
_header = struct.Struct(">BI").pack  # code, length: the length counts itself (4) and the payload

_NULL = b"\xff\xff\xff\xff"  # a value of length -1
_FORMATS = frozenset(Format)

_BIND = int(FrontendCode.BIND)
_COPY_DATA = int(FrontendCode.COPY_DATA)
_PARSE = int(FrontendCode.PARSE)

# --- Messages that never vary

SYNC: Final = _header(FrontendCode.SYNC, 4)
"""The end of an extended query; the server answers with ReadyForQuery."""

FLUSH: Final = _header(FrontendCode.FLUSH, 4)
"""The server sends what it has, without a ReadyForQuery."""

EXECUTE: Final = _header(FrontendCode.EXECUTE, 9) + b"\0\0\0\0\0"
"""Execute the unnamed portal to its end."""

EXECUTE_SYNC: Final = EXECUTE + SYNC

DESCRIBE_EXECUTE: Final = _header(FrontendCode.DESCRIBE, 6) + b"P\0" + EXECUTE
"""Describe the unnamed portal, and execute it to its end."""

DESCRIBE_EXECUTE_SYNC: Final = DESCRIBE_EXECUTE + SYNC

COPY_DONE: Final = _header(FrontendCode.COPY_DONE, 4)
"""The client's stream of a COPY is complete."""

TERMINATE: Final = _header(FrontendCode.TERMINATE, 4)
"""The client is about to close."""

SSL_REQUEST: Final = _uint32(8) + _uint32(SSL_REQUEST_CODE)
"""The server answers with one byte, S or N, or an ErrorResponse. It has no code, as it comes before the start-up."""

# ---

_CACHED_PARAMETERS = 64
"""Parameters up to which the constant parts of a message are kept: more would keep too much memory for too
little time."""

LONGEST_REASON = 8000
"""Bytes of a CopyFail's reason: enough for any message, and within the 10,000 that a server takes for short
messages."""


# --- Start-up and special requests: no message code


def startup(out: bytearray, params: Mapping[str, str], version: int = PROTOCOL_3_0) -> None:
    """Append StartupMessage with `params` ("user" is required by the server) in UTF-8.

    :raises DataError: if a name or value cannot be sent (NUL byte, lone surrogate, all too long together).
    :raises LocalProtocolError: if a name is empty, which would end the list early.
    """
    parts = [_uint32(version)]
    for name, value in params.items():
        if not name:
            raise LocalProtocolError("a start-up parameter needs a name")
        try:
            pair = name.encode(), value.encode()
        except UnicodeEncodeError:
            raise DataError(f"start-up parameter {name!a} has a character that UTF-8 cannot encode") from None
        if b"\0" in pair[0] or b"\0" in pair[1]:
            raise DataError(f"start-up parameter {name!a} has a NUL character: PostgreSQL takes none")
        parts += (pair[0], b"\0", pair[1], b"\0")
    parts.append(b"\0")
    body = b"".join(parts)
    length = len(body) + 4
    if length > MAX_STARTUP_LENGTH:
        raise DataError(
            f"start-up parameters take {length} bytes and PostgreSQL takes {MAX_STARTUP_LENGTH}: "
            "shorten 'options', or set some after connecting"
        )
    out += _uint32(length) + body


def cancel_request(out: bytearray, pid: int, secret: bytes) -> None:
    """Append CancelRequest for the backend `pid` with its key of 4 (protocol 3.0) or 4 to 256 bytes (3.2).

    :raises LocalProtocolError: if the key has another length, or `pid` does not fit 32 bits.
    """
    if not MIN_SECRET_KEY_LENGTH <= len(secret) <= MAX_SECRET_KEY_LENGTH:
        limits = f"{MIN_SECRET_KEY_LENGTH} to {MAX_SECRET_KEY_LENGTH}"
        raise LocalProtocolError(f"a cancellation key has {limits} bytes, not {len(secret)}")
    try:
        out += _uint32(len(secret) + 12) + _uint32(CANCEL_REQUEST_CODE) + _int32(pid) + secret
    except struct.error:
        raise LocalProtocolError(f"{pid} is no backend process id") from None


# --- Authentication: three messages under one code


def password(out: bytearray, password: bytes) -> None:
    """Append PasswordMessage: the cleartext password, or its MD5 answer.

    :raises DataError: if the password has a NUL byte or is too long for a server.
    """
    if b"\0" in password:
        raise DataError("the password has a NUL byte: PostgreSQL takes none")
    _append_answer(out, password + b"\0")


def sasl_initial_response(out: bytearray, mechanism: str, data: bytes | None) -> None:
    """Append SASLInitialResponse: the mechanism chosen and the client's first message, if it begins.

    :raises LocalProtocolError: if the name is not ASCII text without NUL.
    """
    if not mechanism.isascii() or "\0" in mechanism:
        raise LocalProtocolError(f"{mechanism!a} is no SASL mechanism name")
    name = mechanism.encode("ascii") + b"\0"
    _append_answer(out, name + (_NULL if data is None else _uint32(len(data)) + data))


def sasl_response(out: bytearray, data: bytes) -> None:
    """Append SASLResponse with the mechanism's own `data`."""
    _append_answer(out, data)


def _append_answer(out: bytearray, body: bytes) -> None:
    if len(body) + 4 > MAX_AUTH_MESSAGE_LENGTH:
        raise DataError(
            f"the answer to the authentication request has {len(body)} bytes: "
            f"PostgreSQL takes at most {MAX_AUTH_MESSAGE_LENGTH - 4}"
        )
    out += _header(FrontendCode.PASSWORD, len(body) + 4) + body


# --- Queries


def query(out: bytearray, sql: bytes) -> None:
    """Append Query: the simple protocol, one or more statements in one string.

    :raises DataError: if `sql` has a NUL byte or is too long for a server.
    """
    if 0 in sql:
        _refuse_nul_in_sql(sql)
    length = len(sql) + 5
    if length > MAX_MESSAGE_LENGTH:
        _refuse_length(length)
    out += b"".join((_header(FrontendCode.QUERY, length), sql, b"\0"))


def parse(out: bytearray, name: bytes, sql: bytes, oids: Sequence[int]) -> None:
    """Append Parse of one statement; `oids` are its parameter types as far as known, 0 for an unknown one.

    :raises DataError: if `sql` has a NUL byte, has too many parameters, or is too long for a server.
    :raises LocalProtocolError: if the name has a NUL byte or an oid does not fit 32 bits.
    """
    if 0 in name:
        _refuse_name(name)
    if 0 in sql:
        _refuse_nul_in_sql(sql)
    count = len(oids)
    if count > MAX_PARAMETERS:
        _refuse_count(count)
    length = len(name) + len(sql) + 4 * count + 8
    if length > MAX_MESSAGE_LENGTH:
        _refuse_length(length)
    types = (_cached_oid_list if count <= _CACHED_PARAMETERS else _oid_list)(tuple(oids))
    out += b"".join((_header(_PARSE, length), name, b"\0", sql, b"\0", types))


def _oid_list(oids: tuple[int, ...]) -> bytes:
    count = len(oids)
    try:
        return struct.pack(f">H{count}I", count, *oids)
    except struct.error:
        raise LocalProtocolError(f"a type oid is a number of 32 bits: {oids!a}") from None


_cached_oid_list = lru_cache(maxsize=512)(_oid_list)


def bind(
    out: bytearray,
    portal: bytes,
    statement: bytes,
    formats: Sequence[int],
    values: Sequence[Buffer | None],
    result_formats: Sequence[int],
    after: bytes = b"",
) -> None:
    """Append Bind: make `portal` of `statement` with `values`; and whole messages that go with it.

    `formats` and `result_formats` have one code for all, or one each; none means text.

    :raises DataError: if there are too many values, or together they are too long for a server.
    :raises LocalProtocolError: if a name has a NUL byte, a format code is none, or their number does not fit.
    """
    # The hottest function of the driver in pure Python: change it only with timeit at hand. What does not depend
    # on the values comes from a cache, which also makes the checks free; the rest is joined once.
    count = len(values)
    plan = _bind_parts if count <= _CACHED_PARAMETERS else _make_bind_parts
    head, tail = plan(portal, statement, tuple(formats), count, tuple(result_formats))
    if count == 1 and type(only := values[0]) is bytes:
        # One parameter is the commonest number; without the list and the loop it takes a seventh less time.
        size = len(only)
        length = len(head) + size + len(tail) + 8
        if length > MAX_MESSAGE_LENGTH:
            _refuse_length(length)
        out += b"".join((_header(_BIND, length), head, _uint32(size), only, tail, after))
    else:
        parts: list[Buffer] = [head]
        for value in values:
            if type(value) is bytes:
                parts += (_uint32(len(value)), value)
            elif value is None:
                parts.append(_NULL)
            else:
                parts += _other_value(value)
        parts.append(tail)
        body = b"".join(parts)
        length = len(body) + 4
        if length > MAX_MESSAGE_LENGTH:
            _refuse_length(length)
        out += b"".join((_header(_BIND, length), body, after))


def _make_bind_parts(
    portal: bytes, statement: bytes, formats: tuple[int, ...], count: int, result_formats: tuple[int, ...]
) -> tuple[bytes, bytes]:
    """Return what comes before and after the values."""
    if 0 in portal:
        _refuse_name(portal)
    if 0 in statement:
        _refuse_name(statement)
    if count > MAX_PARAMETERS:
        _refuse_count(count)
    if len(formats) not in (0, 1, count):
        raise LocalProtocolError(f"{len(formats)} format codes for {count} values: give 0, 1 or one each")
    head = b"".join((portal, b"\0", statement, b"\0", _format_codes(formats), _uint16(count)))
    return head, _format_codes(result_formats)


_bind_parts = lru_cache(maxsize=512)(_make_bind_parts)


def _format_codes(formats: Sequence[int]) -> bytes:
    count = len(formats)
    if count > MAX_COLUMNS:
        raise LocalProtocolError(f"{count} format codes: the protocol has room for {MAX_COLUMNS}")
    if wrong := set(formats) - _FORMATS:
        raise LocalProtocolError(f"{wrong.pop()!a} is no format code: give 0 (text) or 1 (binary)")
    return struct.pack(f">H{count}H", count, *formats)


def _other_value(value: bytes | bytearray | memoryview) -> tuple[bytes, Buffer]:
    """Return length and content of a value that is not plain bytes."""
    # len() of a memoryview counts items, not bytes, and only contiguous ones can be joined.
    view = memoryview(value)
    if view.nbytes > MAX_MESSAGE_LENGTH:
        _refuse_length(view.nbytes)
    return _uint32(view.nbytes), view if view.c_contiguous else view.tobytes()


def describe(out: bytearray, kind: Literal[b"S", b"P"], name: bytes) -> None:
    """Append Describe of a statement (S) or portal (P).

    :raises LocalProtocolError: if `kind` is neither, or the name has a NUL byte.
    """
    _append_named(out, FrontendCode.DESCRIBE, kind, name)


def close(out: bytearray, kind: Literal[b"S", b"P"], name: bytes) -> None:
    """Append Close of a statement (S) or portal (P). It is no error if there is none of that name.

    :raises LocalProtocolError: if `kind` is neither, or the name has a NUL byte.
    """
    _append_named(out, FrontendCode.CLOSE, kind, name)


def _append_named(out: bytearray, code: int, kind: bytes, name: bytes) -> None:
    if kind not in (b"S", b"P"):
        raise LocalProtocolError(f"{kind!a} is neither a statement (b'S') nor a portal (b'P')")
    if 0 in name:
        _refuse_name(name)
    out += b"".join((_header(code, len(name) + 6), kind, name, b"\0"))


# --- COPY


def copy_data(out: bytearray, data: Buffer) -> None:
    """Append CopyData: a piece of the stream, cut anywhere.

    :raises DataError: if the piece is too long for one message; give it in smaller ones.
    """
    if type(data) is not bytes:
        data = _other_value(data)[1]
    length = memoryview(data).nbytes + 4
    if length > MAX_MESSAGE_LENGTH:
        _refuse_length(length)
    out += _header(_COPY_DATA, length)
    out += data


COPY_DATA_HEADER: Final = _header(FrontendCode.COPY_DATA, 0)
"""What a CopyData begins with whose data is appended bit by bit; :func:`end_copy_data` then puts the length in."""


def end_copy_data(message: bytearray) -> None:
    """Make a CopyData of COPY_DATA_HEADER and the data that follows it.

    :raises DataError: it is too long for one message.
    """
    length = len(message) - 1
    if length > MAX_MESSAGE_LENGTH:
        _refuse_length(length)
    message[: len(COPY_DATA_HEADER)] = _header(_COPY_DATA, length)


def copy_fail(out: bytearray, reason: bytes) -> None:
    """Append CopyFail: give the COPY up; the server reports an error with `reason`.

    NUL bytes in the reason become spaces and its end is cut off: a COPY that fails must not fail to say so.
    """
    reason = reason.replace(b"\0", b" ")[:LONGEST_REASON]
    out += b"".join((_header(FrontendCode.COPY_FAIL, len(reason) + 5), reason, b"\0"))


# --- Refusals, away from the hot paths


def _refuse_name(name: bytes) -> NoReturn:
    raise LocalProtocolError(f"the name {name!a} has a NUL byte: PostgreSQL takes none")


def _refuse_nul_in_sql(sql: bytes) -> NoReturn:
    raise DataError(
        f"the query has a NUL byte at offset {sql.index(0)}: PostgreSQL takes none; "
        "remove it, or pass binary data as a bytes parameter"
    )


def _refuse_count(count: int) -> NoReturn:
    raise DataError(
        f"{count} parameters: PostgreSQL takes at most {MAX_PARAMETERS} in one statement; "
        "pass an array, use executemany() or COPY"
    )


def _refuse_length(length: int) -> NoReturn:
    raise DataError(
        f"the message would have {length} bytes: PostgreSQL takes at most {MAX_MESSAGE_LENGTH}; "
        "send the data in smaller pieces, by COPY for example"
    )
