"""From a template string to a statement: its values become parameters, or literals.

Knows that a template has its parameters in it. Must not know what its formats mean: :mod:`anyq.sql` does.
"""

from __future__ import annotations

from typing import Any

from ..abc import Params, Template
from ..adapt import PyFormat, Transformer
from ..sql import render
from .placeholders import ParsedQuery, refuse_parameters
from .statement import Statement


def bind_template(template: Template, params: Params | None, tx: Transformer) -> Statement:
    """Return the statement of a template, with parameters for the server to bind.

    :raises TypeError: there are parameters beside it, or a value has a conversion.
    :raises ProgrammingError: a value does not go with its format, or is inside of quotes.
    :raises DataError: a parameter has a value that PostgreSQL cannot hold.
    """
    refuse_parameters(params)
    given: list[Any] = []
    formats: list[PyFormat] = []

    def number(value: Any, format: PyFormat) -> bytes:
        given.append(value)
        formats.append(format)
        return b"$%d" % len(given)

    parsed = ParsedQuery(render(template, tx, number), tuple(formats))
    values, oids, wire = tx.dump_sequence(given, formats)
    return Statement(parsed.sql, values, oids, wire, not given, False, parsed)


def bind_template_as_text(template: Template, params: Params | None, tx: Transformer) -> Statement:
    """Return the statement of a template, with literals for its parameters: see :func:`bind_template`."""
    refuse_parameters(params)
    return Statement(render(template, tx, lambda value, format: tx.as_literal(value)), (), (), (), True, True)
