"""The map that finds dumpers and loaders, and the formats of placeholders."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from anyq.adapt import AdaptersMap, Dumper, Format, Loader, PyFormat
from anyq.adapt.adapters_map import adapters_of
from anyq.adapt.typeinfo import TypeInfo
from anyq.errors import ProgrammingError
from anyq.postgres import adapters, types
from tests.support.things import Thing, ThingBinaryDumper, ThingBinaryLoader, ThingDumper, ThingLoader


class SubThing(Thing):
    pass


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
    context.register_dumper(f"{Thing.__module__}.Thing", ThingDumper)
    assert context.get_dumper(Thing, PyFormat.AUTO) is ThingDumper
    assert context.get_dumper(SubThing, PyFormat.AUTO) is ThingDumper


def test_dumper_by_oid_only(context: AdaptersMap) -> None:
    context.register_dumper(None, ThingDumper)
    assert context.get_dumper_by_oid(60_000, Format.TEXT) is ThingDumper
    with pytest.raises(ProgrammingError, match="cannot adapt"):
        context.get_dumper(Thing, PyFormat.TEXT)
    with pytest.raises(ProgrammingError, match="no dumper for the unknown type of oid 60000 in format BINARY"):
        context.get_dumper_by_oid(60_000, Format.BINARY)
    with pytest.raises(ProgrammingError, match=r"no dumper for type tsvector .*: register one, or use text format$"):
        context.get_dumper_by_oid(types["tsvector"].oid, Format.BINARY)
    with pytest.raises(ProgrammingError, match=r"no dumper for type gtsvector .*: register one$"):
        context.get_dumper_by_oid(types["gtsvector"].oid, Format.TEXT)


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


class Unwritten:
    """What has all that is asked of dumpers and loaders but the one thing that they are for."""

    format = Format.TEXT
    oid = 0

    def __init__(self, cls: object, context: object = None) -> None: ...


class UnwrittenDumper(Dumper):
    oid = 60_000


class UnwrittenLoader(Loader):
    format = Format.BINARY


@pytest.mark.parametrize("cls", [Unwritten, UnwrittenDumper, UnwrittenLoader])
def test_what_cannot_dump_or_load_is_refused(cls: Any) -> None:
    own = AdaptersMap(adapters)
    version = own.version
    if cls is not UnwrittenLoader:
        with pytest.raises(TypeError, match=rf"{cls.__name__} cannot be registered: it has no dump\(\)"):
            own.register_dumper(Thing, cls)
    if cls is not UnwrittenDumper:
        with pytest.raises(TypeError, match=rf"{cls.__name__} cannot be registered: it has no load\(\)"):
            own.register_loader("int4", cls)
    assert own.version == version


def test_functions_are_no_dumpers_and_no_loaders() -> None:
    own = AdaptersMap(adapters)
    version = own.version
    with pytest.raises(TypeError, match="a dumper is a class, as a subclass of anyq.adapt.Dumper is, not <"):
        own.register_dumper(Thing, lambda obj: b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a loader is a class, as a subclass of anyq.adapt.Loader is, not <"):
        own.register_loader("int4", lambda data: 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a dumper is a class, .* not <.*ThingDumper object"):
        own.register_dumper(Thing, ThingDumper(Thing))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a loader is a class, .* not <.*ThingLoader object"):
        own.register_loader("int4", ThingLoader(23))  # type: ignore[arg-type]
    assert own.version == version


def test_geometries_that_nobody_has_registered() -> None:
    point = type("Point", (), {"__module__": "shapely.geometry.point"})
    with pytest.raises(ProgrammingError, match=r"type 'Point' .*; register_shapely\(\) of anyq.types.shapely"):
        AdaptersMap(adapters).get_dumper(point, PyFormat.AUTO)


def test_a_name_without_its_module() -> None:
    """No class has it, so that the dumper would never be found."""
    with pytest.raises(ValueError, match="'package.module.Class', not 'dict'"):
        AdaptersMap(adapters).register_dumper("dict", ThingDumper)


def test_registered_for_something_else() -> None:
    assert adapters_of(None) is adapters
    own = AdaptersMap(adapters)
    assert adapters_of(own) is own
    wrong: Any = "conn"
    with pytest.raises(TypeError, match="a connection, a cursor, a map of adapters or None, not 'conn'"):
        adapters_of(wrong)


@pytest.mark.parametrize("wrong", [3, "x", AdaptersMap])
def test_a_template_that_is_none(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a connection, a cursor, a map of adapters or None"):
        AdaptersMap(wrong)
