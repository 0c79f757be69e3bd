"""Types that stand in for those of extensions that the tests' server has not."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import AsyncConnection, errors

_FUNCTIONS = {
    "bytea": ("byteain", "byteaout", "bytearecv", "byteasend"),
    "text": ("textin", "textout", "textrecv", "textsend"),
}


def stand_in_script(name: str, like: str, *, delimiter: str = ",") -> str:
    """Return SQL for a type that is read and written as another one is, in both formats; a superuser may run it.

    :param name: may have a schema, and must not need quotes.
    :param like: `bytea` or `text`.
    """
    reading, writing, receiving, sending = _FUNCTIONS[like]
    return f"""
        CREATE TYPE {name};
        CREATE FUNCTION {name}_in(cstring) RETURNS {name} LANGUAGE internal IMMUTABLE STRICT AS '{reading}';
        CREATE FUNCTION {name}_out({name}) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS '{writing}';
        CREATE FUNCTION {name}_recv(internal) RETURNS {name} LANGUAGE internal IMMUTABLE STRICT AS '{receiving}';
        CREATE FUNCTION {name}_send({name}) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS '{sending}';
        CREATE TYPE {name} (INPUT = {name}_in, OUTPUT = {name}_out, RECEIVE = {name}_recv, SEND = {name}_send,
            LIKE = {like}, DELIMITER = '{delimiter}');
    """


async def stand_in(conn: AsyncConnection[Any], name: str, like: str, *, delimiter: str = ",") -> None:
    """Create such a type in the transaction that is open, or skip the test: see `stand_in_script`."""
    try:
        await conn.execute(stand_in_script(name, like, delimiter=delimiter).encode())
    except errors.InsufficientPrivilege:
        pytest.skip("needs a superuser")
