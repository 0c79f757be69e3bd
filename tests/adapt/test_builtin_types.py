"""The table of built-in types is what the tool makes of a server's catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import AsyncConnection
from anyq.adapt.builtin_types import BUILTIN_TYPES
from anyq.postgres import types
from tests.tools import generate_types


@pytest.mark.checkout
def test_the_table_is_as_a_server_has_it(dsn: str) -> None:
    try:
        fresh = generate_types.new_module(dsn)
    except ValueError as error:
        pytest.skip(str(error))
    assert fresh == generate_types.TARGET.read_text("utf-8"), "run python -m tests.tools.generate_types"


@pytest.mark.anyio
async def test_an_older_server_has_nothing_else(conn: AsyncConnection[Any]) -> None:
    """Of whichever release it is; a newer one may have more."""
    cursor = await conn.execute(generate_types.QUERY.encode())
    for name, oid, array_oid, sql_name, delimiter in await cursor.fetchall():
        info = types.get(name)
        if info is None and conn.info.server_version >= (generate_types.MAJOR_VERSION + 1) * 10_000:
            continue
        assert info is not None, f"{name} is missing"
        assert (info.oid, info.array_oid, info.regtype, info.delimiter) == (oid, array_oid, sql_name, delimiter)
        assert types[sql_name] is types[oid] is info


def test_a_type_is_there_once() -> None:
    names = [name for name, *_ in BUILTIN_TYPES]
    oids = [oid for _, item, array, *_ in BUILTIN_TYPES for oid in (item, array) if oid]
    assert names == sorted(set(names))
    assert len(oids) == len(set(oids))


def test_what_is_replaced() -> None:
    begin, end = generate_types.BEGIN, generate_types.END
    module = f"head\n{begin}\nold\n{end}\ntail\n"
    assert generate_types.replace_generated(module, "new") == f"head\n{begin}\nnew\n{end}\ntail\n"
