"""No value of a server's costs more than its size: each decoder, with shapes that would be costly for a careless one.

There is no clock in it. The values are so big that whoever takes the square of their size does not come to an end, and
what they may take of memory is a multiple of their size.
"""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from decimal import Decimal
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq._accel.failures import load_failure
from anyq.adapt import Format, PyFormat, Transformer
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types._numeric_binary import decimal_of_int, unpack_numeric
from anyq.types.numeric import Int8
from tests.support.twins import Context

SIZE = 400_000

#: By type and format: what a value begins with, what is repeated in it, and its end.
SHAPES: dict[tuple[str, int], list[tuple[bytes, bytes, bytes]]] = {
    ("bool", 0): [(b"", b"t", b"")],
    ("text", 0): [(b"", b"a", b"\xff"), (b"", b"\xff", b""), (b"", b"\xf0\x9f\x98\x80", b"\xf0")],
    ("bytea", 0): [(b"\\x", b"0", b"x"), (b"", b"\\", b""), (b"", b"\\000", b"\\"), (b"a", b"\\\\", b"\\9")],
    ("int4", 0): [(b"", b"1", b""), (b"", b" ", b""), (b"1", b"_1", b""), (b"-", b"0", b"x")],
    ("float8", 0): [(b"", b"1", b""), (b"0.", b"0", b"1"), (b"1e", b"9", b""), (b"", b" ", b"1"), (b"1.", b"1", b"x")],
    ("float4", 0): [(b"", b"1", b"x"), (b"0.", b"3", b"")],
    ("numeric", 0): [(b"", b"9", b""), (b"0.", b"0", b"1"), (b"", b"-", b""), (b"1e", b"1", b""), (b"1", b"_", b"")],
    ("numeric", 1): [(b"\xff\xff\0\0\0\0\0\0", b"\x27\x0f", b""), (pack(">HhHH", 65_535, 32_767, 0, 0), b"\0\1", b"")],
    ("uuid", 0): [(b"", b"0", b""), (b"", b"-", b""), (b"", b"0-", b"")],
    ("uuid", 1): [(b"", b"\xff", b"")],
    ("date", 0): [(b"", b"9", b"-01-01"), (b"", b"2000-01-01", b""), (b"", b" ", b""), (b"01/", b"01/", b"2000")],
    ("time", 0): [(b"10:00:00.", b"1", b""), (b"", b"10:", b""), (b"", b"1", b"")],
    ("timetz", 0): [(b"10:00:00+", b"0", b""), (b"10:00:00", b"+00", b""), (b"10:00:00-", b":", b"")],
    ("timestamp", 0): [(b"", b"9", b"-01-01 00:00:00"), (b"Wed Dec 17 07:37:16 ", b"9", b""), (b"", b"A", b" BC")],
    ("timestamptz", 0): [
        *[
            (b"2000-01-01 00:00:00 ", b"A", b" BC"),
            (b"2000-01-01 00:00:00+", b"1", b""),
            (b"2000-01-01 00:00:00", b" ", b""),
        ],
        *[(b"01/02/2003 00:00:00 <", b"<", b""), (b"Wed Dec 17 07:37:16 1997 P", b"B ", b"C")],
    ],
    ("interval", 0): [
        *[(b"", b"1", b" days"), (b"", b"1", b""), (b"@ ", b"1", b" hours"), (b"P", b"1", b""), (b"P1Y", b"1", b"D")],
        *[(b"1-", b"1", b" 1"), (b"", b"1 ", b""), (b"", b" ", b""), (b"", b"1 day ", b""), (b"-", b"1", b":00:00")],
        *[(b"1-1 ", b"1", b" 1:00:0"), (b"@", b" 0", b""), (b"PT", b"1H", b"")],
    ],
    ("json", 0): [
        *[
            (b"", b"[", b""),
            (b"", b"1", b""),
            (b"", b'{"a":', b""),
            (b'"', b"\\u0041", b""),
            (b"", b" ", b""),
            (b"-", b"-", b""),
        ],
        *[
            (b"1.", b"1", b""),
            (b"1e", b"1", b""),
            (b"[", b"[],", b"]"),
            (b"[", b"1,", b""),
            (b'"', b"\\", b""),
            (b'"', b"\xc3", b""),
        ],
    ],
    ("jsonb", 1): [(b"\1", b"[", b""), (b"\1", b"1", b""), (b"\1", b'{"a":', b"")],
    ("text[]", 0): [
        *[
            (b'{"', b'\\"', b""),
            (b'{"', b"\\\\", b""),
            (b"{", b'"a",', b""),
            (b"", b"{", b""),
            (b"{", b"{},", b"}"),
            (b"{", b",", b"}"),
        ],
        *[
            (b"", b"{a", b""),
            (b"[1", b":1", b""),
            (b"", b"[1:1]", b""),
            (b"{", b"NULL,", b'"'),
            (b"{", b'""', b""),
            (b"{", b"\\", b""),
        ],
        *[(b"{", b'"\\""', b"}"), (b'{"', b"a", b"")],
    ],
    ("numrange", 0): [
        *[
            (b"[", b"1", b",2)"),
            (b"[1,", b"1", b""),
            (b'["', b'""', b'",2)'),
            (b'["', b"\\\\", b""),
            (b'["', b'""', b""),
        ],
        *[
            (b'["1","', b'","', b""),
            (b"", b"[", b""),
            (b"", b"[1,2)", b""),
            (b'[""', b'""', b",]"),
            (b"", b"empty", b""),
        ],
    ],
    ("numrange", 1): [
        (b"\2" + pack(">i", SIZE), b"\0", pack(">i", 0)),
        (b"\2", b"\0", b""),
        (b"", b"\x18", b""),
    ],
    ("nummultirange", 0): [
        *[(b"{", b"[1,2),", b"}"), (b"{[1,2)", b",[1,2)", b"}"), (b"{", b"empty,", b"empty}"), (b"", b"{", b"")],
        *[(b"{", b'["1","2"),', b'["'), (b'{["', b'""', b""), (b'{["', b'""', b'",)}'), (b"{(,)", b",(,)", b"x")],
    ],
    ("nummultirange", 1): [
        (pack(">i", SIZE // 5), pack(">i", 1) + b"\x18", b""),
        (pack(">i", SIZE // 5 + 1), pack(">i", 1) + b"\x18", b""),
        (pack(">i", 2**31 - 1), pack(">i", 0), b""),
    ],
    ("record", 0): [
        *[(b"(", b",", b")"), (b"(", b"a,", b")"), (b"(", b'"a",', b")"), (b'("', b'""', b'")'), (b'("', b'""', b"")],
        *[(b"", b"(", b""), (b"(", b'"",', b'"'), (b'("', b"\\\\", b""), (b'(a"', b"a", b")"), (b"(", b'"\\"', b")")],
    ],
    ("record", 1): [
        (pack(">i", SIZE // 8), pack(">Ii", 23, -1), b""),
        (pack(">i", SIZE // 8), pack(">Ii", 23, 0), b""),
        (pack(">i", 2**31 - 1), pack(">Ii", 23, -1), b""),
        (pack(">iIi", 1, 2249, SIZE), pack(">iIi", 1, 2249, 4), b""),
    ],
    ("record[]", 0): [(b"{", b'"(a,b)",', b"}"), (b'{"', b"(", b'"}'), (b"{", b'"(1)"', b"")],
    ("int4[]", 0): [(b"{", b"1,", b"x}"), (b"{", b"{1},", b"{x}}"), (b"{", b"1", b"}")],
    ("int4[]", 1): [
        (pack(">iiIii", 1, 0, 23, SIZE // 8, 1), pack(">ii", 4, 7), b""),
        (pack(">iiIii", 1, 0, 23, SIZE // 8, 1), pack(">ii", 4, 7), b"\0"),
        (pack(">iiIii", 1, 0, 23, SIZE // 4, 1), pack(">i", -1), b""),
        (pack(">iiIii", 1, 0, 23, SIZE // 4, 1), pack(">i", 0), b""),
        (pack(">iiIii", 1, 0, 23, 2**31 - 1, 1), b"\xff", b""),
        (pack(">iiI", 6, 0, 23) + pack(">ii", 0, 1) * 6, b"\0", b""),
        (pack(">iiI", 6, 0, 23) + pack(">ii", 2**31 - 1, 1) * 6, b"\0", b""),
        (pack(">iiIiiii", 2, 0, 23, SIZE // 4, 1, 1, 1), pack(">i", -1), b""),
    ],
}


def load_one(load: Any, data: bytes) -> Any:
    try:
        return load(data)
    except Exception as ex:
        raise load_failure(load, data, ex) from ex


@pytest.mark.parametrize(("name", "format"), sorted(SHAPES))
def test_work_and_memory_are_linear(name: str, format: int) -> None:
    load = Transformer(Context()).get_load_function(types.get_oid(name), format)
    for before, repeated, after in SHAPES[name, format]:
        data = before + repeated * (SIZE // len(repeated)) + after
        tracemalloc.start()
        try:
            with suppress(DataError):
                load_one(load, data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 200 * len(data), (before, repeated, after)


def nested(depth: int, innermost: bytes) -> bytes:
    """Return an array of arrays of arrays: each has one item, which says that it is an int4[]."""
    data = pack(">iiIii", 1, 0, 23, 1, 1) + innermost
    for _ in range(depth):
        data = pack(">iiIiii", 1, 0, types["int4"].array_oid, 1, 1, len(data)) + data
    return data


@pytest.mark.parametrize("depth", [1, 40, 30_000])
@pytest.mark.parametrize("innermost", [pack(">ii", 4, 7), b"\0", b""])
def test_arrays_of_arrays_are_refused(depth: int, innermost: bytes) -> None:
    load = Transformer(Context()).get_load_function(types.get_oid("int4[]"), Format.BINARY)
    with pytest.raises(DataError, match="malformed array: its items are said to be of type 1007, which is an array"):
        load_one(load, nested(depth, innermost))


def test_a_few_bytes_of_numeric_are_no_hundred_thousand_digits() -> None:
    huge = unpack_numeric(pack(">HhHHH", 1, 32_767, 0, 0, 1))
    assert huge == Decimal(10) ** 131_068
    assert len(huge.as_tuple().digits) < 20
    # What is shown of a fraction stays.
    assert unpack_numeric(pack(">HhHHH", 1, 0, 0, 3, 1)).as_tuple() == Decimal("1.000").as_tuple()


@pytest.mark.parametrize("bits", [435_413, 664_386, 50_000_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_fits_nothing_is_refused_by_its_bits(bits: int, sign: int) -> None:
    number = sign << bits
    tx = Transformer(Context())
    for value in (number, [number], Int8(number)):
        for literal in (True, False):
            with pytest.raises(DataError, match="fit|range|format"):
                if literal:
                    tx.as_literal(value)
                else:
                    tx.dump_sequence([value], [PyFormat.BINARY])


@given(st.integers(0, 435_000).flatmap(lambda bits: st.integers(0, 1 << bits)), st.booleans())
def test_the_greatest_numbers_are_written_exactly(number: int, negative: bool) -> None:
    number = -number if negative else number
    assert int(decimal_of_int(number)) == number if number.bit_length() < 20_000 else decimal_of_int(number) == number


# Any bytes


@pytest.mark.parametrize(("name", "format"), sorted(SHAPES))
def test_any_bytes_are_a_value_or_a_data_error(name: str, format: int) -> None:
    load = Transformer(Context()).get_load_function(types.get_oid(name), format)
    pieces = [piece for shape in SHAPES[name, format] for piece in shape if len(piece) < 100]

    @given(
        st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(pieces), max_size=8).map(b"".join)),
        st.binary(max_size=3),
    )
    def check(data: bytes, more: bytes) -> None:
        with suppress(DataError):
            load_one(load, data + more)

    check()
