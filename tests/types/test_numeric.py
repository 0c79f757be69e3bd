"""Numbers: which type an int takes, and both formats of all of them."""

from __future__ import annotations

import enum
import math
from decimal import Decimal, getcontext, localcontext
from struct import pack, unpack
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.adapt import Format, PyFormat
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types import TypeInfo, numeric
from anyq.types.numeric import Float4, Float8, Int2, Int4, Int8, IntNumeric, Oid
from tests.support.values import FORMATS, PYFORMATS, dump, load, there_and_back, transformer


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 70_000


def name_of(value: Any, format: PyFormat = PyFormat.AUTO) -> str:
    return types[dump(value, format)[1]].name


# Integers


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0, "int2"),
        (2**15 - 1, "int2"),
        (-(2**15), "int2"),
        (2**15, "int4"),
        (-(2**15) - 1, "int4"),
        (2**31 - 1, "int4"),
        (-(2**31), "int4"),
        (2**31, "int8"),
        (-(2**31) - 1, "int8"),
        (2**63 - 1, "int8"),
        (-(2**63), "int8"),
        (2**63, "numeric"),
        (-(2**63) - 1, "numeric"),
        (Colour.RED, "int2"),
        (Colour.BLUE, "int4"),
        (Int2(1), "int2"),
        (Int4(1), "int4"),
        (Int8(1), "int8"),
        (IntNumeric(1), "numeric"),
        (Oid(1), "oid"),
    ],
)
def test_type_of_int(value: int, name: str, format: PyFormat) -> None:
    assert name_of(value, format) == name
    assert there_and_back(value, format) == value


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=st.integers() | st.integers(-(10**60), 10**60))
def test_int_there_and_back(value: int, format: PyFormat) -> None:
    got = there_and_back(value, format)
    assert got == value
    assert type(got) is (int if -(2**63) <= value < 2**63 else Decimal)


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("digits", [4_299, 4_300, 4_301, 131_072])
def test_int_of_more_digits_than_python_writes(digits: int, format: PyFormat) -> None:
    for value in (10 ** (digits - 1), 10**digits - 1, 1 - 10**digits):
        # Not a plain comparison, which would write the numbers out if it failed.
        same = there_and_back(value, format) == value
        assert same


@pytest.mark.parametrize("format", PYFORMATS)
def test_enum_is_sent_as_its_value(format: PyFormat) -> None:
    got = there_and_back(Colour.BLUE, format)
    assert got == 70_000
    assert type(got) is int


@pytest.mark.parametrize("value", [Int2(2**15), Int4(2**31), Int8(2**63), Oid(2**32), Oid(-1), Float4(1e39)])
def test_too_big_for_the_forced_type(value: Any) -> None:
    with pytest.raises(DataError, match="does not fit"):
        dump(value, PyFormat.BINARY)


def test_too_big_for_numeric() -> None:
    with pytest.raises(DataError, match="does not fit numeric"):
        dump(10**131_072, PyFormat.BINARY)


def test_wrappers_look_like_numbers() -> None:
    assert repr(Int2(1)) == "Int2(1)"
    assert str(Oid(7)) == f"{Oid(7)}" == "7"
    assert repr(Float4(1.5)) == "Float4(1.5)"
    assert str(Float8(1.5)) == "1.5"


@pytest.mark.parametrize(
    ("name", "format", "size", "signed"),
    [
        ("int2", ">h", 16, True),
        ("int4", ">i", 32, True),
        ("int8", ">q", 64, True),
        ("oid", ">I", 32, False),
        ("xid", ">I", 32, False),
        ("cid", ">I", 32, False),
        ("xid8", ">Q", 64, False),
    ],
)
@given(data=st.data())
def test_load_int(name: str, format: str, size: int, signed: bool, data: st.DataObject) -> None:
    low = -(2 ** (size - 1)) if signed else 0
    value = data.draw(st.integers(low, low + 2**size - 1))
    assert load(pack(format, value), name, Format.BINARY) == value
    assert load(str(value).encode(), name, Format.TEXT) == value


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (1, b"1"),
        (-1, b"(-1)"),
        (2**70, b"1180591620717411303424"),
        (Colour.BLUE, b"70000"),
        (Oid(5), b"5"),
        (1.5, b"1.5"),
        (-1.5, b"(-1.5)"),
        (math.nan, b"'NaN'::float8"),
        (-math.inf, b"'-Infinity'::float8"),
        (Float4(math.inf), b"'Infinity'::float4"),
        (Decimal("-1.50"), b"(-1.50)"),
        (Decimal("NaN"), b"'NaN'::numeric"),
        (Decimal("-Infinity"), b"'-Infinity'::numeric"),
    ],
)
def test_literal(value: Any, literal: bytes) -> None:
    assert transformer().as_literal(value) == literal


# Floats


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=st.floats())
def test_float_there_and_back(value: float, format: PyFormat) -> None:
    got = there_and_back(value, format)
    assert got == value or math.isnan(got) and math.isnan(value)
    assert math.copysign(1, got) == math.copysign(1, value) or math.isnan(value)
    assert name_of(value, format) == "float8"


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=st.floats(width=32, allow_nan=False))
def test_float4_there_and_back(value: float, format: PyFormat) -> None:
    assert there_and_back(Float4(value), format) == value
    assert name_of(Float4(value), format) == "float4"


@given(value=st.floats(width=32, allow_nan=False))
def test_float4_is_the_same_number_in_both_formats(value: float) -> None:
    # The server writes the shortest decimal that rounds to the float4.
    text = next(t for t in (f"{value:.{digits}g}" for digits in range(1, 17)) if _as_float4(t) == value)
    assert load(text.encode(), "float4", Format.TEXT) == load(pack(">f", value), "float4", Format.BINARY)


def _as_float4(text: str) -> float | None:
    try:
        number: float = unpack(">f", pack(">f", float(text)))[0]
    except OverflowError:
        return None
    return number


@pytest.mark.parametrize("name", ["float4", "float8"])
def test_load_special_floats(name: str) -> None:
    assert load(b"Infinity", name, Format.TEXT) == math.inf
    assert load(b"-Infinity", name, Format.TEXT) == -math.inf
    assert math.isnan(load(b"NaN", name, Format.TEXT))


# Numeric


decimals = st.decimals(allow_nan=False, allow_infinity=False) | st.builds(
    lambda negative, digits, exponent: Decimal((negative, digits, exponent)),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=60).map(tuple),
    st.integers(-200, 200),
)


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=decimals)
@example(value=Decimal("1e131071"))
@example(value=Decimal("1e-16383"))
@example(value=Decimal("0e-16383"))
@example(value=Decimal("0e999999"))
@example(value=Decimal("12345678901234567890.12345678901234567890123456789012345678901234567890"))
def test_decimal_there_and_back(value: Decimal, format: PyFormat) -> None:
    assert there_and_back(value, format) == value
    assert name_of(value, format) == "numeric"


@given(value=decimals)
def test_both_formats_keep_the_digits_after_the_point(value: Decimal) -> None:
    # As the server writes it: no exponent, and a zero has no sign.
    text = format(value, "f") if value else format(abs(value), "f")
    binary = dump(Decimal(text), PyFormat.BINARY)[0]
    assert binary is not None
    assert repr(load(bytes(binary), "numeric", Format.BINARY)) == repr(load(text.encode(), "numeric", Format.TEXT))


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ("0", (0, 0, 0, 0)),
        ("0.00", (0, 0, 0, 2)),
        ("-0", (0, 0, 0, 0)),
        ("1", (1, 0, 0, 0, 1)),
        ("-1.10", (2, 0, 0x4000, 2, 1, 1000)),
        ("10000", (1, 1, 0, 0, 1)),
        ("12345678.9", (3, 1, 0, 1, 1234, 5678, 9000)),
        ("0.00012345", (2, -1, 0, 8, 1, 2345)),
        ("0.00001", (1, -2, 0, 5, 1000)),
        ("NaN", (0, 0, 0xC000, 0)),
        ("sNaN", (0, 0, 0xC000, 0)),
        ("-NaN7", (0, 0, 0xC000, 0)),
        ("Infinity", (0, 0, 0xD000, 0)),
        ("-Infinity", (0, 0, 0xF000, 0)),
    ],
)
def test_binary_numeric(value: str, fields: tuple[int, ...]) -> None:
    data = pack(f">HhHH{len(fields) - 4}h", *fields)
    assert dump(Decimal(value), PyFormat.BINARY)[0] == data
    got = load(data, "numeric", Format.BINARY)
    if Decimal(value).is_nan():
        assert str(got) == "NaN"
    else:
        assert got == Decimal(value)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "-NaN", "NaN123", "Infinity", "-Infinity"])
def test_special_decimals_as_text(value: str) -> None:
    expected = value if "Inf" in value else "NaN"
    assert dump(Decimal(value), PyFormat.TEXT)[0] == expected.encode()
    assert str(load(expected.encode(), "numeric", Format.TEXT)) == expected


@pytest.mark.parametrize("value", ["1e131072", "1e999999999", "-1e131072", "1e-16384", "1e-999999", "0e-16384"])
def test_decimal_that_does_not_fit(value: str) -> None:
    with pytest.raises(DataError, match="numeric"):
        dump(Decimal(value), PyFormat.BINARY)


def test_the_decimal_context_does_not_matter() -> None:
    value = Decimal("123456789.123456789")
    with localcontext() as context:
        context.prec = 3
        context.Emax = 3
        assert there_and_back(value, PyFormat.BINARY) == value
        assert there_and_back(value, PyFormat.TEXT) == value
    assert getcontext().prec != 3


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("value", "expected"), [(1, "1"), (0.1, "0.1"), (Decimal("2.50"), "2.50"), (2**80, str(2**80))]
)
def test_numeric_by_oid_takes_every_number(value: Any, expected: str, format: Format) -> None:
    oid = types["numeric"].oid
    data = transformer().get_dumper_by_oid(oid, format).dump(value)
    assert data is not None
    assert load(bytes(data), oid, format) == Decimal(expected)


@given(data=st.binary(max_size=60))
def test_malformed_binary_numeric(data: bytes) -> None:
    try:
        got = load(data, "numeric", Format.BINARY)
    except DataError:
        return
    assert isinstance(got, Decimal)


def test_binary_dumpers_write_text_for_a_literal() -> None:
    """What they dump are bytes of any kind, and no SQL."""
    cases: tuple[tuple[type[Any], Any, bytes], ...] = (
        (numeric.Int2BinaryDumper, -2, b"(-2)"),
        (numeric.Int4BinaryDumper, 0x27272727, b"656877351"),
        (numeric.Int8BinaryDumper, 5, b"5"),
        (numeric.OidBinaryDumper, 5, b"5"),
        (numeric.IntNumericBinaryDumper, 5, b"5"),
        (numeric.FloatBinaryDumper, -1.5, b"(-1.5)"),
        (numeric.Float4BinaryDumper, float("nan"), b"'NaN'::float4"),
        (numeric.DecimalBinaryDumper, Decimal("1.50"), b"1.50"),
    )
    for dumper, value, literal in cases:
        assert dumper(type(value)).quote(value) == literal


_FLOATS = [1.5, -1.5, -0.0, 1e300, -1e-7, math.nan, math.inf, -math.inf]
_DECIMALS = [Decimal(text) for text in ("1.50", "-1.5", "-0.00", "1E+10", "NaN", "sNaN", "Infinity", "-Infinity")]
_QUOTED: list[tuple[type[Any], type[Any], Any, list[Any]]] = [
    (numeric.IntDumper, numeric.IntBinaryDumper, int, [0, -1, 2**31, -(2**31), -(2**63), 2**70, -(2**70)]),
    (numeric.Int2Dumper, numeric.Int2BinaryDumper, numeric.Int2, [5, -(2**15)]),
    (numeric.Int4Dumper, numeric.Int4BinaryDumper, numeric.Int4, [5, -5, -(2**31)]),
    (numeric.Int8Dumper, numeric.Int8BinaryDumper, numeric.Int8, [5, -5, -(2**63)]),
    (numeric.IntNumericDumper, numeric.IntNumericBinaryDumper, numeric.IntNumeric, [5, -5, 10**5000, -(10**30)]),
    (numeric.OidDumper, numeric.OidBinaryDumper, Oid, [0, 2**32 - 1]),
    (numeric.FloatDumper, numeric.FloatBinaryDumper, float, _FLOATS),
    (numeric.FloatDumper, numeric.FloatBinaryDumper, numeric.Float8, _FLOATS),
    (numeric.Float4Dumper, numeric.Float4BinaryDumper, Float4, _FLOATS),
    (numeric.DecimalDumper, numeric.DecimalBinaryDumper, Decimal, _DECIMALS),
]


@pytest.mark.parametrize(("text", "binary", "cls", "values"), _QUOTED)
def test_quote_and_literal_agree(text: type[Any], binary: type[Any], cls: type[Any], values: list[Any]) -> None:
    """Whichever way a number becomes SQL: a dumper by itself, one for the binary format, an object in a query."""
    for value in map(cls, values):
        quoted = text(cls).quote(value)
        assert quoted == binary(cls).quote(value) == transformer().as_literal(value)


@pytest.mark.parametrize(
    ("quoted", "literal"),
    [
        (numeric.FloatDumper(float).quote(math.nan), b"'NaN'::float8"),
        (numeric.FloatDumper(float).quote(-math.inf), b"'-Infinity'::float8"),
        (numeric.Float4Dumper(Float4).quote(math.inf), b"'Infinity'::float4"),
        (numeric.FloatDumper(float).quote(-0.0), b"'-0.0'::float8"),
        (numeric.FloatDumper(float).quote(1e300), b"'1e+300'::float8"),
        (numeric.DecimalDumper(Decimal).quote(Decimal("sNaN")), b"'NaN'::numeric"),
        (numeric.DecimalDumper(Decimal).quote(Decimal("-Infinity")), b"'-Infinity'::numeric"),
        (numeric.NumericDumper(float).quote(math.nan), b"'NaN'::numeric"),
        (numeric.Int4Dumper(int).quote(-(2**31)), b"'-2147483648'::int4"),
        (numeric.IntDumper(int).quote(-(2**63)), b"'-9223372036854775808'::int8"),
    ],
)
def test_what_is_quoted_has_a_cast(quoted: bytes, literal: bytes) -> None:
    assert quoted == literal


def test_a_number_of_a_type_of_ones_own_is_cast_by_who_knows_it() -> None:
    class Celsius(float):
        pass

    class CelsiusDumper(numeric.FloatDumper):
        oid = 99_999

    assert CelsiusDumper(Celsius).quote(Celsius("nan")) == b"'NaN'"
    tx = transformer()
    tx.adapters.register_dumper(Celsius, CelsiusDumper)
    TypeInfo("celsius", 99_999, 0).register(tx)
    assert tx.as_literal(Celsius("nan")) == b"'NaN'::celsius"


def test_a_literal_is_what_a_subclass_dumps() -> None:
    class Doubled(numeric.Int4Dumper):
        def dump(self, obj: int) -> bytes:
            return super().dump(2 * obj)

    assert Doubled(int).quote(-2) == b"(-4)"
