"""The examples that show psycopg's users how to work asynchronously, with the name of the package replaced."""

from __future__ import annotations

from typing import Any

import pytest

import anyq
from tests.support.state import is_closed

pytestmark = pytest.mark.anyio


@pytest.fixture
async def options(dsn: str, schema: str) -> dict[str, Any]:
    """Arguments to connect with where a table `test` is, as the examples expect it."""
    arguments: dict[str, Any] = {"conninfo": dsn, "options": f"-c search_path={schema}"}
    async with anyq.AsyncConnection.connect(**arguments) as conn:
        await conn.execute("CREATE TABLE test (id serial PRIMARY KEY, num int, data text)")
    return arguments


async def rows_of_test(options: dict[str, Any]) -> list[Any]:
    async with anyq.AsyncConnection.connect(**options) as conn:
        return await (await conn.execute("SELECT num, data FROM test ORDER BY id")).fetchall()


async def test_insert_and_select(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    async with await anyq.AsyncConnection.connect(**options) as aconn:  # noqa: SIM117 (as the example is)
        async with aconn.cursor() as acur:
            await acur.execute("INSERT INTO test (num, data) VALUES (%s, %s)", (100, "abc'def"))
            await acur.execute("INSERT INTO test (num, data) VALUES (%s, %s)", (200, None))
            await acur.execute("SELECT * FROM test")
            assert await acur.fetchone() == (1, 100, "abc'def")
            async for record in acur:
                print(record)
    assert capsys.readouterr().out == "(2, 200, None)\n"
    # The transaction is committed and the connection closed by the end of the block.
    assert aconn.closed and acur.closed
    assert await rows_of_test(options) == [(100, "abc'def"), (200, None)]


async def test_in_two_steps(options: dict[str, Any]) -> None:
    aconn = await anyq.AsyncConnection.connect(**options)
    async with aconn:
        async with aconn.cursor() as cur:
            await cur.execute("INSERT INTO test (num) VALUES (1)")
        assert cur.closed
        assert not is_closed(aconn)
    assert is_closed(aconn)
    assert await rows_of_test(options) == [(1, None)]


async def test_condensed(options: dict[str, Any]) -> None:
    async with await anyq.AsyncConnection.connect(**options) as aconn:  # noqa: SIM117 (as the example is)
        async with aconn.cursor() as cur:
            await cur.execute("INSERT INTO test (num) VALUES (1)")
    assert aconn.closed
    assert await rows_of_test(options) == [(1, None)]


async def test_more_condensed_than_it_could_be(options: dict[str, Any]) -> None:
    async with anyq.AsyncConnection.connect(**options) as aconn, aconn.cursor() as cur:
        await cur.execute("INSERT INTO test (num) VALUES (1)")
    assert aconn.closed and cur.closed
    assert await rows_of_test(options) == [(1, None)]


@pytest.mark.parametrize("awaited", [True, False])
async def test_an_exception_rolls_back(options: dict[str, Any], awaited: bool) -> None:
    connecting = anyq.AsyncConnection.connect(**options)
    with pytest.raises(ZeroDivisionError):
        async with await connecting if awaited else connecting as aconn, aconn.cursor() as cur:
            await cur.execute("INSERT INTO test (num) VALUES (1)")
            raise ZeroDivisionError
    assert aconn.closed
    assert await rows_of_test(options) == []


async def test_handled_by_hand(options: dict[str, Any]) -> None:
    aconn = await anyq.AsyncConnection.connect(**options)
    cur = aconn.cursor()
    await cur.execute("INSERT INTO test (num) VALUES (1)")
    await cur.close()
    await aconn.commit()
    await aconn.close()
    assert aconn.closed
    assert await rows_of_test(options) == [(1, None)]


async def test_closed_by_hand_within_the_block(options: dict[str, Any]) -> None:
    async with anyq.AsyncConnection.connect(**options) as aconn:
        await aconn.execute("INSERT INTO test (num) VALUES (1)")
        await aconn.close()
    # What was not committed is rolled back.
    assert await rows_of_test(options) == []
