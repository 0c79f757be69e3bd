"""Consequences: what a statement that has succeeded means for the statements that the server holds for us.

Knows command tags and the words of a few statements. Must not know which statements are held, or what is done about it.

Theory of operation. The server plans a prepared query anew when a table, a function or the search_path that it uses has
changed, and refuses it if its result would be another. What it never looks at again are the types that it found for the
parameters when it was parsed, and those of constants; and a utility statement has no plan at all. So after whatever may
give a name another meaning each statement is to be parsed again. That is told from the command tag, which the server
sends for each statement of a text, by a list of what is harmless: all that is not on it is taken for a change. What is
done inside of functions and procedures or by another session is not seen here; then an error has to tell (`outcome`),
and where a name has only got another meaning, such as a temporary table's in front of another one, there is none.
"""

from __future__ import annotations

import re
from enum import Enum, auto


class Consequence(Enum):
    """What has become of what is remembered."""

    NONE = auto()
    CHANGED = auto()
    """Names may mean something else: parse again. A rollback undoes it, which is another change."""
    UNDONE = auto()
    """What was changed since the transaction began may be undone."""
    DROPPED = auto()
    """The server has dropped all prepared statements."""


_HARMLESS = frozenset(
    (
        *("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "TRUNCATE", "SHOW", "EXPLAIN"),
        *("BEGIN", "START", "SAVEPOINT", "RELEASE", "PREPARE", "LOCK"),
        *("DECLARE", "FETCH", "MOVE", "CLOSE"),
        *("CALL", "LISTEN", "UNLISTEN", "NOTIFY"),
        *("ANALYZE", "VACUUM", "CLUSTER", "REINDEX", "REFRESH", "CHECKPOINT", "COMMENT", "GRANT", "REVOKE"),
    )
)
"""First words of the tags of what changes no name's meaning. (CALL may, but is too common to parse again after it.)"""
_HARMLESS_TAGS = frozenset(("CREATE INDEX", "DROP INDEX", "SET CONSTRAINTS", "DISCARD PLANS", "DISCARD SEQUENCES"))
_UNDOES = frozenset(("COMMIT", "ROLLBACK"))
"""A COMMIT ends what was set LOCAL, and drops what was created to be dropped on commit."""
_DROPS = frozenset(("DEALLOCATE ALL", "DISCARD ALL"))
_SETTING = frozenset(("SET", "RESET"))
_CHANGES_PATH = rb"(?i)\b(?:search_path|schema|role|authorization|all)\b"
"""In the text of a SET or RESET: the search_path itself, what "$user" in it means, or everything."""
SELECT_INTO = b"SELECT INTO TEMP"
"""The text to be given for a SELECT that has no columns, whatever else it is."""
_FOR_SESSION = frozenset(("SET", "RESET", "LISTEN", "DISCARD", "LOAD", "DO"))
_MAYBE_FOR_SESSION = frozenset(
    ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "EXPLAIN", "CREATE", "DECLARE"),
)
_LASTING = rb"(?i)\b(?:temp|temporary|pg_temp|hold|execute|set_config|pg_(?:try_)?advisory_lock(?:_shared)?)\b"
"""In a text that makes something temporary, a cursor that outlives its transaction, a setting, or a session's lock; or
that executes another one, whose tag is sent."""
_CREATES = rb"(?i)\b(?:create|into)\b"
"""In a text whose tag is SELECT: CREATE TABLE AS has that one."""


def consequence(tag: str | None, text: bytes) -> Consequence:
    """Return what follows from a statement that has succeeded.

    :param tag: its command tag; None for an empty query.
    :param text: the text that it came in, maybe with others.
    """
    if tag is None:
        return Consequence.NONE
    word = tag.partition(" ")[0]
    if word in _HARMLESS or tag in _HARMLESS_TAGS:
        return Consequence.CHANGED if word == "SELECT" and re.search(_CREATES, text) else Consequence.NONE
    if tag in _UNDOES:
        return Consequence.UNDONE
    if tag in _DROPS:
        return Consequence.DROPPED
    if word in _SETTING and not re.search(_CHANGES_PATH, text):
        return Consequence.NONE
    return Consequence.CHANGED


def changes_session(tag: str | None, text: bytes) -> bool:
    """Return whether a statement that has succeeded may have changed what lasts as long as the session does.

    What the user's functions and procedures do is not seen; a DO block may have done anything.
    """
    word = (tag or "").partition(" ")[0]
    return word in _FOR_SESSION or word in _MAYBE_FOR_SESSION and re.search(_LASTING, text) is not None
