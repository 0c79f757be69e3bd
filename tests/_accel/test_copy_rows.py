"""Rows of COPY, compiled against those in Python: the same bytes, rows and errors, on random, cut and changed data.

Both run in one process, so this is of use whichever implementation is chosen, as long as the compiled one is built.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections import namedtuple
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.adapt import Dumper, Format, Loader, Transformer
from anyq.adapt.copy import BINARY_HEADER, BINARY_TRAILER, RowFormatter, RowParser
from anyq.types.numeric import Int2Dumper, IntBinaryDumper, IntDumper
from tests._accel.test_dumping import LISTS, OBJECTS
from tests.support.twins import Context, outcome, twin_or_skip, whole

copy_rows = twin_or_skip("copy_rows")

ENCODINGS = ["utf-8", "latin-1", "shift_jis", "gb18030", "ascii"]
TYPES = ["text", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bool", "bytea", "date", "time"]
TYPES += ["timestamp", "timestamptz", "interval", "uuid", "varchar", "jsonb", "int4[]", "text[]", "timetz"]

TEXTS = st.one_of(
    st.text(st.sampled_from("ab\\\t\n\r\b\v\f\x01\x0e\0N.\xe9\u20ac\u8868\u80fd\U0001f418\ud800"), max_size=30),
    st.text(max_size=20),
    st.sampled_from(["a" * 5000 + "\\", "\\" * 5000, "\xe9" * 5000, "\n" * 4097, "a" * 5000 + "\0"]),
)
NUMBERS = st.one_of(
    st.decimals(allow_nan=True),
    st.decimals(places=4),
    st.builds(
        lambda sign, digits, exponent: Decimal((sign, digits, exponent)),
        st.integers(0, 1),
        st.lists(st.integers(0, 9), max_size=130),
        st.integers(-1200, 1200),
    ),
    st.floats(),
    st.integers(-(10**16), 10**16).map(float),
    st.builds(lambda number, places: number / 10**places, st.integers(-(10**16), 10**16), st.integers(0, 20)),
    st.builds(lambda number, places: round(number, places), st.floats(-1e6, 1e6), st.integers(0, 9)),
)
VALUES = st.one_of(OBJECTS, TEXTS, NUMBERS, LISTS)
Pair = namedtuple("Pair", "a b")


def written(
    compiled: bool, binary: bool, rows: Sequence[Any], types: Sequence[str] | None, encoding: str, columns: int | None
) -> Any:
    formatter = RowFormatter(Transformer(Context(encoding=encoding)), binary, columns)
    if types is not None:
        formatter.set_types(types)
    format_row = copy_rows.compile_format(formatter) if compiled else formatter.format_pure
    out = bytearray(b"before")
    found: list[Any] = []
    for row in rows:
        found.append((outcome(format_row, row, out), len(out)))
    return found, bytes(out)


@given(
    st.booleans(),
    st.lists(st.one_of(st.tuples(VALUES, VALUES), st.lists(VALUES, max_size=3), st.builds(Pair, VALUES, VALUES))),
    st.sampled_from(ENCODINGS),
    st.sampled_from([None, None, 2]),
)
@example(True, [(b"x" * 10_000, "y" * 10_000), ("\xe9", dt.time(1))], "utf-8", 2)
def test_rows_are_written_alike(binary: bool, rows: list[Any], encoding: str, columns: int | None) -> None:
    arguments = (binary, rows, None, encoding, columns)
    assert written(True, *arguments) == written(False, *arguments)


@given(
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(TYPES), VALUES), min_size=1, max_size=4),
    st.sampled_from(ENCODINGS),
)
def test_values_of_types_that_were_set_are_written_alike(
    binary: bool, values: list[tuple[str, Any]], encoding: str
) -> None:
    types = [one for one, _ in values]
    row = tuple([value for _, value in values])
    rows = [row, [None] * len(row), row[1:], (*row, 1), row]
    arguments = (binary, rows, types, encoding, None)
    assert written(True, *arguments) == written(False, *arguments)


@given(st.booleans(), NUMBERS)
def test_numbers_are_written_alike(binary: bool, number: Any) -> None:
    arguments = (binary, [(number,), [number]], None, "utf-8", 1)
    assert written(True, *arguments) == written(False, *arguments)


@given(st.booleans(), TEXTS)
def test_texts_are_written_alike(binary: bool, text: str) -> None:
    arguments = (binary, [(text, text), [1, text]], None, "utf-8", 2)
    assert written(True, *arguments) == written(False, *arguments)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("row", ["ab", b"ab", {"a": 1}, {1}, 5, None, range(3), iter((1, "a")), (None,) * 0x8000])
def test_other_rows_are_written_alike(binary: bool, row: Any) -> None:
    rows = [row] if not isinstance(row, type(iter(()))) else [(1, "a")]
    assert written(True, binary, rows, None, "utf-8", None) == written(False, binary, rows, None, "utf-8", None)
    assert written(True, binary, [(1,)], None, "utf-8", 2) == written(False, binary, [(1,)], None, "utf-8", 2)


def test_registrations_count_at_once() -> None:
    for compiled in (True, False):
        tx = Transformer(Context())
        formatter = RowFormatter(tx, False)
        format_row = copy_rows.compile_format(formatter) if compiled else formatter.format_pure
        out = bytearray()
        format_row((1, "a"), out)

        class Loud(Dumper):
            def dump(self, obj: Any) -> Any:
                return {"b": None, "c": memoryview(b"C\t"), "d": bytearray(b"\\D")}.get(obj, b"\nLOUD")

        tx.adapters.register_dumper(str, Loud)
        for value in "abcd":
            format_row((1, value), out)
        assert out == b"1\ta\n1\t\\nLOUD\n1\t\\N\n1\tC\\t\n1\t\\\\D\n"


def test_what_tells_ints_apart_may_have_dumpers_of_its_own() -> None:
    class Small(Int2Dumper):
        def dump(self, obj: int) -> bytes:
            return b"small"

    class Ints(IntDumper):
        _dumpers = {**IntDumper._dumpers, next(iter(IntDumper._dumpers)): Small}

    class Whole(IntBinaryDumper):
        def upgrade(self, obj: int, format: Any) -> Any:
            return self

        def dump(self, obj: int) -> bytes:
            return b"whole"

    tx = Transformer(Context())
    tx.adapters.register_dumper(int, Ints)
    tx.adapters.register_dumper(int, Whole)
    for binary, expected in ((False, b"small\t40000\n"), (True, b"\0\2" + b"\0\0\0\5whole" * 2)):
        formatter = RowFormatter(tx, binary)
        for format_row in (copy_rows.compile_format(formatter), formatter.format_pure):
            out = bytearray()
            format_row((1, 40_000), out)
            assert out == expected


class Meddler(str):
    """A str that has a dumper which does what it should not."""


@pytest.mark.parametrize("harm", ["append", "clear"])
def test_a_dumper_that_writes_to_the_rows_itself(harm: str) -> None:
    """No memory is written to that the rows do not have any more."""
    tx = Transformer(Context())
    out = bytearray(b"before")

    class Meddling(Dumper):
        def dump(self, obj: str) -> bytes:
            out.extend(b"x" * 10_000) if harm == "append" else out.clear()
            return b"value"

    tx.adapters.register_dumper(Meddler, Meddling)
    format_row = copy_rows.compile_format(RowFormatter(tx, False))
    with pytest.raises(RuntimeError, match="were changed while a value was dumped"):
        format_row(("a" * 100, Meddler("b"), "c" * 100), out)
    format_row((1,), out)
    assert out.endswith(b"1\n")


@pytest.mark.parametrize("harm", ["append", "clear"])
def test_a_dumper_that_writes_to_the_rows_when_it_is_made(harm: str) -> None:
    """Nor then, though its values are written without it. So may another thread that writes to the same COPY."""
    tx = Transformer(Context())
    out = bytearray(b"before")

    class Meddling(IntDumper):
        def __init__(self, cls: type, context: Any = None) -> None:
            super().__init__(cls, context)
            out.extend(b"x" * 10_000) if harm == "append" else out.clear()

    tx.adapters.register_dumper(int, Meddling)
    format_row = copy_rows.compile_format(RowFormatter(tx, False))
    with pytest.raises(RuntimeError, match="were changed while a value was dumped"):
        format_row(("a" * 100, 1, "c" * 100), out)
    format_row((1,), out)
    assert out.endswith(b"1\n")


def test_a_dumper_that_writes_a_row_of_its_own() -> None:
    tx = Transformer(Context())
    formatter = RowFormatter(tx, False)
    for format_row in (copy_rows.compile_format(formatter), formatter.format_pure):

        class Nested(Dumper):
            def dump(self, obj: str) -> bytes:
                inner = bytearray()
                tx.adapters.register_dumper(Meddler, Nested)
                if obj != "x":
                    format_row((1, Meddler("x"), "c"), inner)  # noqa: B023 (called before the next turn)
                return bytes(inner) or b"innermost"

        tx.adapters.register_dumper(Meddler, Nested)
        out = bytearray()
        format_row((1, None, "a", Meddler("b"), "c", "d", 5), out)
        assert out == b"1\t\\N\ta\t1\\tinnermost\\tc\\n\tc\td\t5\n"


def test_it_is_told_when_there_is_enough() -> None:
    for binary in (False, True):
        formatter = RowFormatter(Transformer(Context()), binary, None, 30)
        for format_row in (copy_rows.compile_format(formatter), formatter.format_pure):
            out = bytearray(b"x" * 10)
            results = [format_row(("a" * 9,), out) for _ in range(2 if binary else 3)]
            assert results == [*[False] * (len(results) - 1), True]
            assert format_row([1], out) is True


def test_rows_that_are_being_looked_at() -> None:
    formatter = RowFormatter(Transformer(Context()), False)
    for format_row in (copy_rows.compile_format(formatter), formatter.format_pure):
        out = bytearray(b"before")
        with memoryview(out), pytest.raises(BufferError):
            format_row((1,), out)
        with memoryview(out), pytest.raises(BufferError):
            format_row((), out)
        assert out == b"before"


def test_nothing_leaks() -> None:
    formatter = RowFormatter(Transformer(Context()), False)
    format_row = copy_rows.compile_format(formatter)
    value = "text\\" + str(id(formatter))
    wrong = value + "\0"
    out = bytearray()
    counts = sys.getrefcount(value), sys.getrefcount(wrong)
    for _ in range(50):
        format_row((value, None, 5, value), out)
        outcome(format_row, (value, wrong), out)
    parse = copy_rows.compile_parse(RowParser(Transformer(Context()), False))
    rows = parse(bytes(out))
    assert len(rows) == 50
    first, fresh = rows.pop(0), (str(id(rows)), 1)
    assert sys.getrefcount(first) == sys.getrefcount(fresh)
    assert sys.getrefcount(first[0]) == sys.getrefcount(fresh[0])
    assert (sys.getrefcount(value), sys.getrefcount(wrong)) == counts


# -- reading


def read(
    compiled: bool, chunks: Sequence[bytes], binary: bool, types: Sequence[str] | None, encoding: str, columns: Any
) -> list[Any]:
    """Return the rows and errors that there are, one behind the other."""
    parser = RowParser(Transformer(Context(encoding=encoding)), binary, columns)
    if types is not None:
        outcome(parser.set_types, types)
    parse = copy_rows.compile_parse(parser) if compiled else parser.parse_pure
    found: list[Any] = []
    for chunk in chunks:
        result = outcome(parse, chunk)
        found += result[1] if result[0] is list else [result]
    for _ in range(30):
        result = outcome(parser.finish)
        found += result[1] if result[0] is list else [result]
    # What is malformed is told at each call, and how many there are depends on where it is cut.
    return [one for i, one in enumerate(found) if i == 0 or one != found[i - 1] or one[0] is tuple]


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    at = [0, *sorted([number % (len(data) + 1) for number in cuts]), len(data)]
    return [data[a:b] for a, b in zip(at, at[1:], strict=False)]


FIELDS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"\\N", b"", b"1", b"-5", b"1.5", b"t", b"f", b"abc", b"\\\\", b"\\t\\n", b"\\x41", b"\\101", b"\\", b"\\."]
        + [
            b"\\x",
            b"\\0",
            b"\\7777",
            b"\xc3\xa9",
            b"\x95\\",
            b"\x95\\\\n",
            b"{1,NULL}",
            b'{"a","\\\\"}',
            b"\\b\\f\\r\\v",
        ]
        + [b"2020-01-01", b"2020-01-01 10:00:00+00", b"infinity", b"12345678\\n12345678\\\\", b"\\xff", b"a" * 100]
    ),
)
CUTS = st.lists(st.integers(0, 1000), max_size=4)


@given(
    st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=6),
    CUTS,
    st.one_of(st.none(), st.lists(st.sampled_from(TYPES), min_size=1, max_size=3)),
    st.sampled_from(ENCODINGS),
    st.sampled_from([None, None, 0, 1, 2]),
    st.binary(max_size=5),
)
@example([[b"1", b"2"]], [], None, "utf-8", None, b"\\.\n")
@example([[b"\x95\\", b"\x95\\\\n"]] * 2, [], ["text", "text"], "shift_jis", 2, b"")
def test_text_is_read_alike(
    rows: list[list[bytes]], cuts: list[int], types: Any, encoding: str, columns: Any, tail: bytes
) -> None:
    data = b"".join([b"\t".join(row) + b"\n" for row in rows]) + tail
    arguments = (False, types, encoding, columns)
    whole_ = read(False, [data], *arguments)
    assert read(True, [data], *arguments) == whole_
    chunks = cut(data, cuts)
    assert read(True, chunks, *arguments) == read(False, chunks, *arguments)


def binary_data(rows: Sequence[Sequence[bytes | None]]) -> bytes:
    parts: list[bytes] = []
    for row in rows:
        parts.append(len(row).to_bytes(2, "big"))
        for value in row:
            parts.append(b"\xff" * 4 if value is None else len(value).to_bytes(4, "big") + value)
    return b"".join(parts)


@given(
    st.lists(
        st.lists(st.one_of(st.none(), FIELDS, st.binary(min_size=4, max_size=4)), min_size=2, max_size=2), max_size=6
    ),
    CUTS,
    st.one_of(st.none(), st.lists(st.sampled_from(TYPES), min_size=1, max_size=3)),
    st.sampled_from([None, None, 0, 2]),
    st.sampled_from([BINARY_TRAILER, BINARY_TRAILER + b"\0", b"", b"\0", b"\0\1", b"\0\2\xff\xff\xff\xfe"]),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=2),
)
def test_binary_is_read_alike(
    rows: list[list[bytes | None]], cuts: list[int], types: Any, columns: Any, tail: bytes, changes: Any
) -> None:
    data = bytearray(BINARY_HEADER + binary_data(rows) + tail)
    for position, byte in changes:
        data[position % len(data)] = byte
    arguments = (True, types, "utf-8", columns)
    assert read(True, [bytes(data)], *arguments) == read(False, [bytes(data)], *arguments)
    chunks = cut(bytes(data), cuts)
    assert read(True, chunks, *arguments) == read(False, chunks, *arguments)


@given(
    st.booleans(), st.lists(st.tuples(st.one_of(st.none(), TEXTS), st.integers(-(2**31), 2**31 - 1)), max_size=5), CUTS
)
def test_there_and_back(binary: bool, rows: list[tuple[str | None, int]], cuts: list[int]) -> None:
    rows = [row for row in rows if row[0] is None or not set(row[0]) & {"\0", "\ud800"} and row[0].isprintable()]
    data = written(True, binary, rows, ["text", "int4"], "utf-8", 2)[1].removeprefix(b"before")
    if binary:
        data = BINARY_HEADER + data + BINARY_TRAILER
    assert read(True, cut(data, cuts), binary, ["text", "int4"], "utf-8", 2) == [whole(row) for row in rows]


def test_data_that_is_no_bytes() -> None:
    for chunk in (bytearray(b"a\t1\n"), memoryview(b"xxa\t1\n")[2:]):
        parse = copy_rows.compile_parse(RowParser(Transformer(Context()), False))
        assert parse(chunk) == [("a", "1")]


def test_loaders_of_the_users() -> None:
    class Odd(Loader):
        def load(self, data: bytes) -> Any:
            if data == b"error":
                raise KeyError("mine")
            return ("odd", data)

    class OddBinary(Odd):
        format = Format.BINARY

    for binary in (False, True):
        context = Context()
        context.adapters.register_loader("text", Odd)
        context.adapters.register_loader("text", OddBinary)
        results: list[Any] = []
        for compiled in (True, False):
            parser = RowParser(Transformer(context), binary)
            parser.set_types(["text", "text"])
            parse = copy_rows.compile_parse(parser) if compiled else parser.parse_pure
            rows: list[list[bytes | None]] = [
                [b"a", b"b"],
                [b"c", b"error"],
                [b"d", None],
                [b"error", b"e"],
                [b"f", b"g"],
            ]
            data = BINARY_HEADER + binary_data(rows) if binary else b"a\tb\nc\terror\nd\t\\N\nerror\te\nf\tg\n"
            results.append([outcome(parse, data), *[outcome(parse, b"") for _ in range(6)]])
        assert results[0] == results[1]
        assert [one[0] for one in results[0]] == [list, KeyError, list, KeyError, list, list, list]
