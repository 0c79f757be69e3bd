"""The dialects of SQLAlchemy: ``create_engine("postgresql+anyq://...")``, and ``create_async_engine()`` with the same.

Knows SQLAlchemy 2, and anyq as any user does. Must not know psycopg, which need not be installed. Begin with
`dialect`, which both have in common; `types` are values that have a class of their own in SQLAlchemy.
"""

from .asynchronous import AsyncAnyqDialect
from .synchronous import AnyqDialect

__all__ = ["AnyqDialect", "AsyncAnyqDialect"]
