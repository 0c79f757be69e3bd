"""Refusing: which statements a pool does not execute without a connection, as they need a session.

That is told by their text. It is a help for users and no safeguard, for functions can do what they like.

Knows texts. Must not know pools.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from ..adapt.placing import Inside, quoted_parts
from ..backends import uninterrupted
from ..sql import Composable
from ..statements.statement import first_word

T = TypeVar("T")

MOST_KNOWN = 1000
"""Texts of which something is remembered."""
LONGEST_KNOWN = 100_000
"""Characters of such a text at most: what is longer was generated, and does not come again."""
MOST_CHARACTERS = 1_000_000
"""Characters of all of them."""


@uninterrupted
class KnownTexts(dict[str, T]):
    """What is remembered of texts, of which there are not too many, nor too long ones."""

    characters = 0
    """In all of them."""

    def keep(self, text: str, value: T) -> None:
        """Remember something of a text; others may be forgotten for it."""
        if text not in self:
            if len(text) > LONGEST_KNOWN:
                return
            if len(self) >= MOST_KNOWN or self.characters + len(text) > MOST_CHARACTERS:
                self.clear()
                self.characters = 0
            self.characters += len(text)
        self[text] = value


_OF_MORE = "transactions of more statements"
_SESSION_WORDS = {
    **dict.fromkeys((b"BEGIN", b"START", b"COMMIT", b"END", b"ROLLBACK", b"ABORT"), _OF_MORE),
    **dict.fromkeys((b"SAVEPOINT", b"RELEASE"), _OF_MORE),
    **dict.fromkeys((b"SET", b"RESET", b"DISCARD", b"LOAD"), "settings of a session"),
    **dict.fromkeys((b"LISTEN", b"UNLISTEN"), "notifications, which a session has to wait for"),
    **dict.fromkeys((b"PREPARE", b"EXECUTE", b"DEALLOCATE"), "prepared statements of a session"),
    **dict.fromkeys((b"DECLARE", b"FETCH", b"MOVE", b"CLOSE"), "named cursors"),
    b"COPY": "COPY",
    b"LOCK": "locks, which end with their transaction",
}
_TWO_WORDS: dict[tuple[bytes, ...], str | None] = {
    # The end of a two-phase transaction needs no session: only not to be in a transaction block.
    (b"COMMIT", b"PREPARED"): None,
    (b"ROLLBACK", b"PREPARED"): None,
    (b"PREPARE", b"TRANSACTION"): _OF_MORE,
}
_SESSION_FUNCTIONS = re.compile(
    rb"\b(?:pg_(?:try_)?advisory_(?:lock|unlock)\w*|set_config|setseed|currval|lastval)\s*\(", re.IGNORECASE
).search
_TEMPORARY = re.compile(
    rb"\bcreate\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?(?:temp|temporary)\b|\bpg_temp\s*\."
    rb"|\binto\s+(?:(?:local|global)\s+)?(?:temp|temporary)\s+(?:table\s+)?"
    rb"(?!(?:as|default|from|overriding|select|using|values|with)\b)[\w\"]",
    re.IGNORECASE,
).search
_BODY = re.compile(rb"\bbegin\s+atomic\b", re.IGNORECASE).search
"""Of a function, with statements in it."""


def refused(sql: bytes) -> str | None:
    """Return what a statement needs a session for, as far as its text tells; None if it may be executed on any."""
    word = first_word(sql)
    reason = _SESSION_WORDS.get(word)
    if reason is not None:
        words = tuple(without_quoted(sql).upper().split(None, 2)[:2])
        reason = _TWO_WORDS.get(words, reason)
    if reason is not None:
        return reason
    code = without_quoted(sql)
    found = _SESSION_FUNCTIONS(code)
    if found is not None:
        return f"{found[0].decode()[:-1].strip()}(), whose effect a session keeps"
    if _TEMPORARY(code) is not None:
        return "temporary tables"
    if b";" in code.rstrip(b"; \t\r\n\f\v") and not (word == b"CREATE" and _BODY(code)):
        return "several statements at once"
    return None


def without_quoted(sql: bytes) -> bytes:
    """Return a text with spaces for strings and comments, and nothing in quoted names."""
    kept: list[bytes] = []
    end = 0
    for part in quoted_parts(sql, "utf-8", standard_strings=True)[1]:
        kept += (sql[end : part.begin], b'""' if part.inside is Inside.NAME else b" ")
        end = part.end
    return b"".join([*kept, sql[end:]])


def text_of(query: Any) -> bytes:
    """Return the text of a query as far as it is needed to look at it."""
    if isinstance(query, str):
        return query.encode("utf-8", "replace")
    if isinstance(query, Composable):
        return query.as_string(None).encode("utf-8", "replace")
    strings: Iterable[str] | None = getattr(query, "strings", None)  # of a template
    if strings is not None:
        return " ".join(strings).encode("utf-8", "replace")
    return bytes(query) if isinstance(query, bytes | bytearray) else b""  # what is no query is told later
