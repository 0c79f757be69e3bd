"""Packages that adapt types of their own find the same hooks as psycopg's: names, parameters, and what they do.

The package is an example of ours, which is run on both drivers. Its type is one that stands in for pgvector's, which is
on no server that the tests have: it gives back what it was given, in each format.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import anyq
from tests.support.types import stand_in_script

SOURCE = (Path(__file__).parents[2] / "examples" / "pgvector_types.py").read_text("utf-8")

pytestmark = pytest.mark.checkout


@pytest.fixture(params=["anyq", "psycopg"])
def driver(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


@pytest.fixture
def package(driver: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example, with its imports changed to the driver's."""
    module: Any = ModuleType(f"vectors_of_{driver.__name__}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(SOURCE.replace("from anyq", f"from {driver.__name__}"), module.__dict__)
    return module


@pytest.fixture
def conn(driver: Any, dsn: str) -> Any:
    # The text of a bytea is what went in only in this format.
    with driver.connect(dsn, options="-c bytea_output=escape") as conn:
        try:
            for statement in stand_in_script("pg_temp.vector", "bytea").split(";")[:-1]:
                conn.execute(statement)
        except driver.errors.InsufficientPrivilege:
            pytest.skip("needs a superuser")
        yield conn
        conn.rollback()


def test_vectors(package: Any, driver: Any, conn: Any) -> None:
    with pytest.raises(LookupError, match="CREATE EXTENSION"):
        package.register_vector_info(driver.types.TypeInfo.fetch(conn, "no_such_type"), conn.adapters)
    one, two = package.Vector((1.0, -2.5)), package.Vector((0.5,))
    with pytest.raises(driver.ProgrammingError, match="cannot adapt type 'Vector'"):
        conn.execute("SELECT %s", (one,))
    package.register_vector(conn)
    assert conn.adapters.types["vector"].oid == conn.adapters.types.get("vector").oid
    name = "SELECT {0}, {0}, pg_typeof({0})::text ~ 'vector$', NULL::pg_temp.vector"
    for placeholder, binary, cursor in (
        ("%t", False, conn.cursor()),
        ("%b", True, conn.cursor()),
        ("%s", False, driver.ClientCursor(conn)),
    ):
        for _ in range(7):
            cursor.execute(name.format(placeholder), (one, [one, None, two], one), binary=binary)
            assert cursor.fetchone() == (one, [one, None, two], True, None)
    assert driver.sql.Literal(two).as_string(conn).startswith("'[0.5]'::")
    # Another connection knows nothing of it.
    assert driver.adapters.types.get("vector") is None


@pytest.mark.parametrize("format", ["text", "binary"])
def test_vectors_are_copied(format: str, package: Any, conn: Any) -> None:
    package.register_vector(conn)
    one = package.Vector((1.0, -2.5))
    conn.execute("CREATE TEMPORARY TABLE items (id int4, embedding pg_temp.vector)")
    with conn.cursor().copy(f"COPY items FROM STDIN (FORMAT {format})") as copy:
        copy.set_types(["int4", "vector"])
        copy.write_row((1, one))
    with conn.cursor().copy(f"COPY items TO STDOUT (FORMAT {format})") as copy:
        copy.set_types(["int4", "vector"])
        assert list(copy.rows()) == [(1, one)]


def test_vectors_on_an_asynchronous_connection(package: Any, driver: Any, conn: Any, dsn: str) -> None:
    async def main() -> None:
        conn = await driver.AsyncConnection.connect(dsn, options="-c bytea_output=escape")
        for statement in stand_in_script("pg_temp.vector", "bytea").split(";")[:-1]:
            await conn.execute(statement)
        await package.register_vector_async(conn)
        cursor = await conn.execute("SELECT %b", (package.Vector((2.0,)),), binary=True)
        assert await cursor.fetchone() == (package.Vector((2.0,)),)
        await conn.rollback()
        await conn.close()

    asyncio.run(main())


def test_the_bytes_of_a_vector(package: Any, driver: Any) -> None:
    """As vector_send() of pgvector writes them."""
    vector = package.Vector((1.0, 2.0, 3.0))
    data = bytes.fromhex("000300003f8000004000000040400000")
    assert package.VectorBinaryDumper(package.Vector).dump(vector) == data
    assert package.VectorBinaryLoader(0).load(data) == vector
    assert package.VectorLoader(0).load(b"[1,2,3]") == vector
    with pytest.raises(driver.DataError):
        package.VectorBinaryLoader(0).load(data[:-1])


@pytest.mark.parametrize(
    ("extension", "name", "text", "value"),
    [("ltree", "ltree", "a.b", "a.b"), ("ltree", "lquery", "*.b", "*.b"), ("citext", "citext", "It's", "It's")],
)
def test_types_of_extensions(extension: str, name: str, text: str, value: Any, dsn: str) -> None:
    """Text in either format; what has a version byte in binary is not asked for so."""
    with anyq.connect(dsn) as conn:
        try:
            conn.execute(f"CREATE EXTENSION {extension}".encode())
        except (anyq.errors.FeatureNotSupported, anyq.errors.UndefinedFile):
            pytest.skip("the server has no such extension")
        except anyq.errors.InsufficientPrivilege:
            pytest.skip("needs a superuser")
        for registered in (False, True):
            for binary in (False, True):
                query = f"SELECT %s::{name}, ARRAY[%s::{name}, NULL]".encode()
                row = conn.execute(query, (text, text), binary=binary).fetchone()
                assert row == (value, [value, None] if registered else f"{{{text},NULL}}")
            info = anyq.types.TypeInfo.fetch(conn, name)
            assert info is not None
            info.register(conn)
        conn.rollback()


#: What packages that adapt types call, or override.
HOOKS = [
    *("adapt.Dumper", "adapt.Dumper.dump", "adapt.Dumper.quote", "adapt.Dumper.get_key", "adapt.Dumper.upgrade"),
    *("adapt.Loader", "adapt.Loader.load", "adapt.RecursiveDumper", "adapt.RecursiveLoader"),
    *("adapt.AdaptersMap", "adapt.AdaptersMap.register_dumper", "adapt.AdaptersMap.register_loader"),
    *("adapt.AdaptersMap.get_dumper", "adapt.AdaptersMap.get_dumper_by_oid", "adapt.AdaptersMap.get_loader"),
    *("adapt.PyFormat.from_pq", "adapt.PyFormat.as_pq", "sql.quote"),
    *("types.TypeInfo", "types.TypeInfo.fetch", "types.TypeInfo.register", "types.TypesRegistry"),
    *("types.TypesRegistry.add", "types.TypesRegistry.get", "types.TypesRegistry.get_oid"),
    *("types.TypesRegistry.get_by_subtype", "types.TypesRegistry.__getitem__"),
    *("types.array.register_array", "types.array.register_all_arrays", "types.hstore.register_hstore"),
    *("types.enum.EnumInfo", "types.enum.register_enum"),
    *("types.composite.CompositeInfo", "types.composite.register_composite"),
    *("types.range.Range", "types.range.RangeInfo", "types.range.register_range"),
    *("types.multirange.Multirange", "types.multirange.MultirangeInfo", "types.multirange.register_multirange"),
    *("types.json.Json", "types.json.Jsonb", "types.json.set_json_dumps", "types.json.set_json_loads"),
]

#: Parameters that are not here: see docs/migrating.md.
MISSING = {("types.TypeInfo", "typemod")}


def parameters(package: str, hook: str) -> dict[str, inspect.Parameter]:
    parts = hook.split(".")
    modules = [part for part in parts if part.islower() and not part.startswith("register")]
    depth = 2 if parts[0] == "types" and parts[1].islower() else 1
    found: Any = importlib.import_module(".".join([package, *modules[:depth]]))
    for name in parts[depth:]:
        found = getattr(found, name)
    return dict(inspect.signature(found).parameters)


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_are_called_as_psycopgs(hook: str, psycopg: Any) -> None:
    ours, theirs = parameters("anyq", hook), parameters("psycopg", hook)
    for name in set(theirs) - set(ours):
        assert (hook, name) in MISSING
    places = [name for name in ours if name in theirs]
    assert places == [name for name in theirs if name in ours]
    for name, parameter in theirs.items():
        if name in ours:
            assert (ours[name].kind, ours[name].default) == (parameter.kind, parameter.default)
    for name in set(ours) - set(theirs):
        assert ours[name].default is not inspect.Parameter.empty
