"""Template strings are queries, by their shape."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing_extensions import assert_type

from anyq import AsyncConnection, sql
from anyq.abc import Query, QueryNoTemplate, Template


async def template_strings(conn: AsyncConnection, template: Template, query: Query) -> None:
    await conn.execute(template)
    await conn.execute(query)
    assert_type(sql.as_string(template), str)
    assert_type(sql.as_bytes(sql.SQL("a"), conn), bytes)
    await conn.execute(5)  # type: ignore[arg-type]


def without(template: Template) -> QueryNoTemplate:
    return template  # type: ignore[return-value]
