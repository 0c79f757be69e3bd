"""The two formats of a record: a composite, or a row of no type.

Knows parentheses, quotes and lengths (PostgreSQL manual, "Composite Type Input and Output Syntax";
src/backend/utils/adt/rowtypes.c). Must not know how fields are converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from struct import error as StructError

from .._accel.failures import shown
from ..errors import DataError
from ._inside import QUOTED, unquote

_unpack_count = Struct(">i").unpack_from
_unpack_field = Struct(">Ii").unpack_from
_FIELD_SIZE = 8

_field = re.compile(rb'(?:%b|([^"\\(),]*))(,|\Z)' % QUOTED, re.DOTALL)


def parse_record(data: bytes, recode: Callable[[bytes], bytes] | None = None) -> list[bytes | None]:
    """Return the fields of a record in text format, None for NULL.

    :param recode: what is done to a field.
    :raises DataError: it is malformed.
    """
    if data[:1] + data[-1:] != b"()" or len(data) < 2:
        raise _malformed(data)
    body = data[1:-1]
    parts: list[bytes | None]
    if b'"' not in body and b"\\" not in body:
        if b"(" in body or b")" in body:
            raise _malformed(data)
        parts = [part or None for part in body.split(b",")]
    else:
        parts = _parse_quoted(data, body)
    return parts if recode is None else [part and recode(part) for part in parts]


def _parse_quoted(data: bytes, body: bytes) -> list[bytes | None]:
    parts: list[bytes | None] = []
    position = 0
    while True:
        match = _field.match(body, position)
        if match is None:
            raise _malformed(data)
        quoted, plain, separator = match.groups()
        parts.append(unquote(quoted) if quoted is not None else plain or None)
        if not separator:
            return parts
        position = match.end()


def parse_record_binary(data: bytes) -> tuple[tuple[int, ...], list[bytes | None]]:
    """Return the oids and the fields of a record in binary format, None for NULL.

    :raises DataError: it is malformed.
    """
    oids: list[int] = []
    parts: list[bytes | None] = []
    try:
        count = _unpack_count(data)[0]
        position = 4
        if not 0 <= count <= len(data) // _FIELD_SIZE:
            raise _malformed(data)
        for _ in range(count):
            oid, length = _unpack_field(data, position)
            position += _FIELD_SIZE
            oids.append(oid)
            if length < 0:
                parts.append(None)
            else:
                start = position
                position += length
                parts.append(data[start:position])
    except StructError as ex:
        raise _malformed(data) from ex
    if position != len(data):
        raise _malformed(data)
    return tuple(oids), parts


def _malformed(data: bytes) -> DataError:
    return DataError(f"malformed composite: {shown(data)}")
