"""Threads: they may share the module and connections (PEP 249, level 2), and never get each other's answers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

import anyq
from tests.support.activity import SCALE

pytestmark = pytest.mark.every_way

THREADS = 32
QUERIES = 40 * SCALE  # a thread


def ask(conn: anyq.Connection, seed: int, queries: int) -> None:
    """Execute statements of several kinds and check every answer."""
    dice = random.Random(seed)
    for number in range(queries):
        value = seed * 1_000_000 + number
        match dice.randrange(5):
            case 0:
                assert conn.execute("SELECT %s::int8", [value]).fetchone() == (value,)
            case 1:
                rows = conn.execute("SELECT %s::int8 + i FROM generate_series(1, 50) AS t(i)", [value]).fetchall()
                assert rows == [(value + i,) for i in range(1, 51)]
            case 2:
                with pytest.raises(anyq.errors.DivisionByZero):
                    conn.execute("SELECT %s / 0", [value])
            case 3:
                stream = conn.cursor().stream("SELECT %s::int8 + i FROM generate_series(1, 50) AS t(i)", [value])
                assert list(stream) == [(value + i,) for i in range(1, 51)]
            case _:
                cursor = conn.cursor()
                cursor.executemany("SELECT %s::int8", ((value + i,) for i in range(5)), returning=True)
                assert [result.fetchone() for result in cursor.results()] == [(value + i,) for i in range(5)]


@pytest.mark.parametrize("connections", [1, 8])
def test_threads_share_connections(
    portal_backend: object, dsn: str, connections: int, background: Callable[..., Any]
) -> None:
    conns = [anyq.connect(dsn, autocommit=True) for _ in range(connections)]
    workers = [background(lambda n=n: ask(conns[n % connections], n, QUERIES)) for n in range(THREADS)]
    for worker in workers:
        worker.result()
    for conn in conns:
        conn.close()


def test_a_threads_worker_ends_with_it(conn: anyq.Connection, background: Callable[..., Any]) -> None:
    workers = conn.calls.portal.workers
    before = len(workers)
    for _ in range(5):
        background(lambda: conn.execute("SELECT 1")).result()
    # Ending is asked for when the thread ends; the loop has come to it when it has run this.
    while len(workers) > before:
        conn.execute("SELECT 1")
    assert len(workers) == before


def test_connecting_and_closing_in_many_threads(
    portal_backend: object, dsn: str, background: Callable[..., Any]
) -> None:
    barrier = threading.Barrier(8)

    def work() -> None:
        for _ in range(5):
            barrier.wait()
            with anyq.connect(dsn) as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)

    for worker in [background(work) for _ in range(8)]:
        worker.result()
