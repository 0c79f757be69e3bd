"""What is remembered of a query by its text: enough to bind it again to parameters of the same kinds, in one call.

Knows a prepared statement and how it was bound last. Must not know how that came about: `composer` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

from .._accel import Alike
from ..abc import Params
from ..protocol import frontend
from .layout import Layout
from .placeholders import ParsedQuery
from .prepared import Entry, PreparedStatements
from .requests import RememberedRequest, StatementRequest, add_begin
from .statement import Statement

QueryKey = str | tuple[str]
"""The query as the user wrote it: alone if it came with parameters, as a text is found sooner than a tuple."""

MAX_REMEMBERED = 512
"""How many queries are known by their text at most."""

_HEADER = Struct("!BI").unpack_from
_COUNT = Struct("!H").unpack_from
_LENGTH = Struct("!i").unpack_from

MISSES = 16
"""How often a query comes with other kinds of parameters before these are taken for those that it mostly has."""


class RememberedQuery:
    """How a statement was bound that is prepared."""

    __slots__ = ("_alike", "_description", "_entry", "_misses", "_parameters", "_query", "_account", "encoding")

    def __init__(
        self,
        account: PreparedStatements,
        statement: Statement,
        query: ParsedQuery,
        entry: Entry,
        layout: Layout,
        parameters: Mapping[str, str],
    ) -> None:
        self._account = account
        self._query = query
        self._entry = entry
        self._description = layout.description
        self.encoding = layout.tx.encoding
        """The Python codec of the client encoding."""
        self._parameters = parameters
        self._alike = Alike(
            *(layout.tx, query.formats, statement.oids, statement.formats, entry.name, layout.result_formats),
            frontend.EXECUTE_SYNC,
        )
        self._misses = 0

    def compose(
        self, params: Params | None, parameters: Mapping[str, str], begin: bytes | None
    ) -> tuple[StatementRequest | RememberedRequest, bytearray] | None:
        """Return a request and its bytes; None if it has to be composed from what is not remembered.

        The shortest way from a query to its bytes.

        :param parameters: the server's, which loaders and dumpers look at.
        :param begin: the BEGIN to run first, if one is due.
        """
        entry = self._entry
        if parameters is not self._parameters or not entry.prepared:
            self._misses = 0  # there will be another one
            return None
        account = self._account
        if account.closing:
            return None
        if params is None:
            params = ()
        elif self._query.names is not None:
            params = self._query.bind_params(params)
        data = bytearray()
        request: StatementRequest | RememberedRequest
        if begin is None:
            # Without a call of the class, which takes longer than all that it does.
            request = made = RememberedRequest.__new__(RememberedRequest)
            made.set_up(self._description)
            made.known = self
        else:
            request = StatementRequest(account, self._description)
            request.reused = True
            request.known = self
            add_begin(request, data, begin)
        if not self._alike.bind(data, params):
            self._misses += 1
            return None
        account.use(entry)
        return request, data

    def statement(self, data: bytearray) -> Statement:
        """Return the statement whose messages, made by :meth:`compose`, are in `data`."""
        (sql, oids), name = self._entry.key, self._entry.name
        values, formats = bound_values(data, name)
        return Statement(sql, values, oids, formats, not values, False, self._query)

    def is_outdated(self) -> bool:
        """Return whether the query mostly comes with parameters of other kinds."""
        return self._misses % MISSES == 0


def bound_values(data: bytearray, name: bytes) -> tuple[list[bytes | None], list[int]]:
    """Return the values that messages of ours bind to the prepared statement `name`, and their formats.

    From the bytes, so that nothing need be kept of a query that succeeds.
    """
    pos, wanted = 0, b"\0" + name + b"\0"  # after an empty name for the portal
    code, length = _HEADER(data, pos)
    while code != ord("B") or not data.startswith(wanted, pos + 5):
        pos += 1 + length
        code, length = _HEADER(data, pos)
    pos += 5 + len(wanted)
    (count,) = _COUNT(data, pos)
    formats = [_COUNT(data, at)[0] for at in range(pos + 2, pos + 2 + 2 * count, 2)]
    pos += 2 + 2 * count
    (count,) = _COUNT(data, pos)
    pos += 2
    values: list[bytes | None] = []
    for _ in range(count):
        (size,) = _LENGTH(data, pos)
        pos += 4
        values.append(None if size < 0 else bytes(data[pos : pos + size]))
        pos += max(0, size)
    return values, formats
