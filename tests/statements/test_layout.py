"""What is known of a result before it comes."""

from __future__ import annotations

import re

import pytest

from anyq.adapt import Format, Loader, Transformer
from anyq.errors import DataError
from anyq.postgres import types
from anyq.protocol.messages import FieldDescription
from anyq.statements.layout import MAX_DESCRIBED, Descriptions, Layouts, changed_format
from tests.support.values import FakeConnection

INT4, MONEY = types["int4"].oid, 60_000


class Text(Loader):
    """For a type that has no binary loader."""

    def load(self, data: object) -> str:
        return bytes(data).decode()  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def tx() -> Transformer:
    connection = FakeConnection()
    connection.adapters.register_loader(MONEY, Text)
    return Transformer(connection)


def field(name: str, oid: int, format: int = Format.TEXT) -> FieldDescription:
    return FieldDescription(name, 0, 0, oid, -1, -1, format)


@pytest.mark.parametrize(
    ("oids", "binary", "formats"),
    [
        ([INT4], False, [0]),
        ([INT4], True, [1]),
        ([INT4, INT4], True, [1]),  # one stands for all
        ([INT4, MONEY], True, [1, 0]),  # what has no binary loader comes as text
        ([MONEY, MONEY], True, [0]),
        ([INT4, MONEY], False, [0]),
        ([], True, []),
    ],
)
def test_result_formats(oids: list[int], binary: bool, formats: list[int], tx: Transformer) -> None:
    layout = Layouts(tuple(field("a", oid) for oid in oids)).get(tx, binary)
    assert list(layout.result_formats) == formats


def test_a_statement_without_rows(tx: Transformer) -> None:
    layout = Layouts(None).get(tx, None)
    assert list(layout.result_formats) == []


def test_it_is_made_once_for_each_wish(tx: Transformer) -> None:
    layouts = Layouts((field("a", INT4),))
    made = {wish: layouts.get(tx, wish) for wish in (None, True, False)}
    assert len(set(map(id, made.values()))) == 3
    for wish, layout in made.items():
        assert layouts.get(tx, wish) is layout


def test_it_is_made_again_when_what_it_was_made_from_changes(tx: Transformer) -> None:
    layouts = Layouts((field("a", INT4),))
    layout = layouts.get(tx, True)
    assert layouts.get(Transformer(FakeConnection()), True) is not layout
    layout = layouts.get(tx, True)
    tx.adapters.register_loader(INT4, Text)
    assert layouts.get(tx, True) is not layout


def test_a_column_that_came_in_binary_and_should_not_have(tx: Transformer) -> None:
    assert changed_format(tx, (field("a", INT4, Format.BINARY), field("b", MONEY))) is None
    error = changed_format(tx, (field("a", INT4, Format.BINARY), field("b", MONEY, Format.BINARY)))
    assert isinstance(error, DataError)
    assert re.search("changed since the statement was described.*'b'", str(error))


def test_descriptions_are_kept_while_they_are_used() -> None:
    descriptions = Descriptions()
    keys = [(b"SELECT %d" % number, ()) for number in range(MAX_DESCRIBED + 1)]
    for key in keys[:-1]:
        descriptions.add(key, None)
    first = descriptions.find(keys[0])
    assert first is not None
    descriptions.add(keys[-1], None)
    # The oldest but one had to go: the oldest was asked for.
    assert descriptions.find(keys[1]) is None
    assert descriptions.find(keys[0]) is first
    descriptions.discard(keys[0])
    descriptions.discard(keys[0])
    assert descriptions.find(keys[0]) is None
