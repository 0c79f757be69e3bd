"""The two formats of a range.

Knows brackets, flags and lengths (PostgreSQL manual, "Range Input/Output"; src/backend/utils/adt/rangetypes.c). Must
not know how bounds are converted: it is handed what does that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any

from .._accel.failures import load_failure, shown
from ..adapt.adapters_map import LoadFunc
from ..errors import DataError
from ._inside import QUOTED, quote, unquote
from ._range_values import Range, loaded_range


def dump_range_text(obj: Range[Any], dump: Callable[[Any], bytes], encoding: str = "utf-8") -> bytes:
    """Return a range in text format.

    :param dump: returns a bound in text format.
    :param encoding: of what that returns.
    """
    if obj.isempty:
        return b"empty"
    lower, upper = (b"" if value is None else quote(dump(value), encoding) for value in (obj.lower, obj.upper))
    return b"%b%b,%b%b" % (obj.bounds[0].encode(), lower, upper, obj.bounds[1].encode())


# src/include/utils/rangetypes.h: RANGE_EMPTY, RANGE_LB_INC, ...
_EMPTY, _LOWER_INC, _UPPER_INC, _LOWER_INF, _UPPER_INF = 1, 2, 4, 8, 16

_INCLUDED = {"[]": _LOWER_INC | _UPPER_INC, "[)": _LOWER_INC, "(]": _UPPER_INC, "()": 0}

_pack_length = Struct(">i").pack
_unpack_length = Struct(">i").unpack_from


def dump_range_binary(obj: Range[Any], dump: Callable[[Any], bytes]) -> bytes:
    """Return a range in binary format.

    :param dump: returns a bound in binary format.
    """
    if obj.isempty:
        return bytes((_EMPTY,))
    flags = _INCLUDED[obj.bounds]
    out: list[bytes] = []
    for value, infinite in ((obj.lower, _LOWER_INF), (obj.upper, _UPPER_INF)):
        if value is None:
            flags |= infinite
        else:
            data = dump(value)
            out += (_pack_length(len(data)), data)
    return b"".join((bytes((flags,)), *out))


_BOUND = rb'(?:%b|([^"\\(),\[\]]*))' % QUOTED
_range = re.compile(rb"([\[(])%b,%b([\])])" % (_BOUND, _BOUND), re.DOTALL)


def load_range_text(
    data: bytes, load: LoadFunc, start: int = 0, recode: Callable[[bytes], bytes] | None = None
) -> tuple[Range[Any], int]:
    """Return a range in text format and where it ends.

    :param load: loads a bound.
    :param start: where it begins in `data`.
    :param recode: what is done to a bound before it is loaded.
    :raises DataError: it is malformed.
    """
    match = _range.match(data, start)
    if match is None:
        if data.startswith(b"empty", start):
            return Range(empty=True), start + 5
        raise malformed(data)
    lower_bracket, lower, lower_plain, upper, upper_plain, upper_bracket = match.groups()
    lower = unquote(lower) if lower is not None else lower_plain or None
    upper = unquote(upper) if upper is not None else upper_plain or None
    if recode is not None:
        lower, upper = lower and recode(lower), upper and recode(upper)
    bounds = _BOUNDS[(lower_bracket if lower is not None else b"(") + (upper_bracket if upper is not None else b")")]
    return loaded_range(load_bound(load, lower), load_bound(load, upper), bounds), match.end()


def load_bound(load: LoadFunc, data: bytes | None) -> Any:
    """Return a bound, None for none."""
    try:
        return None if data is None else load(data)
    except Exception as ex:
        raise load_failure(load, data or b"", ex)  # noqa: B904 (it has its cause, if it is another one)


_BOUNDS = {bounds.encode(): bounds for bounds in ("[]", "[)", "(]", "()")}

_FLAGS = {
    inc | inf: (
        ("[" if inc & _LOWER_INC and not inf & _LOWER_INF else "(")
        + ("]" if inc & _UPPER_INC and not inf & _UPPER_INF else ")"),
        not inf & _LOWER_INF,
        not inf & _UPPER_INF,
    )
    for inc in (0, _LOWER_INC, _UPPER_INC, _LOWER_INC | _UPPER_INC)
    for inf in (0, _LOWER_INF, _UPPER_INF, _LOWER_INF | _UPPER_INF)
}
"""By the flags: the bounds, and whether there is a lower and an upper one."""


def load_range_binary(data: bytes, load: LoadFunc) -> Range[Any]:
    """Return a range in binary format.

    :param load: loads a bound.
    :raises DataError: it is malformed.
    """
    if data == b"\x01":
        return Range(empty=True)
    flags = _FLAGS.get(data[0]) if data else None
    if flags is None:
        raise malformed(data)
    bounds, has_lower, has_upper = flags
    lower = upper = None
    end = 1
    try:
        if has_lower:
            start = end + 4
            end = start + _unpack_length(data, end)[0]
            lower = data[start:end]
        if has_upper:
            start = end + 4
            end = start + _unpack_length(data, end)[0]
            upper = data[start:end]
    except StructError as ex:
        raise malformed(data) from ex
    # A length that is negative, or too great, does not add up.
    size = 1 + (0 if lower is None else 4 + len(lower)) + (0 if upper is None else 4 + len(upper))
    if size != len(data) or end != size:
        raise malformed(data)
    return loaded_range(load_bound(load, lower), load_bound(load, upper), bounds)


def malformed(data: bytes) -> DataError:
    """Return the error for a value that is no range."""
    return DataError(f"malformed range: {shown(data)}")
