"""Statement: the text for the server and its parameters, and what can be told of a statement from its text alone.

Knows the words that statements begin with, and comments. Must not know messages, formats of results or whether anything
is prepared. Whoever asks has to be right for any text, so what is not certain is answered with the more careful "no".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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
    """What was put into the text for the placeholders of ``query``, in their order there."""

    @property
    def key(self) -> StatementKey:
        """What it is known by to the server: the text and the types of its parameters."""
        return self.sql, self.oids


_QUERIES = frozenset((b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"VALUES", b"WITH", b"TABLE"))
_MOSTLY = frozenset(word + b" " for upper in _QUERIES for word in (upper, upper.lower()) if len(word) == 6)
"""How most texts begin, so that most need not be looked at for comments."""
_TRANSACTIONAL = frozenset(
    b"SHOW SET RESET EXPLAIN EXECUTE TRUNCATE REFRESH LOCK COMMENT GRANT REVOKE".split()
    + b"LISTEN UNLISTEN NOTIFY BEGIN START".split()
)
"""Utility statements of which nothing is left if their transaction fails, beside queries."""
_DEFINING = frozenset((b"CREATE", b"ALTER", b"DROP"))
_PARTLY = rb"(?i)\b(?:concurrently|database|tablespace|subscription|system)\b"
"""What may be defined in part, or not in a transaction; also where the word is something else's name."""
_IGNORED = re.compile(rb"(?:[\s(]+|--[^\n\r]*)*").match
_EMPTY = re.compile(rb"(?:[\s;]+|--[^\n\r]*)*").match
_WORD = re.compile(rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*").match
_COMMENT_ENDS = re.compile(rb"/\*|\*/").finditer
_QUOTED = rb"'[^']*'|\"[^\"]*\""
_INNERMOST = rb"\([^()]*\)"
_COPIES = rb"(?i)\b(?:from|to)\b\s*(\w*)"
_BLANKS = b"; \t\r\n"


def first_word(sql: bytes) -> bytes:
    """Return the word that a text begins with, in capitals, past comments and parentheses; empty if there is none."""
    word = _WORD(sql, _end_of(_IGNORED, sql))
    return b"" if word is None else word[0].upper()


def past_empty_statements(sql: bytes) -> bytes:
    """Return a text without what the server does not take for a statement before the first one: ``; /* c */ ;``."""
    return sql[_end_of(_EMPTY, sql) :]


def _end_of(ignore: Callable[[bytes, int], re.Match[bytes] | None], sql: bytes) -> int:
    """Return where what is to be ignored ends, and comments in between."""
    end, comment = 0, True
    while comment:
        ignored = ignore(sql, end)
        assert ignored is not None  # it may be empty
        end = ignored.end()
        comment = sql.startswith(b"/*", end)
        if comment:
            end = _end_of_comment(sql, end)
    return end


def _end_of_comment(sql: bytes, start: int) -> int:
    """Return where a comment ends; comments may be nested."""
    depth = 0
    for mark in _COMMENT_ENDS(sql, start):
        depth += 1 if mark[0] == b"/*" else -1
        if not depth:
            return mark.end()
    return len(sql)


def is_query(sql: bytes) -> bool:
    """Return whether a text, if it is one statement, is one that the server plans.

    Such a statement is worth preparing, the server refuses it if its result has changed, and it ends no transaction.
    All others are *utility statements* (FETCH, EXECUTE, CALL, DO, COMMIT, DDL...), which may do anything. So may a
    query that calls one of the server's functions for a setting or a lock of the session.
    """
    if not (sql[:7] in _MOSTLY or first_word(sql) in _QUERIES):
        return False
    lower = sql.lower()
    return b"set_config" not in lower and b"advisory_lock" not in lower


def may_be_several(sql: bytes) -> bool:
    """Return whether a text may hold several statements: there is a semicolon that is not at its end."""
    return b";" in sql.rstrip(_BLANKS)


def is_repeatable(sql: bytes) -> bool:
    """Return whether a statement that failed in a transaction of its own has certainly left nothing of itself behind.

    CALL, DO and what works in several transactions or none may have done a part. FETCH and MOVE leave a cursor of an
    earlier transaction where it is, PREPARE may be done, and COPY may have written to a file or a program. Of several
    statements it is the first that counts: whether that was the one that failed, its results tell.
    """
    if is_query(sql):
        return True
    word = first_word(sql)
    if word in _DEFINING:
        return re.search(_PARTLY, sql) is None
    return word in _TRANSACTIONAL


def copies(sql: bytes) -> bytes:
    """Return the direction of a COPY whose data goes through the connection, FROM or TO; otherwise nothing.

    Not certain for several statements in one text, nor for file names that are written to be mistaken.
    """
    if first_word(sql) != b"COPY":
        return b""
    rest, more = re.sub(_QUOTED, b" ' ", sql), 1
    while more:
        rest, more = re.subn(_INNERMOST, b" ", rest)
    target = re.search(_COPIES, rest)
    if target is None or target[1].upper() not in (b"STDIN", b"STDOUT"):
        return b""
    return target[0][: -len(target[1])].strip().upper()
