"""numpy: scalars by the names of their classes, and arrays for those who register them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from struct import pack
from typing import Any

import pytest

from anyq import AsyncClientCursor, AsyncConnection
from anyq.adapt import AdaptersMap, Dumper, Format, PyFormat, Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import adapters, types
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.numeric import FloatDumper, Int2BinaryDumper
from anyq.types.numpy import register_numpy_arrays
from tests.support.values import PYFORMATS, dump, load, there_and_back, transformer

#: None where there is no wheel of it for this interpreter.
numpy: Any = import_module("numpy") if find_spec("numpy") else None
needs_numpy = pytest.mark.skipif(numpy is None, reason="numpy is not installed")


def test_nothing_imports_numpy() -> None:
    program = (
        "import sys; from anyq.adapt import Transformer; import anyq;"
        " Transformer().as_literal([1, 2]); print('numpy' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"


def test_python_numbers_keep_their_dumpers() -> None:
    assert adapters.get_dumper_by_oid(types["int2"].oid, Format.BINARY) is Int2BinaryDumper
    assert adapters.get_dumper_by_oid(types["float8"].oid, Format.TEXT) is FloatDumper


def test_arrays_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"install anyq\[numpy\]"):
        register_numpy_arrays(AdaptersMap(adapters))


#: The type of a scalar, and values that it may have, all of them for a Python number.
SCALARS = [
    ("bool_", "bool", [False, True]),
    ("int8", "int2", [-128, 127]),
    ("int16", "int2", [-(2**15), 2**15 - 1]),
    ("int32", "int4", [-(2**31), 2**31 - 1]),
    ("intc", "int4", [-(2**31), 2**31 - 1]),
    ("int64", "int8", [-(2**63), -1, 0, 2**63 - 1]),
    ("longlong", "int8", [-(2**63), 2**63 - 1]),
    ("uint8", "int2", [0, 255]),
    ("uint16", "int4", [0, 65535]),
    ("uint32", "int8", [0, 2**32 - 1]),
    ("uintc", "int8", [0, 2**32 - 1]),
    ("uint64", "numeric", [0, 2**63, 2**64 - 1]),
    ("ulonglong", "numeric", [0, 2**64 - 1]),
    ("float16", "float4", [0.1, -0.0, 65504.0, float("inf")]),
    ("float32", "float4", [0.1, 1e-40, -3.4e38, float("-inf")]),
    ("float64", "float8", [0.1, 5e-324, -1.7e308, float("inf")]),
    ("str_", None, ["", "it's é表"]),
    ("bytes_", "bytea", [b"", b"\xff'\\"]),
]


@needs_numpy
@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(("name", "type_name", "values"), SCALARS, ids=[name for name, _, _ in SCALARS])
def test_scalars(name: str, type_name: str | None, values: list[Any], format: PyFormat) -> None:
    for value in values:
        scalar = getattr(numpy, name)(value)
        oid = dump(scalar, format)[1]
        assert there_and_back(scalar, format) == scalar.item()
        if type_name is not None:
            assert oid == types[type_name].oid
        if oid:
            assert there_and_back([scalar, None, scalar], format) == [scalar.item(), None, scalar.item()]


@needs_numpy
@pytest.mark.parametrize("format", [Format.TEXT, Format.BINARY])
@pytest.mark.parametrize("type_name", ["int2", "int4", "int8", "oid", "numeric", "float4", "float8"])
def test_for_a_type_that_is_given(type_name: str, format: Format) -> None:
    """As in COPY, and for fields of composites: integers of numpy are what Python's are."""
    dumper = transformer().get_dumper_by_oid(types[type_name].oid, format)
    for name in ("int8", "uint16", "int64", "uint64"):
        assert dumper.dump(getattr(numpy, name)(5)) == dumper.dump(5)


@needs_numpy
@pytest.mark.parametrize("format", PYFORMATS)
def test_not_a_number(format: PyFormat) -> None:
    for cls in (numpy.float16, numpy.float32, numpy.float64):
        got = there_and_back(cls("nan"), format)
        assert got != got


@needs_numpy
def test_literals() -> None:
    tx = transformer()
    for scalar, literal in [
        (numpy.float32(0.1), b"0.1"),
        (numpy.float32(-0.1), b"(-0.1)"),
        (numpy.float32("nan"), b"'NaN'::float4"),
        (numpy.float64("-inf"), b"'-Infinity'::float8"),
        (numpy.int8(-5), b"(-5)"),
        (numpy.int64(-(2**63)), b"'-9223372036854775808'::int8"),
        (numpy.uint64(2**64 - 1), b"18446744073709551615"),
        (numpy.bool_(True), b"true"),
        ([numpy.bool_(True), numpy.bool_(False)], b"'{t,f}'::bool[]"),
        (numpy.str_("it's"), b"'it''s'"),
    ]:
        assert tx.as_literal(scalar) == literal


@needs_numpy
def test_scalars_that_have_no_dumper() -> None:
    for scalar in (numpy.datetime64("2024-01-02"), numpy.timedelta64(3, "D"), numpy.longdouble(1), numpy.complex64(1)):
        for value in (scalar, [scalar]):
            with pytest.raises(ProgrammingError, match=r"register a dumper; .* item\(\)"):
                Transformer().dump_sequence([value], [PyFormat.AUTO])
    with pytest.raises(ProgrammingError, match=r"register_numpy_arrays\(\) .* tolist\(\)"):
        Transformer().dump_sequence([numpy.array([1])], [PyFormat.AUTO])
    with pytest.raises(DataError, match="mixed types"):
        Transformer().dump_sequence([[numpy.int8(1), numpy.int64(1)]], [PyFormat.AUTO])


@needs_numpy
def test_registered_by_name(context: AdaptersMap) -> None:
    class Joined(Dumper):
        def dump(self, obj: Any) -> bytes | None:
            return "|".join(map(str, obj)).encode() if len(obj) else None

    class Mine(numpy.ndarray):  # type: ignore[misc]  # a class that is only known at run time
        pass

    context.register_dumper("numpy.ndarray", Joined)
    tx = Transformer(context)
    for value in (numpy.array([1, 2]), numpy.array([1, 2]).view(Mine)):
        assert dump(value, PyFormat.AUTO, tx)[0] == b"1|2"
    assert dump(numpy.array([]), PyFormat.AUTO, tx)[0] is None
    assert tx.dump_sequence([[numpy.array([]), numpy.array([1])]], [PyFormat.AUTO])[0] == [b"{NULL,1}"]


# -- arrays


@pytest.fixture
def context() -> AdaptersMap:
    return AdaptersMap(adapters)


@pytest.fixture
def tx(context: AdaptersMap) -> Transformer:
    register_numpy_arrays(context)
    return Transformer(context)


#: The type of an array's items, and numpy's type that it is loaded as, None where it is a list.
DTYPES = [
    *[("?", "bool", "?"), ("i1", "int2", "i2"), ("i2", "int2", "i2"), ("i4", "int4", "i4"), ("i8", "int8", "i8")],
    *[("u1", "int2", "i2"), ("u2", "int4", "i4"), ("u4", "int8", "i8"), ("u8", "numeric", None)],
    *[("f2", "float4", "f4"), ("f4", "float4", "f4"), ("f8", "float8", "f8")],
    *[(">i4", "int4", "i4"), (">f8", "float8", "f8")],
]

SHAPES: list[Callable[[Any], Any]] = [
    lambda flat: flat,
    lambda flat: flat.reshape(4, 6),
    lambda flat: flat.reshape(2, 3, 4),
    lambda flat: flat.reshape(1, 2, 1, 3, 1, 4),
    lambda flat: flat.reshape(4, 6).T,
    lambda flat: flat[::-2],
    lambda flat: flat.reshape(4, 6)[1:, ::3],
    lambda flat: flat[:0],
    lambda flat: flat[:1],
]


@needs_numpy
@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(("code", "type_name", "loaded"), DTYPES)
def test_there_and_back(code: str, type_name: str, loaded: str | None, format: PyFormat, tx: Transformer) -> None:
    for shape in SHAPES:
        array = shape(numpy.arange(24).astype(code))
        assert dump(array, format, tx)[1] == types[type_name].array_oid
        got = there_and_back(array, format, tx)
        if loaded is None:
            assert got == array.tolist()
            assert all(isinstance(item, Decimal) for item in got[:1] if not isinstance(item, list))
        else:
            assert got.dtype == numpy.dtype(loaded)
            assert got.dtype.isnative
            assert got.flags.writeable
            assert got.tolist() == array.tolist()


@needs_numpy
def test_binary_is_what_a_list_is(tx: Transformer) -> None:
    for code, type_name, _ in DTYPES:
        array = numpy.arange(6).astype(code).reshape(2, 3)
        oid = types[type_name].array_oid
        as_list = tx.get_dumper_by_oid(oid, Format.BINARY).dump(array.tolist())
        assert bytes(dump(array, PyFormat.BINARY, tx)[0] or b"") == as_list


@needs_numpy
def test_literals_of_arrays(tx: Transformer) -> None:
    assert tx.as_literal(numpy.array([[1, 2], [3, 4]], "i4")) == b"'{{1,2},{3,4}}'::int4[]"
    assert tx.as_literal(numpy.array([0.5, float("nan")])) == b"'{0.5,nan}'::float8[]"


@needs_numpy
@pytest.mark.parametrize("format", PYFORMATS)
def test_what_is_no_array(format: PyFormat, tx: Transformer) -> None:
    for array, message in [
        (numpy.array(5), r"without dimensions .* item\(\)"),
        (numpy.zeros((1,) * 7), "at most 6 dimensions"),
        (numpy.array(["a"]), r"dtype <U1: .* tolist\(\)"),
        (numpy.array([1, None]), r"dtype object: .* tolist\(\)"),
        (numpy.array(["2024-01-02"], "M8[D]"), r"dtype datetime64\[D\]: .* tolist\(\)"),
        (numpy.array([1], "c16"), "dtype complex128"),
        (numpy.array([(1, 2)], "i4,i4"), "dtype"),
        ([numpy.array([1]), numpy.array([2])], r"numpy.stack\(\)"),
    ]:
        with pytest.raises(DataError, match=message):
            dump(array, format, tx)


@needs_numpy
@pytest.mark.parametrize("format", PYFORMATS)
def test_masked(format: PyFormat, context: AdaptersMap) -> None:
    register_numpy_arrays(context, masked=True)
    tx = Transformer(context)
    for array in (
        numpy.ma.array([1, 2, 3], mask=[False, True, False], dtype="i4"),
        numpy.ma.array([[0.5, 1.5], [2.5, 3.5]], mask=[[True, False], [False, True]], dtype="f4"),
        numpy.ma.array([True, False], mask=[True, True]),
    ):
        got = there_and_back(array, format, tx)
        assert got.tolist() == array.tolist()
        assert got.dtype == array.dtype
        assert got.mask.tolist() == array.mask.tolist()
    whole = there_and_back(numpy.ma.array([1, 2], dtype="i4"), format, tx)
    assert type(whole) is numpy.ndarray


@needs_numpy
def test_null_says_what_to_do(tx: Transformer) -> None:
    binary = pack(">iiIiiiii", 1, 1, 23, 2, 1, 4, 7, -1)
    for data, format in ((b"{7,NULL}", Format.TEXT), (binary, Format.BINARY)):
        with pytest.raises(DataError, match=r"NULL.*masked=True"):
            load(data, "int4[]", format, tx)
    assert load(b"[0:1]={7,8}", "int4[]", Format.TEXT, tx).tolist() == [7, 8]


@needs_numpy
def test_malformed(tx: Transformer) -> None:
    good = bytes(dump(numpy.arange(6, dtype="i4").reshape(2, 3), PyFormat.BINARY, tx)[0] or b"")
    for end in range(len(good)):
        with pytest.raises(DataError):
            load(good[:end], "int4[]", Format.BINARY, tx)
    for data in (
        pack(">iiIiiii", 1, 0, 23, 2**31 - 1, 1, 4, 7),
        pack(">iiIiiii", 1, 0, 23, -1, 1, 4, 7),
        pack(">iiIiiiiii", 2, 0, 23, 2**31 - 1, 1, 2**31 - 1, 1, 4, 7),
        pack(">iiI", 7, 0, 23),
        pack(">iiI", -1, 0, 23),
        # Two items of three and of five bytes, which together have the right length.
        pack(">iiIii", 1, 0, 23, 2, 1) + pack(">i3si5s", 3, b"abc", 5, b"abcde"),
    ):
        with pytest.raises(DataError):
            load(data, "int4[]", Format.BINARY, tx)
    for text in (b"{1,2", b"{{1,2},{3}}", b"{a}", b"{99999999999}"):
        with pytest.raises(DataError):
            load(text, "int4[]", Format.TEXT, tx)


@needs_numpy
@pytest.mark.anyio
async def test_by_a_server(conn: AsyncConnection[Any]) -> None:
    register_numpy_arrays(conn)
    numbers = numpy.arange(12, dtype="i8").reshape(3, 4)
    for cursor in (conn.cursor(), conn.cursor(binary=True), AsyncClientCursor(conn)):
        await cursor.execute("SELECT %s, pg_typeof(%s)::text", (numbers, numpy.uint64(2**64 - 1)))
        row = await cursor.fetchone()
        assert row is not None
        assert row[0].tolist() == numbers.tolist()
        assert row[1] == "numeric"
        await cursor.execute("SELECT array_agg(i::float4) FROM generate_series(1, 3) i")
        row = await cursor.fetchone()
        assert row is not None
        assert (row[0].dtype, row[0].tolist()) == (numpy.dtype("f4"), [1, 2, 3])
        await cursor.execute("SELECT '{1,NULL}'::int4[], 7")
        with pytest.raises(DataError, match="masked=True"):
            await cursor.fetchone()
        await cursor.execute("SELECT %s = 0.1::real", (numpy.float32(0.1),))
        assert await cursor.fetchone() == (not isinstance(cursor, AsyncClientCursor),)


@needs_numpy
@pytest.mark.anyio
async def test_copied(conn: AsyncConnection[Any]) -> None:
    register_numpy_arrays(conn)
    await conn.execute("CREATE TEMPORARY TABLE t (a int4[], b int8)")
    for format in ("text", "binary"):
        for types_of in (["int4[]", "int8"], None):
            async with conn.cursor().copy(f"COPY t FROM STDIN (FORMAT {format})") as copy:
                if types_of:
                    copy.set_types(types_of)
                    await copy.write_row(([1, 2], 5))
                await copy.write_row((numpy.array([1, 2], "i4"), numpy.int64(5)))
    rows = await (await conn.execute("SELECT * FROM t")).fetchall()
    assert [(a.tolist(), b) for a, b in rows] == [([1, 2], 5)] * 6


@needs_numpy
@pytest.mark.anyio
async def test_in_a_composite(conn: AsyncConnection[Any]) -> None:
    register_numpy_arrays(conn)
    await conn.execute("CREATE TYPE pg_temp.pair AS (a float8[], b int4[])")
    info = await CompositeInfo.fetch(conn, "pg_temp.pair")
    assert info is not None
    register_composite(info, conn)
    assert info.python_type is not None
    for placeholder in ("%t", "%b"):
        pair = info.python_type(numpy.array([0.5, 1]), [1, 2])
        cursor = await conn.execute(f"SELECT {placeholder}".encode(), (pair,), binary=placeholder == "%b")
        [[got]] = await cursor.fetchall()
        assert (got.a.tolist(), got.b.tolist()) == ([0.5, 1], [1, 2])
