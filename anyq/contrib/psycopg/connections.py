"""Connections: what psycopg has beside its two classes of them.

Knows what anyq can do. Must not know how.
"""

from __future__ import annotations

from abc import ABC
from typing import Any, Generic

from typing_extensions import TypeVar

from anyq import AsyncConnection, Connection, NotSupportedError
from anyq.rows import TupleRow

Row = TypeVar("Row", default=TupleRow)


class BaseConnection(ABC, Generic[Row]):
    """What both kinds of connections are, for ``isinstance()`` and annotations. There is nothing in it to inherit."""


BaseConnection.register(AsyncConnection)
BaseConnection.register(Connection)


class Capabilities:
    """What a version of libpq can do, for programs that ask before they use it: anyq can, but for GSSAPI and traces."""

    def has_full_protocol_version(self, check: bool = False) -> bool:
        return True

    def has_encrypt_password(self, check: bool = False) -> bool:
        return True

    def has_hostaddr(self, check: bool = False) -> bool:
        return True

    def has_pipeline(self, check: bool = False) -> bool:
        return True

    def has_cancel_safe(self, check: bool = False) -> bool:
        return True

    def has_stream_chunked(self, check: bool = False) -> bool:
        return True

    def has_send_close_prepared(self, check: bool = False) -> bool:
        return True

    def has_set_trace_flags(self, check: bool = False) -> bool:
        return self._has_not("flags of libpq's trace", check)

    def has_used_gssapi(self, check: bool = False) -> bool:
        return self._has_not("GSSAPI", check)

    def _has_not(self, what: str, check: bool) -> bool:
        if check:
            raise NotSupportedError(f"anyq, which stands in for psycopg here, has no {what}")
        return False


capabilities: Any = Capabilities()
"""The one object of it that programs ask."""
