"""Row factories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from anyq import rows
from anyq.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    from anyq import AsyncConnection


@dataclass
class FakeColumn:
    name: str


class FakeCursor:
    def __init__(self, *names: str, result: bool = True) -> None:
        self.description: Sequence[FakeColumn] | None = [FakeColumn(name) for name in names] if result else None


@dataclass
class Person:
    name: str
    age: int = 0


def test_tuple_row() -> None:
    make = rows.tuple_row(FakeCursor("a", "b"))
    assert make([1, 2]) == (1, 2)
    assert make((1, 2)) == (1, 2)
    assert rows.tuple_row(FakeCursor())(()) == ()


def test_dict_row() -> None:
    assert rows.dict_row(FakeCursor("a", "?column?"))([1, 2]) == {"a": 1, "?column?": 2}
    assert rows.dict_row(FakeCursor("a", "a"))([1, 2]) == {"a": 2}


def test_namedtuple_row() -> None:
    row: Any = rows.namedtuple_row(FakeCursor("name", "age"))(["Ada", 36])
    assert row == ("Ada", 36)
    assert (row.name, row.age) == ("Ada", 36)
    assert type(row).__name__ == "Row"
    other = rows.namedtuple_row(FakeCursor("name", "age"))(["Bob", 1])
    assert type(other) is type(row)
    assert rows.namedtuple_row(FakeCursor())([]) == ()


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("?column?", "f_column_"),
        ("a b", "a_b"),
        ("1st", "f1st"),
        ("_private", "f_private"),
        ("__", "f__"),
        ("", "f"),
        ("è", "è"),
        ("€", "f_"),
        ("x²", "x_"),
        ("²", "f_"),
        ("人口", "人口"),
        ("a\N{COMBINING ACUTE ACCENT}-b", "a__b"),
    ],
)
def test_namedtuple_field(column: str, field: str) -> None:
    row: Any = rows.namedtuple_row(FakeCursor(column))([42])
    assert row._fields == (field,)
    assert getattr(row, field) == 42


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("a", "b", "a"), "two fields named 'a' of columns 'a': use different aliases"),
        (("a b", "a-b"), "two fields named 'a_b' of columns 'a-b' and 'a b'"),
        (("class",), "'class', which is a Python keyword: use an alias .AS class_."),
        # For Python these are the same names.
        (("\uff3fa", "f_a"), "two fields named 'f_a' of columns"),
        (("\ufb01", "fi"), "two fields named 'fi' of columns 'fi' and '\ufb01'"),
        (("\xb5", "\u03bc"), "two fields named '\u03bc' of columns"),
        (("\uff43lass",), "which is a Python keyword"),
    ],
)
def test_namedtuple_impossible(columns: tuple[str, ...], message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        rows.namedtuple_row(FakeCursor(*columns))


def test_class_row() -> None:
    assert rows.class_row(Person)(FakeCursor("age", "name"))([36, "Ada"]) == Person("Ada", 36)
    assert rows.class_row(Person)(FakeCursor("name"))(["Ada"]) == Person("Ada", 0)
    with pytest.raises(TypeError, match="height"):
        rows.class_row(Person)(FakeCursor("name", "height"))(["Ada", 1])


def test_args_row() -> None:
    assert rows.args_row(Person)(FakeCursor("x", "y"))(["Ada", 36]) == Person("Ada", 36)
    assert rows.args_row(lambda *args: len(args))(FakeCursor("x", "y", "z"))([1, 2, 3]) == 3


def test_kwargs_row() -> None:
    assert rows.kwargs_row(lambda **kwargs: sorted(kwargs))(FakeCursor("y", "x"))([1, 2]) == ["x", "y"]


def test_scalar_row() -> None:
    assert rows.scalar_row(FakeCursor("a", "b"))([1, 2]) == 1
    assert rows.scalar_row(FakeCursor("a"))([None]) is None
    with pytest.raises(ProgrammingError, match="at least one column"):
        rows.scalar_row(FakeCursor())


@pytest.mark.parametrize(
    "factory",
    [
        rows.tuple_row,
        rows.dict_row,
        rows.namedtuple_row,
        rows.class_row(Person),
        rows.args_row(Person),
        rows.kwargs_row(Person),
        rows.scalar_row,
    ],
)
def test_no_result(factory: rows.BaseRowFactory[Any]) -> None:
    make = factory(FakeCursor(result=False))
    assert make is rows.no_result
    with pytest.raises(InterfaceError, match="the cursor doesn't have a result"):
        make([1])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (rows.tuple_row, ("Ada", 36)),
        (rows.dict_row, {"name": "Ada", "age": 36}),
        (rows.namedtuple_row, ("Ada", 36)),
        (rows.class_row(Person), Person("Ada", 36)),
        (rows.args_row(Person), Person("Ada", 36)),
        (rows.scalar_row, "Ada"),
    ],
)
async def test_on_server(conn: AsyncConnection, factory: rows.AsyncRowFactory[Any], expected: Any) -> None:
    async with conn.cursor(row_factory=factory) as cur:
        await cur.execute("SELECT 'Ada'::text AS name, 36 AS age")
        assert await cur.fetchone() == expected
        await cur.execute("SELECT 'Ada'::text AS name, 36 AS age UNION ALL SELECT 'Bob', 1")
        assert (await cur.fetchall())[0] == expected


@pytest.mark.parametrize("factory", [rows.class_row, rows.args_row, rows.kwargs_row])
@pytest.mark.parametrize("wrong", [3, None, "x"])
def test_what_makes_rows_cannot_be_called(factory: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match="what makes rows must be a class or a function, not"):
        factory(wrong)
