"""AnyqDialect: the dialect of synchronous engines, and the name under which the other one is found as well.

Knows that anyq is PEP 249's module itself. Must not know what a dialect has to say of it.
"""

# SQLAlchemy has no types for dialects.
# pyright: basic

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import URL

import anyq
from anyq.types import TypeInfo

from .asynchronous import AsyncAnyqDialect
from .dialect import CommonDialect


class AnyqDialect(CommonDialect):
    """``postgresql+anyq``, as ``create_engine()`` uses it."""

    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the module that has PEP 249's names."""
        return anyq

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> Any:
        """Return the dialect that ``create_async_engine()`` uses for the same URL."""
        return AsyncAnyqDialect

    def _type_info_fetch(self, connection: Any, name: str) -> TypeInfo | None:
        info: TypeInfo | None = TypeInfo.fetch(connection.connection.driver_connection, name)
        return info
