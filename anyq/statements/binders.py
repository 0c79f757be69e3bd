"""Binders: how a query and its parameters become a statement, of which there are three ways.

Knows which kinds of placeholders and literals each way has. Must not know when a statement is sent.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..abc import Params, Query
from ..adapt import Transformer
from ..adapt.placing import uses_standard_strings
from ..adapt.templates import is_template
from .placeholders import ParsedQuery, convert_raw, parse_query, query_text
from .statement import Statement
from .templates import bind_template, bind_template_as_text


class Binder(Protocol):
    """One of the ways from a query and its parameters to a statement."""

    extended: bool
    """Whether parameters are bound by the server, and results may be binary."""
    remembers: bool
    """Whether what was learned of a query holds for any other that has the same text."""

    def bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        """Return the statement with its parameters adapted.

        :raises ProgrammingError: wrong placeholders or parameters.
        :raises TypeError: no query, or parameters beside a template string.
        :raises DataError: a parameter has a value that PostgreSQL cannot hold.
        """
        ...

    def parse(self, query: Query, tx: Transformer) -> ParsedQuery | None:
        """Return what all sets of parameters have in common; None if there is nothing, but :meth:`bind`."""
        ...


class _ServerSide:
    """Placeholders become ``$1``, ``$2``, ..., and the server binds the parameters."""

    extended = True
    remembers = True

    def bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        if is_template(query):
            return bind_template(query, params, tx)
        parsed = parse_query(query, params, tx, tx.encoding)
        if params is None:
            return Statement(parsed.sql, (), (), (), True, False, parsed)
        values, oids, formats = tx.dump_sequence(parsed.bind_params(params), parsed.formats)
        # Not by its name: a named tuple's own constructor is written in Python.
        return tuple.__new__(  # pyright: ignore[reportUnknownMemberType]
            Statement, (parsed.sql, values, oids, formats, not values, False, parsed, ())
        )

    def parse(self, query: Query, tx: Transformer) -> ParsedQuery | None:
        return parse_query(query, (), tx, tx.encoding)


class _Raw:
    """The query has ``$1``, ``$2``, ... as it is written; in a template string they are numbered."""

    extended = True
    remembers = False

    def bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        if is_template(query):
            return bind_template(query, params, tx)
        parsed = convert_raw(query_text(query, tx, tx.encoding), params)
        given: Any = params or ()
        values, oids, formats = tx.dump_sequence(given, parsed.formats)
        return Statement(parsed.sql, values, oids, formats, not values)

    def parse(self, query: Query, tx: Transformer) -> ParsedQuery | None:
        return None


class _ClientSide:
    """Parameters are put into the text as literals, which goes by the simple protocol."""

    extended = False
    remembers = False

    def bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        if is_template(query):
            return bind_template_as_text(query, params, tx)
        parsed = parse_query(query, params, tx, tx.encoding)
        if params is None:
            return Statement(parsed.sql, (), (), (), True, True)
        literals = [tx.as_literal(p) for p in parsed.bind_params(params)]
        sql, placed = parsed.interpolate(literals, standard_strings=uses_standard_strings(tx))
        return Statement(sql, (), (), (), True, True, parsed, placed)

    def parse(self, query: Query, tx: Transformer) -> ParsedQuery | None:
        return None


SERVER_SIDE = _ServerSide()
RAW = _Raw()
CLIENT_SIDE = _ClientSide()
