"""Packages that adapt types of their own find the same hooks as psycopg's: names, parameters, and what they do.

The package is an example of ours, which is run on both drivers. Its types are some that stand in for pgvector's, which
are on no server that the tests have: they give back what they were given, in each format.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import sys
from collections.abc import Callable
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


#: One that stands in for each of pgvector's types, as it may be on a server.
STAND_INS = [
    part
    for name in ("vector", "halfvec", "sparsevec")
    for part in stand_in_script(f"pg_temp.{name}", "bytea").split(";")[:-1]
]


@pytest.fixture
def conn(driver: Any, dsn: str) -> Any:
    # The text of a bytea is what went in only in this format.
    with driver.connect(dsn, options="-c bytea_output=escape") as conn:
        try:
            for statement in STAND_INS:
                conn.execute(statement)
        except driver.errors.InsufficientPrivilege:
            pytest.skip("needs a superuser")
        yield conn
        conn.rollback()


#: Two values of each type, which it holds exactly.
VALUES: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "vector": lambda package: (package.Vector((1.0, -2.5)), package.Vector((0.5,))),
    "halfvec": lambda package: (package.HalfVector((1.0, -2.5)), package.HalfVector((0.5,))),
    "sparsevec": lambda package: (package.SparseVector({0: 1.0, 6: -2.5}, 7), package.SparseVector({}, 3)),
}
names = pytest.mark.parametrize("name", VALUES)


def test_without_the_extension(package: Any, driver: Any, conn: Any) -> None:
    with pytest.raises(LookupError, match="CREATE EXTENSION"):
        package.register_vectors_info([driver.types.TypeInfo.fetch(conn, "no_such_type")] * 3, conn.adapters)
    # An old version of it.
    package.register_vectors_info([driver.types.TypeInfo.fetch(conn, "vector"), None, None], conn.adapters)
    assert conn.adapters.types.get("vector") is not None
    assert conn.adapters.types.get("halfvec") is None


@names
def test_vectors(name: str, package: Any, driver: Any, conn: Any) -> None:
    one, two = VALUES[name](package)
    with pytest.raises(driver.ProgrammingError, match=f"cannot adapt type '{type(one).__name__}'"):
        conn.execute("SELECT %s", (one,))
    package.register_vectors(conn)
    assert conn.adapters.types[name].oid == conn.adapters.types.get(name).oid
    query = f"SELECT {{0}}, {{0}}, pg_typeof({{0}})::text ~ '{name}$', NULL::pg_temp.{name}"
    for placeholder, binary, cursor in (
        ("%t", False, conn.cursor()),
        ("%b", True, conn.cursor()),
        ("%s", False, driver.ClientCursor(conn)),
    ):
        for _ in range(7):
            cursor.execute(query.format(placeholder), (one, [one, None, two], one), binary=binary)
            assert cursor.fetchone() == (one, [one, None, two], True, None)
    assert re.match(r"'[\[{].*'::", driver.sql.Literal(two).as_string(conn))
    # Another connection knows nothing of it.
    assert driver.adapters.types.get(name) is None


@names
@pytest.mark.parametrize("format", ["text", "binary"])
def test_vectors_are_copied(format: str, name: str, package: Any, conn: Any) -> None:
    package.register_vectors(conn)
    one, _ = VALUES[name](package)
    conn.execute(f"CREATE TEMPORARY TABLE items (id int4, embedding pg_temp.{name})")
    with conn.cursor().copy(f"COPY items FROM STDIN (FORMAT {format})") as copy:
        copy.set_types(["int4", name])
        copy.write_row((1, one))
    with conn.cursor().copy(f"COPY items TO STDOUT (FORMAT {format})") as copy:
        copy.set_types(["int4", name])
        assert list(copy.rows()) == [(1, one)]


def test_bits(package: Any, driver: Any, conn: Any) -> None:
    package.register_vectors(conn)
    for cursor in (conn.cursor(), driver.ClientCursor(conn)):
        cursor.execute("SELECT %s, %s", (package.Bit("1010"), [package.Bit("10"), None]))
        # A cast to `bit` would cut them.
        cut = driver is not anyq and isinstance(cursor, driver.ClientCursor)
        assert cursor.fetchone() == (("1", ["1", None]) if cut else ("1010", ["10", None]))


def test_vectors_on_an_asynchronous_connection(package: Any, driver: Any, conn: Any, dsn: str) -> None:
    async def main() -> None:
        conn = await driver.AsyncConnection.connect(dsn, options="-c bytea_output=escape")
        for statement in STAND_INS:
            await conn.execute(statement)
        await package.register_vectors_async(conn)
        for values in VALUES.values():
            cursor = await conn.execute("SELECT %b, %b", values(package), binary=True)
            assert (await cursor.fetchone())[0] == values(package)[0]
        await conn.rollback()
        await conn.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("value", "data", "text"),
    [
        # As vector_send(), halfvec_send() and sparsevec_send() of pgvector write them, and their output functions.
        ("Vector((1.0, 2.0, 3.0))", "000300003f8000004000000040400000", b"[1,2,3]"),
        ("HalfVector((1.0, 2.0, 3.0))", "000300003c0040004200", b"[1,2,3]"),
        (
            "SparseVector({0: 1.0, 2: 2.0}, 5)",
            "00000005000000020000000000000000000000023f80000040000000",
            b"{1:1,3:2}/5",
        ),
        ("SparseVector({}, 5)", "000000050000000000000000", b"{}/5"),
    ],
)
def test_the_bytes_of_a_vector(value: str, data: str, text: bytes, package: Any, driver: Any) -> None:
    made = eval(value, vars(package))
    name = type(made).__name__
    loader = vars(package)[f"{name}BinaryLoader"](0)
    assert vars(package)[f"{name}BinaryDumper"](type(made)).dump(made) == bytes.fromhex(data)
    assert loader.load(bytes.fromhex(data)) == made
    assert vars(package)[f"{name}Loader"](0).load(text) == made
    for size in range(len(bytes.fromhex(data))):
        with pytest.raises(driver.DataError):
            loader.load(bytes.fromhex(data)[:size])
    with pytest.raises(driver.DataError):
        loader.load(bytes.fromhex(data) + b"\0")


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
