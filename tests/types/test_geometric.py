"""Geometric types."""

from __future__ import annotations

import copy
import math
import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import sql
from anyq.adapt import Format, PyFormat
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types.geometric import Box, Circle, Line, Lseg, Path, Point, Polygon
from tests.support.hostile_values import load_checked
from tests.support.values import FORMATS, PYFORMATS, dump, load, there_and_back, transformer

if TYPE_CHECKING:
    from anyq import AsyncConnection

numbers = st.floats(allow_nan=False)
points = st.builds(Point, numbers, numbers)
several = st.lists(points, min_size=1, max_size=5).map(tuple)
shapes = st.one_of(
    points,
    st.builds(Line, numbers, numbers, numbers),
    st.builds(Lseg, points, points),
    st.builds(Box, points, points),
    st.builds(Path, several, st.booleans()),
    st.builds(Polygon, several),
    st.builds(Circle, points, numbers),
)

#: As the server gives them back, and how it writes them.
SHAPES: dict[str, Any] = {
    "(1,2.5)": Point(1.0, 2.5),
    "(-0,1e+300)": Point(-0.0, 1e300),
    "(NaN,-Infinity)": Point(math.nan, -math.inf),
    "{1,-1,0}": Line(1.0, -1.0, 0.0),
    "[(1,2),(3,4)]": Lseg(Point(1.0, 2.0), Point(3.0, 4.0)),
    "(3,4),(1,2)": Box(Point(3.0, 4.0), Point(1.0, 2.0)),
    "((1,2),(3,4))": Path((Point(1.0, 2.0), Point(3.0, 4.0)), True),
    "[(1,2)]": Path((Point(1.0, 2.0),), False),
    "((1,2))": Polygon((Point(1.0, 2.0),)),
    "<(1,2),0.1>": Circle(Point(1.0, 2.0), 0.1),
}
NAMES = ["point", "line", "lseg", "box", "path", "polygon", "circle"]


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=shapes)
def test_there_and_back(value: Any, format: PyFormat) -> None:
    got = there_and_back(value, format)
    assert type(got) is type(value)
    assert repr(got) == repr(value)
    assert types[dump(value, format)[1]].name == type(value).__name__.lower()
    assert repr(there_and_back([[value, None]], format)) == repr([[value, None]])


@pytest.mark.parametrize("text", SHAPES)
def test_what_the_server_writes(text: str) -> None:
    value = SHAPES[text]
    assert repr(load(text.encode(), type(value).__name__.lower(), Format.TEXT)) == repr(value)


@pytest.mark.parametrize("format", PYFORMATS)
def test_plain_tuples_inside_and_other_numbers(format: PyFormat) -> None:
    assert there_and_back(Box((3, 4), [Decimal(1), True]), format) == Box(Point(3, 4), Point(1, 1))  # type: ignore[arg-type]
    assert there_and_back(Path([(1, 2)], False), format) == Path((Point(1, 2),), False)  # type: ignore[list-item]
    assert there_and_back(Circle((1, 2), 3), format) == Circle(Point(1, 2), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    "value",
    [
        Point("1", 2),  # type: ignore[arg-type]
        Point(1, None),  # type: ignore[arg-type]
        Point(10**400, 1),
        Line(1, 2, b"3"),  # type: ignore[arg-type]
        Box(1, 2),  # type: ignore[arg-type]
        Box((1, 2, 3), (4,)),  # type: ignore[arg-type]
        Lseg((1, 2), ()),  # type: ignore[arg-type]
        Lseg("ab", "cd"),  # type: ignore[arg-type]
        Path(((1, 2, 3), (4, 5, 6)), True),  # type: ignore[arg-type]
        Polygon(7),  # type: ignore[arg-type]
        Circle((1, 2), (3, 4)),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_shape(value: Any, format: PyFormat) -> None:
    for parameter in (value, [value]):
        with pytest.raises(DataError):
            dump(parameter, format)


@pytest.mark.parametrize("format", PYFORMATS)
def test_lists_are_of_one_type(format: PyFormat) -> None:
    with pytest.raises(DataError, match="mixed types"):
        dump([Point(1, 2), Circle(Point(1, 2), 3)], format)


def test_literals_and_arrays_of_boxes() -> None:
    tx = transformer()
    assert tx.as_literal(Point(1, -2)) == b"'(1.0,-2.0)'::point"
    assert tx.as_literal(Path((Point(1, 2),), False)) == b"'[(1.0,2.0)]'::path"
    # Of all arrays only those of boxes have no commas between the items, in any dimension.
    box = Box(Point(3, 4), Point(1, 2))
    text = b"{{(3.0,4.0),(1.0,2.0);NULL};{NULL;(3.0,4.0),(1.0,2.0)}}"
    assert tx.as_literal([[box, None], [None, box]]) == b"'" + text + b"'::box[]"
    assert load(b"[0:1][-1:0]=" + text, "box[]", Format.TEXT) == [[box, None], [None, box]]


def test_many_points_take_linear_time() -> None:
    value = Polygon(tuple(Point(float(n), 0.5) for n in range(100_000)))
    for format in PYFORMATS:
        assert there_and_back(value, format) == value


MALFORMED = ["", "1,2", "(1,2", "(1;2)", "(1,2),", "((1,2),(3))", "[(1,2),(3,4))", "(1_0,2)", "(a,b)", "(1,2,3)"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_text(name: str, text: str) -> None:
    with pytest.raises(DataError):
        load_checked(text.encode(), name, Format.TEXT)


@pytest.mark.anyio
async def test_a_server_gives_them_back(conn: AsyncConnection[Any]) -> None:
    # -0 is 0 for lines, whose text has none.
    values = [value for value in SHAPES.values() if "nan" not in repr(value)]
    for format in PyFormat:
        for binary in (False, True):
            for value in values:
                query = f"SELECT %{format.value}, %{format.value}, %{format.value}::text".encode()
                cursor = await conn.execute(query, [value, [[value, None]], value], binary=binary)
                [(got, array, text)] = await cursor.fetchall()
                assert repr(got) == repr(value)
                assert array == [[value, None]]
                assert SHAPES[text] == value
    cursor = await conn.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(map(sql.Literal, values))))
    assert await cursor.fetchone() == tuple(values)
    for binary in (False, True):
        cursor = await conn.execute(
            b"SELECT point 'NaN, -Infinity', %s", [Box(Point(1, 4), Point(3, 2))], binary=binary
        )
        assert repr(await cursor.fetchone()) == repr(
            (Point(math.nan, -math.inf), Box(Point(3.0, 4.0), Point(1.0, 2.0)))
        )


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["point", "line", "lseg", "box", "path", "polygon", "circle"])
def test_copied_hashed_and_compared(name: str, format: Format) -> None:
    """As the named tuples that they are, and as plain ones."""
    value = load(written(name, format), name, format)
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value)), value._replace()):
        assert type(again) is type(value)
        assert again == value == tuple(value)
        assert hash(again) == hash(tuple(value))
        assert not again < value and again <= value
        assert (repr(again), str(again)) == (repr(value), str(value))


def written(name: str, format: Format) -> bytes:
    points = (Point(1, 2), Point(-3, 4))
    shapes: dict[str, Any] = {
        **{"point": points[0], "line": Line(1, 2, 3), "lseg": Lseg(*points), "box": Box(*points)},
        **{"path": Path(points, True), "polygon": Polygon(points), "circle": Circle(points[0], 5)},
    }
    data, _, _ = dump(shapes[name], PyFormat.from_pq(format))
    assert data is not None
    return bytes(data)
