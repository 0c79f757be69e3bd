"""Marks: which functions have a compiled twin, which do not, and what a twin is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from anyq._accel.twins import name_of
from anyq.adapt import Format, PyFormat, Transformer
from anyq.postgres import types
from anyq.types.array import ListDumper
from anyq.types.string import StrDumper
from tests.support.twins import Context, outcome, twin_or_skip

loading = twin_or_skip("loading")
dumping = twin_or_skip("dumping")


FOLDER = Path(__file__).parents[2] / "anyq"


@pytest.mark.checkout
@pytest.mark.parametrize(
    "file", sorted([*FOLDER.glob("_accel/*.pyx"), *FOLDER.glob("_accel/*.px[di]")]), ids=lambda file: file.name
)
def test_what_is_compiled_names_what_it_doubles(file: Path) -> None:
    """At its head, each with its path."""
    head = file.read_text("utf-8")[:1000]
    doubled = re.findall(r"`anyq/([\w/]+\.p\w+)`", head.partition("cimport")[0])
    assert doubled
    assert [name for name in doubled if not (FOLDER / name).is_file()] == []


@pytest.mark.checkout
def test_every_mark_has_its_twin() -> None:
    """A twin that is not entered would be missed by nobody: the function in Python would go on being called."""
    sources = [file.read_text("utf-8") for file in FOLDER.rglob("*.py")]
    marks = {name for text in sources for name in re.findall(r'^ *@twin\("(\w+)"\)', text, re.MULTILINE)}
    entered: set[str] = set()
    for module, name in (
        ("loading.pyx", "MAKERS"),
        ("dumping.pyx", "MAKERS"),
        ("dumping.pyx", "COMMON"),
        ("dump_copy.pxi", "BINARY_WRITERS"),
        ("dump_copy.pxi", "TEXT_WRITERS"),
    ):
        table = (FOLDER / "_accel" / module).read_text("utf-8").partition(f"cdef dict {name} = {{")[2]
        entered.update(re.findall(r'b?"(\w+)":', table.partition("\n}")[0]))
    assert marks - entered == set()
    assert len(marks) > 40


def test_a_mark_is_not_inherited_by_what_overrides_it() -> None:
    class Louder(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.upper().encode()

    class Other(StrDumper):
        oid = 1

    assert name_of(StrDumper(str).dump) == name_of(Other(str).dump) == "dump_text"
    assert name_of(Louder(str).dump) is None
    assert dumping.compile_dump(Louder(str).dump)("a") == b"A"
    assert type(dumping.compile_dump(Other(str).dump)).__name__ == "DumpTwin"


def test_what_is_handed_over() -> None:
    tx = Transformer(Context("Europe/Berlin"))
    numbers: Any = tx.get_dumper([1, None], PyFormat.TEXT)
    assert numbers.dump_arguments() == (tx.get_dumper(1, PyFormat.TEXT).dump, types["int2"].oid, b",", True)
    assert numbers.key_arguments() is None
    formats = {PyFormat.AUTO: PyFormat.AUTO, PyFormat.TEXT: PyFormat.TEXT, PyFormat.BINARY: PyFormat.TEXT}
    assert ListDumper(list, tx).key_arguments() == (list, tx, formats)
    nothing: Any = tx.get_dumper([None], PyFormat.BINARY)
    assert nothing.dump_arguments() == (None, types["text"].oid, b",", False)
    boxes: Any = tx.get_loader(types.get_oid("box[]"), Format.TEXT)
    assert boxes.load_arguments() == (tx.get_load_function(types["box"].oid, Format.TEXT), b";")
    zoned: Any = tx.get_loader(types["timestamptz"].oid, Format.BINARY)
    assert zoned.load_arguments() == (ZoneInfo("Europe/Berlin"),)


@pytest.mark.parametrize("encoding", ["latin-1", "shift_jis"])
def test_nothing_is_handed_over_where_a_twin_is_no_good(encoding: str) -> None:
    tx = Transformer(Context(encoding=encoding))
    text: Any = tx.get_dumper("a", PyFormat.TEXT)
    document: Any = tx.get_loader(types["json"].oid, Format.TEXT)
    assert text.dump_arguments() is document.load_arguments() is None
    items: Any = tx.get_dumper(["a"], PyFormat.TEXT)
    assert (items.dump_arguments() is None) == (encoding == "shift_jis")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "shift_jis"])
def test_other_encodings(encoding: str) -> None:
    tx = Transformer(Context(encoding=encoding))
    value = "\xe9" if encoding == "latin-1" else "a"
    for name in ("text", "text[]", "json"):
        pure = tx.get_loader(types.get_oid(name), 0).load
        data = {"text[]": "{" + value + "}", "json": f'"{value}"'}.get(name, value).encode(encoding)
        assert outcome(loading.compile_load(pure), data) == outcome(pure, data)
    for obj in (value, [value]):
        pure_dump = tx.get_dumper(obj, PyFormat.TEXT).dump
        assert dumping.compile_dump(pure_dump)(obj) == pure_dump(obj)


def test_callables_that_cannot_be_marked() -> None:
    class Callable_:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, data: bytes) -> bytes:
            return data * 2

    load = Callable_()
    assert loading.compile_load(load) is load
    assert dumping.compile_dump(load) is load
    assert dumping.compile_key(load) is load


def test_a_big_value_is_not_copied() -> None:
    value = bytes(100_000)
    assert loading.compile_load(bytes)(value) is value
    assert dumping.compile_dump(bytes)(value) is value
