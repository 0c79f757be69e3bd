"""Xid: the name of a two-phase transaction, as a transaction manager has it and as PostgreSQL does.

Knows PEP 249's three parts and the text that stands for them, which is that of PostgreSQL's JDBC driver, psycopg and
others. Must not know connections.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any, NamedTuple

from typing_extensions import Self

from .errors.arguments import check_ints, check_texts

_MAX_FORMAT_ID = 0x7FFFFFFF
_MAX_PART = 64  # characters of gtrid and of bqual: XA's limit, which PEP 249 has, too


class _Parts(NamedTuple):
    format_id: int | None
    gtrid: str
    bqual: str | None


class Xid(_Parts):
    """A transaction's name: a tuple of format id, global transaction id and branch qualifier.

    PostgreSQL has one text for it, its *gid*, which is ``str(xid)``. A gid that others have made up is
    ``Xid(None, gid, None)``. Two are equal if these three parts are, whatever else is known.
    """

    prepared: datetime | None
    """When it was prepared; like the next two, None for one that :meth:`AsyncConnection.tpc_recover` has not told."""
    owner: str | None
    """The role that has prepared it."""
    database: str | None
    """The database that it was prepared in, where alone it can be ended."""

    def __new__(
        cls,
        format_id: int | None,
        gtrid: str,
        bqual: str | None,
        prepared: datetime | None = None,
        owner: str | None = None,
        database: str | None = None,
    ) -> Self:
        self = super().__new__(cls, format_id, gtrid, bqual)
        self.prepared, self.owner, self.database = prepared, owner, database
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (*self, self.prepared, self.owner, self.database)

    def __repr__(self) -> str:
        fields = {**self._asdict(), "prepared": self.prepared, "owner": self.owner, "database": self.database}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    def __str__(self) -> str:
        if self.format_id is None or self.bqual is None:
            return self.gtrid
        gtrid, bqual = (b64encode(part.encode()).decode("ascii") for part in (self.gtrid, self.bqual))
        return f"{self.format_id}_{gtrid}_{bqual}"

    @classmethod
    def from_parts(cls, format_id: int, gtrid: str, bqual: str) -> Self:
        """Return one of three parts.

        :raises ValueError: `format_id` is not from 0 to 2147483647, or one of the others has more than 64 characters.
        """
        check_ints(0, format_id=format_id)
        check_texts(gtrid=gtrid, bqual=bqual)
        if not 0 <= format_id <= _MAX_FORMAT_ID:
            raise ValueError(f"format_id of an xid must be from 0 to {_MAX_FORMAT_ID}, not {format_id}")
        for name, part in (("gtrid", gtrid), ("bqual", bqual)):
            if len(part) > _MAX_PART:
                raise ValueError(f"{name} of an xid can have {_MAX_PART} characters, not {len(part)}")
        return cls(format_id, gtrid, bqual)

    @classmethod
    def from_string(cls, gid: str) -> Self:
        """Return what a gid stands for: three parts only if these would have just this text."""
        check_texts(gid=gid)
        try:
            number, gtrid, bqual = gid.split("_")
            xid = cls.from_parts(int(number), *(b64decode(part, validate=True).decode() for part in (gtrid, bqual)))
        except ValueError:  # of each of these
            return cls(None, gid, None)
        return xid if str(xid) == gid else cls(None, gid, None)
