"""The programs for web frameworks in docs/pool.md run, where these are installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import anyq

PAGE = (Path(__file__).parents[2] / "docs" / "pool.md").read_text("utf-8")
PLANETS = [["Mars"], ["Neptune"]]


@pytest.fixture
def conninfo(dsn: str, schema: str) -> str:
    """A database with planets in a schema of its own."""
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute(f"CREATE TABLE {schema}.planet AS SELECT name FROM (VALUES ('Mars'), ('Neptune')) AS v (name)")
    return f"{dsn} options='-c search_path={schema}'"


def program(framework: str, conninfo: str) -> dict[str, Any]:
    """Run the page's program for a framework; return what it has defined."""
    pytest.importorskip(framework)
    (source,) = [text for text in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if f"from {framework} " in text]
    defined: dict[str, Any] = {"conninfo": conninfo, "__name__": "program"}
    exec(compile(source, f"docs/pool.md for {framework}", "exec"), defined)
    return defined


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_fastapi(conninfo: str, backend: str) -> None:
    app = program("fastapi", conninfo)["app"]
    client = pytest.importorskip("starlette.testclient").TestClient
    for _ in range(2):
        # The second time with another pool, in another event loop.
        with client(app, backend=backend) as server:
            for _ in range(3):
                assert server.get("/planets").json() == PLANETS
                assert server.get("/number").json() == [2]


def test_flask(conninfo: str) -> None:
    defined = program("flask", conninfo)
    app = defined["create_app"]()
    try:
        for _ in range(3):
            assert app.test_client().get("/planets").json == PLANETS
    finally:
        defined["pool"].close()
