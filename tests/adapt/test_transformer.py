"""The transformer: how parameters are dumped, literals written, and values loaded."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from struct import pack
from typing import Any

import pytest

from anyq.abc import DumperKey
from anyq.adapt import AdaptersMap, Dumper, Format, PyFormat, Transformer
from anyq.adapt.typeinfo import TypeInfo
from anyq.errors import DataError, InterfaceError, ProgrammingError
from anyq.postgres import adapters, types
from anyq.types.numeric import Int2
from tests.support.things import Thing, ThingBinaryLoader, ThingDumper, ThingLoader
from tests.support.values import FakeConnection, dump, load


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
    CharDumper.oid = types["bit"].oid
    assert Transformer(context).as_literal(Thing()) == b"'thing'::\"bit\""
    assert Transformer(context).as_literal([Thing()]) == b"'{thing}'::\"bit\"[]"
    assert Transformer().as_literal([1, 2]) == b"'{1,2}'::int2[]"
    assert Transformer().as_literal([True]) == b"'{t}'::bool[]"
    assert Transformer().as_literal(["it's"]) == b"'{it''s}'"


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


@pytest.mark.parametrize("module", ["abc", "adapt", "adapt.typeinfo", "types.array", "types.json", "types", "postgres"])
def test_every_module_can_be_the_first_to_be_imported(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import anyq.{module}"], check=True, timeout=30)


@pytest.mark.parametrize("depth", [1, 20, 40, 2_000])
@pytest.mark.parametrize("innermost", [pack(">iiIiii", 1, 0, 70_000, 1, 1, -1), b"\0"])
def test_a_domain_of_arrays_of_itself(depth: int, innermost: bytes) -> None:
    """No server has one, but one may say that it has, and then go on for ever."""
    context = AdaptersMap(adapters)
    info = TypeInfo("d", 70_000, 70_001)
    info.base_oid = info.array_oid
    info.register(context)
    data = innermost
    for _ in range(depth):
        data = pack(">iiIiii", 1, 0, 70_000, 1, 1, len(data)) + data
    load = Transformer(context).get_load_function(info.array_oid, Format.BINARY)
    if depth > 32 or innermost == b"\0":
        with pytest.raises(DataError, match="more than 32 levels" if depth > 32 else "malformed array"):
            load(data)
        return
    value = load(data)
    for _ in range(depth + 1):
        [value] = value
    assert value is None


def test_a_domain_is_dumped_as_what_it_is_made_of() -> None:
    context = AdaptersMap(adapters)
    info = TypeInfo("d", 70_000, 70_001)
    info.base_oid = types["int4"].oid
    info.register(context)
    tx = Transformer(context)
    for format in Format:
        assert tx.get_dumper_by_oid(70_000, format).dump(7) == tx.get_dumper_by_oid(types["int4"].oid, format).dump(7)
    assert tx.get_dumper_by_oid(70_001, Format.BINARY).dump([7]) == pack(">iiIiiii", 1, 0, 70_000, 1, 1, 4, 7)
    assert tx.has_binary_loader(70_000) and tx.has_binary_loader(70_001)
