"""What a synchronous connection tells of notices, notifications and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyq


def test_notices(conn: anyq.Connection) -> None:
    seen: list[str | None] = []

    def handler(diagnostic: anyq.Diagnostic) -> None:
        seen.append(diagnostic.message_primary)

    conn.add_notice_handler(handler)
    conn.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    conn.remove_notice_handler(handler)
    conn.execute("DO $$ BEGIN RAISE NOTICE 'unheard'; END $$")
    assert seen == ["hello"]


def test_wait_disconnected(conn: anyq.Connection, observer: anyq.Connection, background: Callable[..., Any]) -> None:
    waiting = background(conn.wait_disconnected)
    assert conn.execute("SELECT 1").fetchone() == (1,)
    observer.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
    waiting.result()
    assert conn.broken


def test_handlers(conn: anyq.Connection, observer: anyq.Connection) -> None:
    conn.autocommit = True
    conn.execute("LISTEN a")
    seen: list[str] = []

    def handler(notify: anyq.Notify) -> None:
        seen.append(notify.payload)

    conn.add_notify_handler(handler)
    observer.notify("a", "heard")
    conn.execute("SELECT 1")
    conn.remove_notify_handler(handler)
    observer.notify("a", "unheard")
    conn.execute("SELECT 1")
    assert seen == ["heard"]
