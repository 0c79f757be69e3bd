"""The adapter that the package pgvector has for psycopg, with the server's own extension.

Tests of an inner pytest, which `tests/contrib/psycopg/test_pgvector.py` runs. What they make is rolled back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector
from pgvector.psycopg import register_vector, register_vector_async
from psycopg.types import TypeInfo

import anyq

DSN = os.environ["ANYQ_PROGRAM_DSN"]
ITEMS = "CREATE TEMPORARY TABLE items (id int, embedding vector(3), half halfvec(3), sparse sparsevec(5), flags bit(3))"
INSERT = "INSERT INTO items VALUES (%s, %s, %s, %s, %s)"
ROWS = [
    (1, Vector([1, 2, 3]), HalfVector([1, 2, 3]), SparseVector({0: 1, 4: -2.5}, 5), Bit("101")),
    (2, Vector([4, 5, 6.5]), HalfVector([0, 0, 0.5]), SparseVector({}, 5), Bit("000")),
    (3, None, None, None, None),
]
LOADED = [(*row[:4], row[4] and row[4].to_text()) for row in ROWS]


@pytest.fixture
def conn() -> Iterator[Any]:
    with psycopg.connect(DSN) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS vector")
        yield conn
        conn.rollback()


@pytest.mark.parametrize("cursor_class", [psycopg.Cursor, psycopg.ClientCursor])
@pytest.mark.parametrize("binary", [False, True])
def test_values(conn: Any, cursor_class: Any, binary: bool) -> None:
    assert type(conn) is anyq.Connection
    register_vector(conn)
    conn.execute(ITEMS)
    cursor = cursor_class(conn)
    cursor.executemany(INSERT, ROWS)
    if binary and cursor_class is psycopg.ClientCursor:
        pytest.skip("a client cursor has results in text")
    for _ in range(7):
        # Prepared after some of them.
        cursor.execute("SELECT * FROM items ORDER BY id", binary=binary)
        assert cursor.fetchall() == LOADED
        cursor.execute("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 2", [Vector([4, 5, 6])])
        assert cursor.fetchall() == [(2,), (1,)]
        cursor.execute(
            "SELECT id FROM items ORDER BY half <=> %s, flags <~> %s LIMIT 1", [HalfVector([1, 2, 3]), Bit("101")]
        )
        assert cursor.fetchall() == [(1,)]
    cursor.execute("SELECT %s::vector[], %s", [[Vector([1, 2]), None, Vector([3, 4])], [Vector([0.5])]], binary=binary)
    assert cursor.fetchone() == ([Vector([1, 2]), None, Vector([3, 4])], [Vector([0.5])])


@pytest.mark.parametrize("placeholder", ["%s", "%t", "%b"])
def test_arrays_of_numpy(conn: Any, placeholder: str) -> None:
    register_vector(conn)
    given = np.array([1.5, -2, 3], dtype=np.float32)
    row = conn.execute(f"SELECT {placeholder}, {placeholder}::vector <-> '[1.5,-2,4]'", [given, given]).fetchone()
    assert row == (Vector(given), 1.0)
    assert (row[0].to_numpy() == given).all()


def test_copy(conn: Any) -> None:
    register_vector(conn)
    conn.execute(ITEMS)
    with conn.cursor().copy("COPY items FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(["int4", "vector", "halfvec", "sparsevec", "bit"])
        for row in ROWS:
            copy.write_row(row)
    with conn.cursor().copy("COPY items (embedding) FROM STDIN") as copy:
        copy.write_row([Vector([7, 8, 9])])
    assert conn.execute("SELECT * FROM items WHERE id > 0 ORDER BY id").fetchall() == LOADED
    with conn.cursor().copy("COPY (SELECT embedding FROM items) TO STDOUT WITH (FORMAT BINARY)") as copy:
        copy.set_types(["vector"])
        assert [row[0] for row in copy.rows()] == [Vector([1, 2, 3]), Vector([4, 5, 6.5]), None, Vector([7, 8, 9])]


def test_other_connections_know_nothing_of_it(conn: Any) -> None:
    register_vector(conn)
    assert psycopg.adapters.types.get("vector") is None
    with pytest.raises(psycopg.ProgrammingError, match="cannot adapt type 'Vector'"), psycopg.connect(DSN) as other:
        other.execute("SELECT %s", [Vector([1])])


def test_without_the_extension(conn: Any) -> None:
    conn.rollback()
    assert TypeInfo.fetch(conn, "vector") is None
    with pytest.raises(psycopg.ProgrammingError, match="vector type not found in the database"):
        register_vector(conn)


def test_asynchronous_connections() -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(DSN) as conn:
            await conn.execute("CREATE EXTENSION IF NOT EXISTS vector")
            await register_vector_async(conn)
            await conn.execute(ITEMS)
            async with conn.cursor(binary=True) as cursor:
                await cursor.executemany(INSERT, ROWS)
                await cursor.execute("SELECT * FROM items ORDER BY id")
                assert await cursor.fetchall() == LOADED
            await conn.rollback()

    asyncio.run(main())
