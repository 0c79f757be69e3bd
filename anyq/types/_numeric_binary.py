"""The binary format of numeric.

Knows it byte by byte: four 16-bit integers, which are the number of digits, the weight of the first digit, the sign and
the number of decimal digits to show after the point; then the digits, in base 10000
(src/backend/utils/adt/numeric.c, numeric_send). Must not know dumpers and loaders.
"""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from struct import Struct, pack, unpack_from
from struct import error as StructError

from ..errors import DataError

_POSITIVE = 0x0000
_NEGATIVE = 0x4000
_NAN = 0xC000
_INFINITY = 0xD000
_MINUS_INFINITY = 0xF000

_SPECIALS = {_NAN: Decimal("NaN"), _INFINITY: Decimal("Infinity"), _MINUS_INFINITY: Decimal("-Infinity")}

# "Arbitrary Precision Numbers": digits before the point and after it.
_MAX_INTEGER_DIGITS = 131_072
_MAX_SCALE = 16_383


def pack_numeric(number: Decimal) -> bytes:
    """Return a Decimal in the binary format of numeric.

    :raises DataError: it has more digits than a numeric can hold.
    """
    if not number.is_finite():
        sign = _NAN if number.is_nan() else _INFINITY if number > 0 else _MINUS_INFINITY
        return pack(">HhHH", 0, 0, sign, 0)
    # Before the digits are written out: the exponent of a few bytes of Decimal can ask for gigabytes.
    magnitude = number.adjusted()
    if not -_MAX_SCALE <= magnitude < _MAX_INTEGER_DIGITS:
        if number or magnitude < 0:
            raise _too_long(number)
        number = Decimal(0)

    integer, _, fraction = format(number, "f").partition(".")
    negative = integer.startswith("-")
    integer = integer.lstrip("-0")
    scale = len(fraction)
    if scale > _MAX_SCALE:
        raise _too_long(number)
    lead = -len(integer) % 4
    weight = (len(integer) + lead) // 4 - 1
    text = "0" * lead + integer + fraction + "0" * (-scale % 4)
    digits = [int(text[i : i + 4]) for i in range(0, len(text), 4)]
    while digits and not digits[-1]:
        digits.pop()
    first = next((i for i, digit in enumerate(digits) if digit), 0)
    if first:
        del digits[:first]
        weight -= first
    if not digits:
        weight, negative = 0, False
    sign = _NEGATIVE if negative else _POSITIVE
    return pack(f">HhHH{len(digits)}h", len(digits), weight, sign, scale, *digits)


def unpack_numeric(data: bytes) -> Decimal:
    """Return the Decimal of a numeric in binary format.

    :raises DataError: it is malformed.
    """
    try:
        ndigits, weight, sign, scale = _unpack_header(data)
        digits: tuple[int, ...] = unpack_from(f">{ndigits}h", data, 8)
    except StructError as ex:
        raise DataError(f"malformed numeric in binary format: {data[:32]!r}") from ex
    if sign != _POSITIVE and sign != _NEGATIVE:
        try:
            return _SPECIALS[sign]
        except KeyError:
            raise DataError(f"unknown sign of a numeric in binary format: {sign:#06x}") from None

    # Decimal digits after the point that are there but not shown, or if negative the other way round.
    surplus = (ndigits - weight - 1) * 4 - scale
    if ndigits <= _FEW_DIGITS and -len(_POWERS) < surplus < len(_POWERS):
        number = 0
        for digit in digits:
            number = number * 10_000 + digit
        if surplus > 0:
            number //= _POWERS[surplus]
        elif surplus:
            number *= _POWERS[-surplus]
        return Decimal(-number if sign else number).scaleb(-scale, _exact)

    text = "%04d" * ndigits % digits
    text = text[:-surplus] if surplus > 0 else text + "0" * -surplus
    try:
        return Decimal(f"{'-' if sign else ''}{text or '0'}E-{scale}")
    except InvalidOperation as ex:
        raise DataError(f"malformed numeric in binary format: {data[:32]!r}") from ex


# Up to here an int is faster than a text.
_FEW_DIGITS = 16
_POWERS = tuple(10**exponent for exponent in range(64))

# The default context of a thread rounds to 28 digits.
_exact = Context(prec=_MAX_INTEGER_DIGITS + _MAX_SCALE)

_unpack_header = Struct(">HhHH").unpack_from


def _too_long(number: Decimal) -> DataError:
    return DataError(
        f"the Decimal does not fit numeric, which has {_MAX_INTEGER_DIGITS:,} digits before the point and"
        f" {_MAX_SCALE:,} after it: it goes from 1E{number.as_tuple().exponent} to 1E{number.adjusted()}"
    )
