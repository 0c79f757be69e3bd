"""What the base classes of dumpers and loaders do by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from anyq.adapt import AdaptersMap, Dumper, Loader, PyFormat, Transformer
from anyq.adapt.base import plain
from anyq.errors import DataError
from tests.support.things import Thing, ThingDumper, ThingLoader
from tests.support.values import FakeConnection


def test_dumper_and_loader_must_be_written() -> None:
    with pytest.raises(NotImplementedError, match="Dumper has no dump"):
        Dumper(int).dump(1)
    with pytest.raises(NotImplementedError, match="Loader has no load"):
        Loader(23).load(b"1")


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


def test_the_default_key_is_the_class() -> None:
    dumper = ThingDumper(Thing)
    assert dumper.get_key(Thing(), PyFormat.AUTO) is Thing
    assert dumper.upgrade(Thing(), PyFormat.AUTO) is dumper
    thing = Thing()
    assert dumper.common_item([thing, Thing()], PyFormat.AUTO) is thing


def test_the_default_literal_is_quoted_text() -> None:
    class Written(Dumper):
        def dump(self, obj: Thing) -> bytes:
            return b"it's"

    assert Written(Thing).quote(Thing()) == b"'it''s'"


def test_what_they_are_made_with() -> None:
    connection = FakeConnection()
    for context in (connection, Transformer(connection)):
        assert ThingDumper(Thing, context).connection is ThingLoader(60_000, context).connection is connection
    assert (ThingDumper(Thing).cls, ThingLoader(60_000).oid) == (Thing, 60_000)
    assert ThingDumper(Thing).connection is ThingLoader(60_000).connection is None
    assert ThingLoader.is_usable(60_000, Transformer())


@pytest.mark.parametrize("function", [len, {"a": 1}.__getitem__])
def test_plain_functions_take_no_self(function: Any) -> None:
    class Loading(Loader):
        load = plain(function)

    assert Loading(25).load is not None
    assert Loading(25).load == function
