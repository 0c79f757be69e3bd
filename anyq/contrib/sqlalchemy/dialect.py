"""CommonDialect: what SQLAlchemy has to know of anyq, whichever way it is called.

Knows SQLAlchemy's dialect for psycopg, whose interface anyq has, and which classes of ours take the place of psycopg's.
Must not know whether a connection is synchronous.
"""

# SQLAlchemy has no types for dialects, and what it computes late is an attribute here.
# pyright: basic, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.dialects.postgresql import ranges
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL

import anyq
from anyq.types.hstore import register_hstore
from anyq.types.json import Json, Jsonb, set_json_dumps, set_json_loads
from anyq.types.multirange import Multirange
from anyq.types.range import Range
from anyq.types.string import TextLoader

from .types import MultirangeType, RangeType


def _whole_or_none(value: str) -> int | None:
    return None if value.lower() == "none" else int(value)


_NUMBERS: dict[str, Callable[[str], float | None]] = {
    "prepare_threshold": _whole_or_none,
    "grace_period": float,
    "busy_wait": float,
}
"""What ``connect()`` takes as numbers, and an URL has as text; numbers of connection strings may be text."""


class CommonDialect(PGDialect_psycopg):
    """What both dialects have in common.

    An engine has adapters of its own, which begin as a copy of ``anyq.adapters`` and are those of its connections.
    """

    driver = "anyq"
    supports_statement_cache = True  # SQLAlchemy asks each class for it
    minimum_dbapi_version = None

    colspecs = {
        **PGDialect_psycopg.colspecs,
        ranges.AbstractSingleRange: RangeType,
        ranges.AbstractMultiRange: MultirangeType,
    }

    # What the dialect for psycopg would import from there.
    _psycopg_Json = Json
    _psycopg_Jsonb = Jsonb
    _psycopg_Range = Range
    _psycopg_Multirange = Multirange
    _psycopg_TransactionStatus = anyq.TransactionStatus

    def __init__(self, **kwargs: Any) -> None:
        super(PGDialect_psycopg, self).__init__(**kwargs)  # its own imports psycopg
        self._psycopg_adapters_map = adapters = anyq.AdaptersMap(anyq.adapters)
        if self._native_inet_types is False:
            adapters.register_loader("inet", TextLoader)
            adapters.register_loader("cidr", TextLoader)
        if self._json_deserializer:
            set_json_loads(self._json_deserializer, adapters)
        if self._json_serializer:
            set_json_dumps(self._json_serializer, adapters)

    @classmethod
    def load_provisioning(cls) -> None:
        """Load what SQLAlchemy's own helpers for tests know of PostgreSQL."""
        PGDialect_psycopg.load_provisioning()

    def create_connect_args(self, url: URL) -> Any:
        """Return the arguments of ``connect()`` that an URL stands for."""
        args, kwargs = super().create_connect_args(url)
        for name, convert in _NUMBERS.items():
            if isinstance(kwargs.get(name), str):
                kwargs[name] = convert(kwargs[name])
        return args, kwargs

    def initialize(self, connection: Any) -> None:
        """Learn from the first connection what the database is like."""
        super(PGDialect_psycopg, self).initialize(connection)
        if self.use_native_hstore:
            # It has another oid in each database, and is not in all of them.
            driver_connection = connection.connection.driver_connection
            info = self._type_info_fetch(connection, "hstore")
            self._has_native_hstore = info is not None
            if info is not None:
                register_hstore(info, self._psycopg_adapters_map)
                register_hstore(info, driver_connection)
