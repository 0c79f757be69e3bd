"""What is remembered of a query by its text: enough to bind it again to parameters of the same kinds, in one call.

Knows a prepared statement and how it was bound last. Must not know how that came about: `composer` decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._accel import Alike
from ..abc import Params
from ..protocol import frontend
from .layout import Layout
from .placeholders import ParsedQuery
from .prepared import Entry, PreparedStatements, StatementKey
from .requests import RememberedRequest, StatementRequest, add_begin
from .statement import Statement

QueryKey = tuple[str, bool]
"""The query as the user wrote it, and whether it came without parameters."""

MAX_REMEMBERED = 512
"""How many queries are known by their text at most."""

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
            request = RememberedRequest(self._description)
        else:
            request = StatementRequest(account, self._description)
            add_begin(request, data, begin)
        if not self._alike.bind(data, params):
            self._misses += 1
            return None
        entry.used = account.tick()
        return request, data

    @property
    def statement_key(self) -> StatementKey:
        """The statement that the query was last."""
        return self._entry.key

    @property
    def statement(self) -> Statement:
        """The same, with something in the place of its values, which are not kept."""
        sql, oids = self._entry.key
        return Statement(sql, [b""] * len(oids), oids, ())

    def is_outdated(self) -> bool:
        """Return whether the query mostly comes with parameters of other kinds."""
        return self._misses % MISSES == 0
