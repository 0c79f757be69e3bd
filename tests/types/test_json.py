"""JSON, with the standard library and with another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import AsyncConnection
from anyq.adapt import Format, PyFormat, Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.types.json import Json, Jsonb, set_json_dumps, set_json_loads
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back, transformer

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@pytest.fixture
def default_json() -> Iterator[None]:
    """Restore what is set for everything."""
    yield
    set_json_dumps(json.dumps)
    set_json_loads(json.loads)


@pytest.mark.parametrize("wrapper", [Json, Jsonb])
@pytest.mark.parametrize("format", PYFORMATS)
@given(value=documents)
def test_there_and_back(value: Any, format: PyFormat, wrapper: type[Json]) -> None:
    assert there_and_back(wrapper(value), format) == value
    assert types[dump(wrapper(value), format)[1]].name == wrapper.__name__.lower()


def test_binary_jsonb_has_a_version() -> None:
    assert dump(Jsonb([1]), PyFormat.BINARY)[0] == b"\x01[1]"
    with pytest.raises(DataError, match="version"):
        load(b"\x02[1]", "jsonb", Format.BINARY)
    with pytest.raises(DataError, match="version"):
        load(b"", "jsonb", Format.BINARY)


def test_wrapper_with_its_own_dumps() -> None:
    dumps = partial(json.dumps, ensure_ascii=False)
    assert dump(Json("é"), PyFormat.TEXT)[0] == b'"\\u00e9"'
    assert dump(Json("é", dumps), PyFormat.TEXT)[0] == '"é"'.encode()
    assert dump(Json("é", dumps), PyFormat.TEXT, transformer("latin-1"))[0] == '"é"'.encode("latin-1")
    assert dump(Json("é", lambda obj: b"{}"), PyFormat.TEXT)[0] == b"{}"
    with pytest.raises(DataError, match="surrogate"):
        dump(Json("\ud800", dumps), PyFormat.TEXT)


def test_load_in_the_encoding_of_the_client() -> None:
    assert load('"é"'.encode("latin-1"), "json", Format.TEXT, transformer("latin-1")) == "é"


@pytest.mark.parametrize("name", ["json", "jsonb"])
def test_set_for_a_context(name: str) -> None:
    context = FakeConnection()
    set_json_dumps(lambda obj: f'"<{obj}>"', context)
    set_json_loads(lambda text: f"loaded {text}", context)
    wrapper = {"json": Json, "jsonb": Jsonb}[name]
    tx = Transformer(context)
    for format in PYFORMATS:
        assert there_and_back(wrapper(1), format, tx) == 'loaded "<1>"'
        assert there_and_back(wrapper(1), format) == 1
        assert there_and_back([wrapper(1)], format, tx) == ['loaded "<1>"']


def test_set_for_everything(default_json: None) -> None:
    tx = transformer()
    assert there_and_back(Json(1), PyFormat.TEXT, tx) == 1
    set_json_dumps(lambda obj: f'"<{obj}>"')
    set_json_loads(lambda text: f"loaded {text}")
    # Also where dumpers and loaders are in use already.
    assert there_and_back(Json(1), PyFormat.TEXT, tx) == 'loaded "<1>"'
    assert there_and_back(Jsonb(1), PyFormat.BINARY, tx) == 'loaded "<1>"'


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["json", "jsonb"])
def test_by_oid_without_wrappers(name: str, format: Format) -> None:
    oid = types[name].oid
    tx = transformer()
    for value in ({"a": 1}, Json({"a": 1})):
        data = tx.get_dumper_by_oid(oid, format).dump(value)
        assert data is not None
        assert load(bytes(data), oid, format) == {"a": 1}


def test_dict_needs_a_wrapper() -> None:
    with pytest.raises(ProgrammingError, match=r"cannot adapt type 'dict'.*Json\(\) or Jsonb\(\)"):
        dump({}, PyFormat.AUTO)


def test_repr_and_literal() -> None:
    assert repr(Jsonb([1])) == "Jsonb([1])"
    assert len(repr(Json("x" * 1000))) < 60
    assert transformer().as_literal(Json(["it's"])) == b"'[\"it''s\"]'::json"


def test_jsonpath_is_text() -> None:
    assert load(b'\x01$."a"', "jsonpath", Format.BINARY) == load(b'$."a"', "jsonpath", Format.TEXT) == '$."a"'
    for data in (b"", b"\x02$"):
        with pytest.raises(DataError, match="version of the binary format of jsonpath"):
            load(data, "jsonpath", Format.BINARY)


@pytest.mark.anyio
async def test_null_of_json_and_null(conn: AsyncConnection[Any]) -> None:
    for letter in "stb":
        query = f"SELECT %{letter} IS NULL, %{letter}::jsonb IS NULL, (%{letter})[1] IS NULL, (%{letter})[2] IS NULL"
        items = [Jsonb(None), None]
        cursor = await conn.execute(query.encode(), (Jsonb(None), None, items, items))
        assert await cursor.fetchone() == (False, True, False, True)
    for binary in (False, True):
        query = "SELECT 'null'::jsonb, NULL::jsonb, '{null,NULL}'::json[], ARRAY['null'::jsonb, NULL]"
        cursor = await conn.execute(query.encode(), binary=binary)
        assert await cursor.fetchone() == (None, None, [None, None], [None, None])


@pytest.mark.anyio
async def test_a_number_that_python_does_not_read(conn: AsyncConnection[Any]) -> None:
    for binary in (False, True):
        with pytest.raises(DataError, match="column 'j'"):
            await (await conn.execute("SELECT repeat('7', 5000)::jsonb AS j", binary=binary)).fetchone()
    assert await (await conn.execute("SELECT '[1]'::jsonb")).fetchone() == ([1],)


# -- arguments of no use


async def coroutine_function(data: object) -> str:
    return ""


@pytest.mark.parametrize("set_function", [set_json_dumps, set_json_loads])
@pytest.mark.parametrize("context", [None, FakeConnection()], ids=["everything", "connection"])
@pytest.mark.parametrize("wrong", [3, None, "json", coroutine_function])
def test_functions_that_are_none(default_json: None, set_function: Any, context: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match="(dumps|loads) .*must be a.* function"):
        set_function(wrong, context)
    assert there_and_back(Jsonb([1]), PyFormat.TEXT) == [1]


@pytest.mark.parametrize("wrapper", [Json, Jsonb])
def test_an_object_with_a_function_that_is_none(wrapper: type[Json]) -> None:
    with pytest.raises(TypeError, match="dumps must be a function, not 3"):
        wrapper(1, 3)  # type: ignore[arg-type]
