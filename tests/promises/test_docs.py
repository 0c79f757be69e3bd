"""The documentation keeps its promises: its code runs, its links lead somewhere, its tables are true.

Every block marked as Python is run, on each event loop. One with the connection string `dbname=test user=postgres`,
which becomes the server's, is a program, run by an interpreter of its own. Any other is run as the body of a coroutine
with the names `conn` (a new connection in autocommit mode, with the table of docs/index.md), `dsn`, `anyq` and `anyio`.
Where comments say what it prints (`# prints: ...`), that is what it must print, line by line; `...` in such a comment
stands for anything.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import decimal
import enum
import inspect
import io
import ipaddress
import os
import re
import secrets
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

import anyq
from anyq._accel.twins import name_of
from anyq.adapt import AdaptersMap, Format, Transformer
from anyq.conninfo import KEYWORDS
from anyq.conninfo.options import TARGET_SESSION_ATTRS
from anyq.sql import SQL, Identifier
from anyq.types import composite, geometric, hstore, infinity, interval, multirange, numeric
from anyq.types import enum as enums
from anyq.types import json as json_types
from anyq.types import range as ranges
from anyq.types.string import TextLoader
from tests.promises.test_every_type import BOUNDS, SAMPLES
from tests.promises.test_literals import RANGES
from tests.support.server import Server
from tests.support.two_phase import need_two_phase

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

#: Languages of blocks: those of Python run, the others are not meant to.
LANGUAGES = {"python", "text", "sql", "sh"}

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)
_DSN = '"dbname=test user=postgres"'
_ANYIO_RUN = re.compile(r"^anyio\.run\(main.*\)$", re.MULTILINE)
_PRINTS = re.compile(r"# prints: (.*)")
_CHANNEL = re.compile(r"\bplanet_news\b")


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def is_program(self) -> bool:
        return _DSN in self.source


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("source")) + 1
        yield Block(page, line, found["language"], found["source"])


ALL = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL if block.language == "python"]
BODIES = [block for block in PYTHON if not block.is_program]
PROGRAMS = [block for block in PYTHON if block.is_program]
(SETUP,) = [block.source for block in blocks(ROOT / "docs" / "index.md") if block.language == "sql"]


def check_output(block: Block, source: str, output: str) -> None:
    """Compare what was printed with what the block's comments say."""
    expected = _PRINTS.findall(source)
    if not expected:
        return
    printed = output.splitlines()
    assert len(printed) == len(expected), f"{block.name} printed {printed}"
    for line, comment in zip(printed, expected, strict=True):
        pattern = ".*".join(map(re.escape, comment.rstrip().split("...")))
        assert re.fullmatch(pattern, line), f"{block.name} printed {line!r} instead of {comment!r}"


def run(arguments: list[str]) -> str:
    """Run Python in a process of its own, with every warning an error; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def named(found: list[Block]) -> list[Any]:
    return [pytest.param(block, id=block.name) for block in found]


def test_every_block_says_what_it_is() -> None:
    assert {block.name: block.language for block in ALL if block.language not in LANGUAGES} == {}
    # A fence that is indented, or never closed, would hide a block from these tests.
    for page in PAGES:
        fences = page.read_text(encoding="utf-8").count("```")
        assert fences == 2 * len(list(blocks(page))), page


async def trusts(dsn: str) -> bool:
    """Return whether the server lets everybody in, as the embedded one does."""
    try:
        await (await anyq.AsyncConnection.connect(dsn, password=secrets.token_hex())).close()
    except anyq.errors.InvalidPassword:
        return False
    return True


@pytest.mark.anyio
@pytest.mark.parametrize("block", named(BODIES))
async def test_a_body_runs(block: Block, dsn: str, server: Server) -> None:
    need_packages(block.source)
    if "tpc_begin" in block.source:
        need_two_phase(server)
    # Another process may be running the same block on the same server.
    source = _CHANNEL.sub(f"planet_news_{secrets.token_hex(4)}", block.source)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile("\n" * (block.line - 1) + source, str(block.page), "exec", flags, dont_inherit=True)
    output = io.StringIO()
    async with anyq.AsyncConnection.connect(dsn, autocommit=True) as conn:
        if "password=password" in source and not await trusts(dsn):
            pytest.skip("the password of this server is another one than the page's")
        await conn.execute(SETUP.encode())
        names = {"__name__": "block", "conn": conn, "dsn": dsn, "anyq": anyq, "anyio": anyio}
        with contextlib.redirect_stdout(output):
            running = eval(code, names)
            if inspect.isawaitable(running):
                await running
    check_output(block, source, output.getvalue())


def on_its_loops() -> Iterator[Any]:
    """Yield each program with its source; one that has anyio choose the event loop, with its source for each."""
    for block in PROGRAMS:
        for backend in ("asyncio", "trio") if _ANYIO_RUN.search(block.source) else ("",):
            source = _ANYIO_RUN.sub(f'anyio.run(main, backend="{backend}")', block.source)
            yield pytest.param(block, source, id=f"{block.name}-{backend}" if backend else block.name)


@pytest.mark.parametrize(("block", "source"), list(on_its_loops()))
def test_a_program_runs(block: Block, source: str, dsn: str) -> None:
    need_packages(source)
    check_output(block, source, run(["-c", source.replace(_DSN, repr(dsn))]))


def need_packages(source: str) -> None:
    """Skip where a package is not installed that the code is about."""
    for package in ("sqlalchemy", "opentelemetry"):
        if re.search(rf"\b{package}\b", source):
            pytest.importorskip(package)


def test_the_example_runs(dsn: str) -> None:
    assert len(run(["examples/side_by_side.py", dsn]).splitlines()) == 4


# -- links


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page get."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(other), f"{page.name} links to {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.parent.name == "docs" and page.name != "index.md":
            assert f"]({page.name}" in index, page


# -- tables


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head; what is in backticks, without them."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {heading!r}"
    rows = [line for line in found[1].splitlines() if line.startswith("|")]
    # Of several tables all, without what is above their lines.
    heads = {at + i for at, row in enumerate(rows) if row.startswith("|---") for i in (-1, 0)}
    rows = [row for at, row in enumerate(rows) if at not in heads]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]


_NAMES = {
    **{name: getattr(datetime, name) for name in ("date", "time", "datetime", "timedelta", "timezone")},
    **{name: getattr(numeric, name) for name in numeric.__all__},
    **{name: getattr(json_types, name) for name in ("Json", "Jsonb")},
    **{name: getattr(ranges, name) for name in ranges.__all__},
    **{name: getattr(multirange, name) for name in multirange.__all__},
    **{name: getattr(ipaddress, name) for name in ("ip_address", "ip_interface", "ip_network")},
    **{cls: getattr(geometric, cls) for cls in geometric.__all__ if cls[0].isupper()},
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
}


@pytest.mark.anyio
async def test_what_python_values_become(conn: anyq.AsyncConnection) -> None:
    rows = table("adaptation.md", "Python to PostgreSQL")
    assert len(rows) > 10
    for value, sql_type, *_ in rows:
        if sql_type == "unknown":
            continue
        obj = eval(value, dict(_NAMES))
        for placeholder in ("%s", "%t", "%b"):
            cur = await conn.execute(f"SELECT pg_typeof({placeholder})::text".encode(), (obj,))
            assert await cur.fetchone() == (sql_type,), (value, placeholder)


class Mood(enum.Enum):
    happy = 1


class Pair(NamedTuple):
    a: int
    b: str


async def register_all(conn: anyq.AsyncConnection) -> set[str]:
    """Make the types of the second table, and register them; return their names."""
    await conn.execute(
        "CREATE TYPE pg_temp.mood AS ENUM ('happy'); CREATE TYPE pg_temp.pair AS (a int4, b text);"
        "CREATE TYPE pg_temp.span AS RANGE (SUBTYPE = float8, MULTIRANGE_TYPE_NAME = pg_temp.spans)"
    )
    register: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
        "mood": (enums.EnumInfo, lambda info: enums.register_enum(info, conn, Mood)),
        "pair": (composite.CompositeInfo, lambda info: composite.register_composite(info, conn, Pair)),
        "span": (ranges.RangeInfo, lambda info: ranges.register_range(info, conn)),
        "spans": (multirange.MultirangeInfo, lambda info: multirange.register_multirange(info, conn)),
    }
    with contextlib.suppress(anyq.errors.FeatureNotSupported, anyq.errors.UndefinedFile):
        # Some servers of the tests are without extensions.
        await conn.execute("CREATE EXTENSION IF NOT EXISTS hstore")
        register["hstore"] = (anyq.types.TypeInfo, lambda info: hstore.register_hstore(info, conn))
    for name, (info, call) in register.items():
        call(await info.fetch(conn, name))
    return set(register)


@pytest.fixture
async def registered(conn: anyq.AsyncConnection) -> AsyncIterator[anyq.AsyncConnection]:
    await conn.set_autocommit(True)
    await conn.execute("SET TIME ZONE 'UTC'; SET lc_monetary TO 'C'")
    yield conn
    # Other tests find the database without it.
    await conn.execute("DROP EXTENSION IF EXISTS hstore")


@pytest.mark.anyio
async def test_what_postgresql_values_become(registered: anyq.AsyncConnection) -> None:
    conn = registered
    rows = table("types.md", "The table")
    assert len(rows) > 35
    theirs: set[str] = set()
    for names, sql, value, *_, otherwise in rows:
        own = re.search(r"`register_\w+\(\)$", names) is not None
        if own and not theirs:
            theirs = await register_all(conn)
        if own and sql.rpartition("::")[2] not in theirs:
            continue
        obj = eval(value, {**_NAMES, "Mood": Mood, "Pair": Pair})
        for binary in (False, True):
            try:
                cur = await conn.execute(b"SELECT " + sql.encode(), (), binary=binary)
            except anyq.errors.FeatureNotSupported:
                assert names == "xml"  # a server may be built without it
                continue
            row = await cur.fetchone()
            assert row is not None
            assert (type(row[0]), row[0]) == (type(obj), obj), (sql, binary)
        if own:
            # As on a cursor that was made from a map without them.
            await check_without(conn, sql, eval(otherwise.removeprefix("without it, `")))


async def check_without(conn: anyq.AsyncConnection, sql: str, text: str) -> None:
    cur = conn.cursor()
    cur.adapters.register_loader(conn.adapters.types[sql.rpartition("::")[2]].oid, TextLoader)
    await cur.execute(b"SELECT " + sql.encode(), (), binary=False)
    assert await cur.fetchone() == (text,)


@pytest.mark.anyio
async def test_each_type_of_a_row_is_like_the_example(registered: anyq.AsyncConnection) -> None:
    """Of each name that a row has, a value becomes an object of the class that the example has."""
    for names, _, value, *_ in table("types.md", "The table"):
        cls = type(eval(value, {**_NAMES, "Mood": Mood, "Pair": Pair}))
        for name in names.split(", "):
            subtype = name.replace("multirange", "range")
            if subtype in RANGES:
                sample = f"[{BOUNDS[RANGES[subtype]]})"
                sample = sample if name == subtype else f"{{{sample}}}"
            elif name in SAMPLES and " " not in name:
                sample = SAMPLES[name]
            else:
                continue
            if name == "inet":
                sample = "192.0.2.1"
            for binary in (False, True):
                query = SQL("SELECT {}::text::{}").format(sample, Identifier(name))
                try:
                    cur = await registered.execute(query, (), binary=binary)
                except anyq.errors.FeatureNotSupported:
                    assert name == "xml"
                    continue
                assert type((await cur.fetchall())[0][0]) is cls, (name, binary)


#: What is in the last column of the table, without backticks around it, and a query and what it gives that show it.
OTHERWISE = {
    "SET client_encoding TO 'SQL_ASCII'` gives `bytes": (b"SELECT 'a'::varchar", b"a"),
    "[`column::numeric`](#money) is a `Decimal": (b"SELECT '1.5'::money::numeric", decimal.Decimal("1.50")),
    "string_to_array(column::text, ' ')::int[]` is a list": (
        b"SELECT string_to_array(c::text, ' ')::int[] FROM (VALUES ('1 2'::int2vector)) AS v(c)",
        [1, 2],
    ),
    "column::oid` is the number": (b"SELECT 'pg_class'::regclass::oid", 1259),
}
#: What examples show, or this file.
_ELSEWHERE = re.compile(
    r"|\[`\w+\(\)`\]\(.*|\[as a `float`\]\(.*|loaders of the items|a loader of your own.*|see \[.*|without it, .*"
)


@pytest.mark.anyio
async def test_how_to_have_them_otherwise(registered: anyq.AsyncConnection) -> None:
    cells = {otherwise for *_, otherwise in table("types.md", "The table")}
    assert {cell for cell in cells if not _ELSEWHERE.fullmatch(cell)} == set(OTHERWISE)
    for cell, (query, value) in OTHERWISE.items():
        if cell.startswith("SET"):
            await registered.execute(cell.partition("`")[0].encode())
        for binary in (False, True):
            assert await (await registered.execute(query, (), binary=binary)).fetchone() == (value,)
        await registered.execute(b"RESET client_encoding")
    names = {name for cell in cells for name in re.findall(r"(\w+)\(\)", cell)}
    modules = (infinity, interval, json_types, anyq.adapters)
    for name in names - {"string_to_array"}:
        assert any(hasattr(module, name) for module in modules), name


def test_which_loaders_there_are() -> None:
    context = AdaptersMap(anyq.adapters)
    hstore.register_hstore(anyq.types.TypeInfo("hstore", 90_000, 90_001), context)
    enum_info = enums.EnumInfo("enum", 90_002, 0, labels=["happy"])
    enums.register_enum(enum_info, context, Mood)
    pair = composite.CompositeInfo("composite", 90_004, 0, field_names=["a", "b"], field_types=[23, 25])
    composite.register_composite(pair, context, Pair)
    ranges.register_range(ranges.RangeInfo("range", 90_006, 0, subtype_oid=701), context)
    spans = multirange.MultirangeInfo("multirange", 90_008, 0, range_oid=90_006, subtype_oid=701)
    multirange.register_multirange(spans, context)
    tx = Transformer(context)
    for names, _, _, text, binary, compiled, _ in table("types.md", "The table"):
        for name in names.split(", "):
            if name.startswith("`register"):
                continue
            name = re.sub(r"^\[(\w+)\].*", r"\1", name)
            oid = tx.adapters.types.get_oid("int4[]" if name.startswith("arrays") else name.split()[0])
            formats = [Format.TEXT, Format.BINARY] if tx.has_binary_loader(oid) else [Format.TEXT]
            twins = [format for format in formats if name_of(tx.get_loader(oid, format).load) is not None]
            assert (text, binary) == ("yes", "yes" if len(formats) == 2 else "no"), name
            if oid >= 90_000 and anyq.__impl__ == "python":
                continue  # what is made for a type as it is registered is made in Python then
            assert compiled == (", ".join(format.name.lower() for format in twins) or "no"), name


def test_a_type_of_ones_own_takes_20_lines() -> None:
    text = (ROOT / "docs" / "types.md").read_text(encoding="utf-8")
    section = text[text.index("## A type of your own") :]
    block = _FENCE.search(section)
    assert block is not None
    assert len([line for line in block["source"].splitlines() if line.strip()]) <= 20


@pytest.mark.anyio
async def test_no_type_is_missing(conn: anyq.AsyncConnection) -> None:
    cur = await conn.execute(
        "SELECT typname::text FROM pg_type type WHERE typtype = 'b' AND typnamespace = 'pg_catalog'::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_type item WHERE item.typarray = type.oid)"
    )
    documented = {name for names, *_ in table("types.md", "The table") for name in names.split(", ")}
    assert {name for (name,) in await cur.fetchall()} - documented == set()


@pytest.mark.anyio
async def test_what_cannot_be_loaded(conn: anyq.AsyncConnection) -> None:
    rows = table("adaptation.md", "Values that Python does not have")
    assert len(rows) > 3
    for sql, *_ in rows:
        for binary in (False, True):
            cur = await conn.execute(b"SELECT " + sql.encode(), (), binary=binary)
            with pytest.raises(anyq.DataError):
                await cur.fetchone()


def test_keywords() -> None:
    rows = table("connecting.md", "Keywords")
    documented = {keyword: None if variable == "-" else variable for keyword, variable, _ in rows}
    assert documented == {name: keyword.envvar for name, keyword in KEYWORDS.items() if keyword.implemented}
    rows = table("connecting.md", "Keywords that are not supported yet")
    assert {(keyword, values, reason) for keyword, values, reason in rows} == {
        (name, ", ".join(keyword.neutral) or "-", keyword.reason)
        for name, keyword in KEYWORDS.items()
        if not keyword.implemented
    }


def test_targets() -> None:
    documented = [value for value, _ in table("connecting.md", "Sessions that will do")]
    assert documented == list(TARGET_SESSION_ATTRS)
