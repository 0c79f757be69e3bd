"""Dumpers, loaders, the map that finds them and the transformer that runs them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from anyq.abc import DumperKey
from anyq.adapt import AdaptersMap, Dumper, Format, Loader, PyFormat, RecursiveDumper, RecursiveLoader, Transformer
from anyq.adapt.base import BinaryLoaders
from anyq.adapt.typeinfo import TypeInfo
from anyq.errors import DataError, InterfaceError, ProgrammingError
from anyq.postgres import adapters, types
from anyq.types.numeric import Int2
from tests.support.values import FakeConnection, dump, load


class Thing:
    """Something without a dumper."""


class SubThing(Thing):
    pass


class ThingDumper(Dumper):
    oid = 60_000

    def dump(self, obj: Thing) -> bytes:
        return b"thing"


class ThingBinaryDumper(ThingDumper):
    format = Format.BINARY

    def dump(self, obj: Thing) -> bytes:
        return b"\0thing"


class ThingLoader(Loader):
    def load(self, data: bytes) -> tuple[str, bytes]:
        return ("thing", data)


class ThingBinaryLoader(ThingLoader):
    format = Format.BINARY


@pytest.fixture
def context() -> AdaptersMap:
    return AdaptersMap(adapters)


# PyFormat


def test_py_format() -> None:
    assert [PyFormat(letter) for letter in "stb"] == [PyFormat.AUTO, PyFormat.TEXT, PyFormat.BINARY]
    assert {PyFormat.AUTO: 1}[PyFormat("s")] == 1
    assert pickle.loads(pickle.dumps(PyFormat.TEXT)) is PyFormat.TEXT
    assert [PyFormat.from_pq(format) for format in Format] == [PyFormat.TEXT, PyFormat.BINARY]
    assert [PyFormat.as_pq(format) for format in PyFormat] == [Format.TEXT, Format.TEXT, Format.BINARY]


# The map


def test_dumper_of_a_class(context: AdaptersMap) -> None:
    with pytest.raises(ProgrammingError, match=r"cannot adapt type 'Thing' using placeholder '%s' \(format: AUTO\)"):
        context.get_dumper(Thing, PyFormat.AUTO)
    context.register_dumper(Thing, ThingDumper)
    for cls in (Thing, SubThing):
        for format in (PyFormat.AUTO, PyFormat.TEXT):
            assert context.get_dumper(cls, format) is ThingDumper
        with pytest.raises(ProgrammingError, match=r"'%b' \(format: BINARY\).*another format"):
            context.get_dumper(Thing, PyFormat.BINARY)
    assert context.get_dumper_by_oid(60_000, Format.TEXT) is ThingDumper


def test_the_last_dumper_serves_auto(context: AdaptersMap) -> None:
    context.register_dumper(Thing, ThingDumper)
    context.register_dumper(Thing, ThingBinaryDumper)
    assert context.get_dumper(Thing, PyFormat.AUTO) is ThingBinaryDumper
    context.register_dumper(Thing, ThingDumper)
    assert context.get_dumper(Thing, PyFormat.AUTO) is ThingDumper
    assert context.get_dumper(Thing, PyFormat.BINARY) is ThingBinaryDumper


def test_dumper_by_the_name_of_the_class(context: AdaptersMap) -> None:
    context.register_dumper(f"{__name__}.Thing", ThingDumper)
    assert context.get_dumper(Thing, PyFormat.AUTO) is ThingDumper
    assert context.get_dumper(SubThing, PyFormat.AUTO) is ThingDumper


def test_dumper_by_oid_only(context: AdaptersMap) -> None:
    context.register_dumper(None, ThingDumper)
    assert context.get_dumper_by_oid(60_000, Format.TEXT) is ThingDumper
    with pytest.raises(ProgrammingError, match="cannot adapt"):
        context.get_dumper(Thing, PyFormat.TEXT)
    with pytest.raises(ProgrammingError, match="no dumper for the unknown type of oid 60000 in format BINARY"):
        context.get_dumper_by_oid(60_000, Format.BINARY)
    with pytest.raises(ProgrammingError, match="no dumper for type tsvector"):
        context.get_dumper_by_oid(types["tsvector"].oid, Format.TEXT)


def test_loader_by_oid_and_name(context: AdaptersMap) -> None:
    context.register_loader(60_000, ThingLoader)
    context.register_loader("tsvector", ThingLoader)
    context.register_loader("int4[]", ThingLoader)
    for oid in (60_000, types["tsvector"].oid, types["int4"].array_oid):
        assert context.get_loader(oid, Format.TEXT) is ThingLoader
    assert context.get_loader(60_000, Format.BINARY) is None
    with pytest.raises(KeyError, match="no type 'tsvektor'"):
        context.register_loader("tsvektor", ThingLoader)


def test_what_cannot_be_registered(context: AdaptersMap) -> None:
    with pytest.raises(TypeError, match="a class or the name of one"):
        context.register_dumper(1, ThingDumper)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an oid or the name of a type"):
        context.register_loader(None, ThingLoader)  # type: ignore[arg-type]


def test_maps_do_not_see_each_others_changes() -> None:
    parent = AdaptersMap(adapters)
    before = AdaptersMap(parent)
    parent.register_dumper(Thing, ThingDumper)
    parent.register_loader(60_000, ThingLoader)
    after = AdaptersMap(parent)
    sibling = AdaptersMap(parent)
    after.register_dumper(Thing, ThingBinaryDumper)
    after.register_loader(60_000, ThingBinaryLoader)

    assert before.get_loader(60_000, Format.TEXT) is None
    with pytest.raises(ProgrammingError):
        before.get_dumper(Thing, PyFormat.AUTO)
    for map in (parent, sibling):
        assert map.get_dumper(Thing, PyFormat.AUTO) is ThingDumper
        assert map.get_loader(60_000, Format.TEXT) is ThingLoader
        assert map.get_loader(60_000, Format.BINARY) is None
    assert after.get_dumper(Thing, PyFormat.AUTO) is ThingBinaryDumper
    assert after.get_loader(60_000, Format.TEXT) is ThingLoader
    # And none of it got into the global one.
    assert adapters.get_loader(60_000, Format.TEXT) is None


def test_types_are_copied_too(context: AdaptersMap) -> None:
    child = AdaptersMap(context)
    TypeInfo("thing", 60_000, 60_001).register(context)
    assert context.types["thing"].oid == 60_000
    assert child.types.get("thing") is None
    assert adapters.types.get("thing") is None


def test_version_changes_with_each_registration(context: AdaptersMap) -> None:
    versions = [context.version]
    context.register_dumper(Thing, ThingDumper)
    versions.append(context.version)
    context.register_loader(60_000, ThingLoader)
    versions.append(context.version)
    assert len(set(versions)) == 3


def test_a_map_is_a_context(context: AdaptersMap) -> None:
    assert context.adapters is context
    assert context.connection is None


# The transformer: dumping


def test_dump_sequence() -> None:
    values, oids, formats = Transformer().dump_sequence(
        [1, "a", None, 1.5, Decimal(1)],
        [PyFormat.AUTO, PyFormat.AUTO, PyFormat.BINARY, PyFormat.TEXT, PyFormat.BINARY],
    )
    assert values == [b"\0\x01", b"a", None, b"1.5", b"\0\x01\0\0\0\0\0\0\0\x01"]
    assert oids == tuple(types[name].oid if name else 0 for name in ["int2", "", "", "float8", "numeric"])
    assert formats == [1, 0, 0, 0, 1]
    assert Transformer().dump_sequence([], []) == ([], (), [])


@pytest.mark.parametrize(("params", "formats"), [([1], []), ([], [PyFormat.AUTO])])
def test_a_format_for_each_parameter(params: list[Any], formats: list[PyFormat]) -> None:
    with pytest.raises(ProgrammingError, match="parameters for"):
        Transformer().dump_sequence(params, formats)


def test_error_says_which_parameter() -> None:
    with pytest.raises(DataError, match="parameter 2: a value of type Int2 does not fit"):
        Transformer().dump_sequence([1, Int2(70_000)], [PyFormat.AUTO] * 2)


def test_registrations_count_at_once(context: AdaptersMap) -> None:
    tx = Transformer(context)
    assert dump("a", PyFormat.AUTO, tx)[0] == b"a"
    assert load(b"1", "int4", Format.TEXT, tx) == 1

    class Shout(Dumper):
        def dump(self, obj: str) -> bytes:
            return obj.upper().encode()

    context.register_dumper(str, Shout)
    context.register_loader("int4", ThingLoader)
    assert dump("a", PyFormat.AUTO, tx)[0] == b"A"
    assert dump(["a"], PyFormat.AUTO, tx)[0] == b"{A}"
    assert load(b"1", "int4", Format.TEXT, tx) == ("thing", b"1")
    assert load(b"{1}", "int4[]", Format.TEXT, tx) == [("thing", b"1")]
    assert dump("a", PyFormat.AUTO, Transformer())[0] == b"a"


def test_clear_sees_the_new_encoding() -> None:
    connection = FakeConnection()
    tx = Transformer(connection)
    assert tx.encoding == "utf-8"
    assert dump("é", PyFormat.AUTO, tx)[0] == "é".encode()
    connection.info.encoding = "latin-1"
    tx.clear()
    assert tx.encoding == "iso8859-1"
    assert dump("é", PyFormat.AUTO, tx)[0] == b"\xe9"
    assert load(b"\xe9", "text", Format.TEXT, tx) == "é"


def test_dumper_for_each_key(context: AdaptersMap) -> None:
    made: list[str] = []

    class ByText(Dumper):
        def get_key(self, obj: str, format: PyFormat) -> DumperKey:
            return (self.cls, obj[0])

        def upgrade(self, obj: str, format: PyFormat) -> Dumper:
            made.append(obj)
            dumper = type(self)(self.cls)
            dumper.oid = ord(obj[0])
            return dumper

        def dump(self, obj: str) -> bytes:
            return f"{self.oid} {obj}".encode()

    context.register_dumper(str, ByText)
    tx = Transformer(context)
    params = ["ab", "bb", "ac", "bc"]
    assert tx.dump_sequence(params, [PyFormat.AUTO] * 4)[:2] == (
        [b"97 ab", b"98 bb", b"97 ac", b"98 bc"],
        (97, 98, 97, 98),
    )
    assert made == ["ab", "bb"]
    assert tx.get_dumper("ax", PyFormat.AUTO) is tx.get_dumper("ay", PyFormat.AUTO)
    with pytest.raises(DataError, match="list of str"):
        tx.dump_sequence([["ab", "bb"]], [PyFormat.TEXT])


def test_any_object_of_the_right_shape_is_a_dumper(context: AdaptersMap) -> None:
    class Foreign:
        format = Format.TEXT
        oid = 25

        def __init__(self, cls: type, context: Any = None):
            self.cls = cls

        def dump(self, obj: Any) -> bytes | None:
            return None

        def quote(self, obj: Any) -> bytes:
            return b"nothing"

        def get_key(self, obj: Any, format: PyFormat) -> DumperKey:
            return self.cls

        def upgrade(self, obj: Any, format: PyFormat) -> Foreign:
            raise AssertionError("the key is the class")

    class ForeignLoader:
        format = Format.BINARY

        def __init__(self, oid: int, context: Any = None):
            self.oid = oid

        def load(self, data: bytes) -> int:
            return self.oid

    context.register_dumper(Thing, Foreign)
    context.register_loader(60_000, ForeignLoader)
    tx = Transformer(context)
    assert tx.dump_sequence([Thing()], [PyFormat.AUTO]) == ([None], (25,), [0])
    assert dump([Thing(), Thing()], PyFormat.AUTO, tx)[0] == b"{NULL,NULL}"
    assert tx.as_literal(Thing()) == b"nothing"
    assert load(b"", 60_000, Format.BINARY, tx) == 60_000
    assert tx.has_binary_loader(60_000)


def test_recursive_ones_share_the_transformer(context: AdaptersMap) -> None:
    class PairDumper(RecursiveDumper):
        def dump(self, obj: Sequence[Any]) -> bytes:
            values, _, _ = self._tx.dump_sequence(obj, [PyFormat.TEXT] * len(obj))
            return b"/".join(bytes(value or b"") for value in values)

    class PairLoader(RecursiveLoader):
        def load(self, data: bytes) -> tuple[Any, ...]:
            return tuple(self._tx.get_load_function(23, Format.TEXT)(part) for part in data.split(b"/"))

    context.register_dumper(tuple, PairDumper)
    context.register_loader(60_000, PairLoader)
    tx = Transformer(context)
    assert Transformer.from_context(tx) is tx
    assert dump((1, (2, "a")), PyFormat.TEXT, tx)[0] == b"1/2/a"
    assert load(b"1/2", 60_000, Format.TEXT, tx) == (1, 2)
    dumper, loader = tx.get_dumper((1,), PyFormat.TEXT), tx.get_loader(60_000, Format.TEXT)
    assert isinstance(dumper, PairDumper)
    assert isinstance(loader, PairLoader)
    assert dumper._tx is loader._tx is tx


def test_dumper_and_loader_must_be_written() -> None:
    with pytest.raises(NotImplementedError, match="Dumper has no dump"):
        Dumper(int).dump(1)
    with pytest.raises(NotImplementedError, match="Loader has no load"):
        Loader(23).load(b"1")


# The transformer: literals


def test_literal_of_a_registered_type(context: AdaptersMap) -> None:
    context.register_dumper(Thing, ThingDumper)
    tx = Transformer(context)
    assert tx.as_literal(Thing()) == b"'thing'"
    TypeInfo("thing", 60_000, 60_001, regtype='weird."Thing"').register(context)
    assert tx.as_literal(Thing()) == b"'thing'::weird.\"Thing\""
    assert tx.as_literal([Thing()]) == b"'{thing}'::weird.\"Thing\"[]"


def test_names_in_literals(context: AdaptersMap) -> None:
    class CharDumper(ThingDumper):
        oid = types["char"].oid

    context.register_dumper(Thing, CharDumper)
    assert Transformer(context).as_literal(Thing()) == b"'thing'::\"char\""
    assert Transformer().as_literal([1, 2]) == b"'{1,2}'::int2[]"
    assert Transformer().as_literal([True]) == b"'{t}'::bool[]"
    assert Transformer().as_literal(["it's"]) == b"'{it''s}'"


def test_literal_of_a_dumper_that_says_null(context: AdaptersMap) -> None:
    class Nothing(Dumper):
        oid = 25

        def dump(self, obj: Any) -> None:
            return None

    context.register_dumper(Thing, Nothing)
    assert Transformer(context).as_literal(Thing()) == b"NULL"


def test_literal_with_nul(context: AdaptersMap) -> None:
    class Binary(Dumper):
        def dump(self, obj: Any) -> bytes:
            return b"a\0b"

    context.register_dumper(Thing, Binary)
    with pytest.raises(DataError, match="NUL"):
        Transformer(context).as_literal(Thing())


# The transformer: loading


def test_load_functions_are_kept() -> None:
    tx = Transformer()
    function = tx.get_load_function(23, 0)
    assert function is tx.get_load_function(23, Format.TEXT)
    assert getattr(function, "__wrapped__", function) is int
    text = tx.get_load_function(25, 0)
    assert getattr(text, "__wrapped__", text) is bytes.decode
    assert tx.get_loader(23, 1) is tx.get_loader(23, Format.BINARY)


def test_type_without_a_loader() -> None:
    tx = Transformer()
    assert tx.get_load_function(60_000, Format.TEXT)(b"a") == "a"
    assert tx.get_load_function(60_000, Format.BINARY)(b"a") == b"a"
    with pytest.raises(InterfaceError, match=r"make it from anyq\.adapters"):
        Transformer(AdaptersMap()).get_load_function(25, Format.TEXT)


def test_has_binary_loader(context: AdaptersMap) -> None:
    tx = Transformer(context)
    assert tx.has_binary_loader(types["int4"].oid)
    assert not tx.has_binary_loader(60_000)
    context.register_loader(60_000, ThingBinaryLoader)
    assert tx.has_binary_loader(60_000)


def test_type_that_contains_itself(context: AdaptersMap) -> None:
    class Tree(RecursiveLoader):
        format = Format.BINARY

        @classmethod
        def is_usable(cls, oid: int, tx: BinaryLoaders) -> bool:
            return tx.has_binary_loader(60_001)

    TypeInfo("tree", 60_000, 60_001).register(context)
    context.register_loader("tree", Tree)
    assert Transformer(context).has_binary_loader(60_000)
    assert Transformer(context).has_binary_loader(60_001)


@pytest.mark.parametrize("module", ["abc", "adapt", "adapt.typeinfo", "types.array", "types.json", "types", "postgres"])
def test_every_module_can_be_the_first_to_be_imported(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import anyq.{module}"], check=True, timeout=30)
