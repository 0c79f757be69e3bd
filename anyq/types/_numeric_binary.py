"""The binary format of numeric.

Knows it byte by byte: four 16-bit integers, which are the number of digits, the weight of the first digit, the sign and
the number of decimal digits to show after the point; then the digits, in base 10000
(src/backend/utils/adt/numeric.c, numeric_send). Must not know dumpers and loaders.
"""

from __future__ import annotations

from decimal import Context, Decimal
from struct import Struct, pack, unpack_from
from struct import error as StructError

from .._accel.failures import shown
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


# Those of 10**131_072 - 1, the greatest that fits.
_MAX_BITS = 435_412
# Up to here the interpreter's own conversion, which takes the square of the length, is the faster one.
_FEW_BITS = 4096


def decimal_of_int(number: int) -> Decimal:
    """Return an int as a Decimal.

    :raises DataError: it has more digits than a numeric can hold.
    """
    bits = number.bit_length()
    if bits <= _FEW_BITS:
        return Decimal(number)
    # Before anything is done with it, as that may take minutes.
    if bits > _MAX_BITS:
        raise DataError(
            f"an int of {bits:,} bits does not fit numeric, which has {_MAX_INTEGER_DIGITS:,} digits before the point"
        )
    decimal = _decimal_of_bits(abs(number), bits, {})
    return decimal if number > 0 else decimal.copy_negate()


def _decimal_of_bits(number: int, bits: int, powers: dict[int, Decimal]) -> Decimal:
    """Return an int that is not negative, by halves: a Decimal is multiplied fast."""
    if bits <= _FEW_BITS:
        return Decimal(number)
    half = bits >> 1
    high = _decimal_of_bits(number >> half, bits - half, powers)
    low = _decimal_of_bits(number & ((1 << half) - 1), half, powers)
    power = powers.get(half)
    if power is None:
        power = powers[half] = _exact.power(2, half)
    return _exact.add(low, _exact.multiply(high, power))


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
        digits: tuple[int, ...] = unpack_from(f">{ndigits}H", data, 8)
    except StructError as ex:
        raise _malformed(data) from ex
    if len(data) != 8 + 2 * ndigits or scale > _MAX_SCALE or (digits and max(digits) > 9999):
        raise _malformed(data)
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
    if surplus < -_MAX_SCALE:
        # An equal number, and not a hundred thousand zeros that nobody has sent.
        scale += surplus
    else:
        text = text[:-surplus] if surplus > 0 else text + "0" * -surplus
    return Decimal(f"{'-' if sign else ''}{text or '0'}E{-scale}")


def _malformed(data: bytes) -> DataError:
    return DataError(f"malformed numeric in binary format: {shown(data)}")


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
