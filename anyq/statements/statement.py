"""Statement: the text for the server and its parameters, and what can be told of a statement from its text alone.

Knows the words that statements begin with. Must not know messages, formats of results or whether anything is prepared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..abc import Buffer
from .placeholders import ParsedQuery
from .prepared import StatementKey


class Statement(NamedTuple):
    """A statement with its parameters, ready to be sent."""

    sql: bytes
    values: Sequence[Buffer | None]
    oids: tuple[int, ...]
    formats: Sequence[int]
    simple: bool = False
    """It may hold several statements, so it goes by the simple protocol unless it is prepared."""
    only_simple: bool = False
    """It must go by the simple protocol."""
    query: ParsedQuery | None = None
    """What its parameters were brought into order by; None where that is not known."""
    literals: Sequence[bytes] = ()
    """The parameters that were put into the text, in the order of ``query``."""

    @property
    def key(self) -> StatementKey:
        """What it is known by to the server: the text and the types of its parameters."""
        return self.sql, self.oids


_ENDS_TRANSACTION = re.compile(
    rb"(?:commit|end|abort|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b)|prepare\s+transaction)\b", re.IGNORECASE
).match
_ENDING_LETTERS = frozenset(letter.encode() for letter in "CcEeAaRrPp")
_BLANKS = b"; \t\r\n"
_REPEATABLE = (b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"VALUES", b"WITH", b"TABLE", b"SHOW")


def ends_transaction(sql: bytes) -> bool:
    """Return whether a statement is one that ends the transaction, so that the next one needs a BEGIN."""
    return sql[:1] in _ENDING_LETTERS and _ENDS_TRANSACTION(sql) is not None


def may_be_several(sql: bytes) -> bool:
    """Return whether a text may hold several statements: there is a semicolon that is not at its end."""
    return b";" in sql.rstrip(_BLANKS)


def is_repeatable(sql: bytes) -> bool:
    """Return whether a statement that failed in a transaction of its own has certainly left nothing behind.

    CALL and DO may commit, VACUUM and CREATE INDEX CONCURRENTLY work outside transactions, and so on.
    """
    return sql.lstrip(b" \t\r\n(").upper().startswith(_REPEATABLE)
