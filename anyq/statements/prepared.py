"""Which statements to prepare, under which name, and which of them to close again.

Knows: how often a statement was run, which ones the server holds for this connection, which was used last.
Must not know: how a statement is parsed, closed or run. It does no I/O and names no message; whoever does
calls `lookup` when a request is put together and `executed` when its reply arrives.

Theory of operation. A statement is its text and the types of its parameters: the same text with other types
is another plan. It passes through these states::

    unknown --lookup--> counted --lookup, threshold reached--> pending --executed(parsed=True)--> prepared
       ^                   ^                                      |                                  |
       |                   +------------executed(parsed=False)----+                                  |
       |                   +------------discard, renew (Close it)------------------------------------+
       +--------------------------------clear, eviction (Close it)-----------------------------------+

Requests of several tasks are under way on a connection at the same time. While one of them is preparing a
statement (`pending`) the others run it unprepared: if its Parse fails, nobody else's query fails with it.
Replies arrive in the order of the requests, so everything that is pending when the reply to a DEALLOCATE ALL
arrives was parsed after it, and outlives it; so for what makes all statements be parsed again.

PostgreSQL manual: "PREPARE", "Message Flow / Extended Query". Prepared statements are not transactional: they
survive a rollback. But what they were parsed against does not, so after one that may undo such a change they are parsed
again as after the change itself; `unsettled` says whether there may have been one.

Names are unique among connections too: behind a pooler in transaction mode a connection meets statements that others
have prepared, and one of the same name would be run in place of its own.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any

StatementKey = tuple[bytes, tuple[int, ...]]
"""The text for the server (with ``$n``) and the oids of the parameters."""

# How many statements that were run, but not often enough to be prepared, are counted at least. An application
# whose few frequent statements are interleaved with many rare ones should still get the frequent ones
# prepared.
MIN_COUNTED = 100


class Entry:
    """A statement that has a name: to be prepared now, or held by the server."""

    __slots__ = ("fields", "key", "name", "prepared", "used")

    def __init__(self, key: StatementKey, name: bytes) -> None:
        self.key = key
        #: The name of the prepared statement on the server.
        self.name = name
        #: False: this request is the one to send Parse, and to report with `PreparedStatements.executed`.
        self.prepared = False
        #: When it was used last, see `PreparedStatements.use`.
        self.used = 0
        #: What the caller wants to remember with the statement: the description of its result. None at first, and for
        #: a statement whose result may be another each time.
        self.fields: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name.decode()} {'prepared' if self.prepared else 'pending'}>"


class PreparedStatements:
    """The statement cache of one connection."""

    __slots__ = (
        *(
            "_counts",
            "_entries",
            "_serial",
            "_uses",
            "closing",
            "prefix",
            "prepare_threshold",
            "prepared_max",
            "renewals",
        ),
        *("changes_session", "unsettled"),
    )

    def __init__(self, prepare_threshold: int | None = 5, prepared_max: int | None = 100) -> None:
        #: What the names of this connection's statements begin with.
        self.prefix = f"_anyq_{secrets.token_hex(4)}_".encode()
        #: How many times a statement is run before it is prepared: 0 prepares the first time, None never
        #: prepares. May be changed at any time.
        self.prepare_threshold = prepare_threshold
        #: How many statements the server may hold for this connection; None for any number. May be changed at
        #: any time, and takes effect when the next statement is prepared.
        self.prepared_max = prepared_max
        self._entries: dict[StatementKey, Entry] = {}  # pending and prepared
        self._counts: OrderedDict[StatementKey, int] = OrderedDict()  # the least recently used first
        self._uses = 0
        #: Names of statements to close with the next request; a name that is a str is a cursor's.
        self.closing: list[bytes | str] = []
        #: How many times all statements were to be parsed again: what else is known of the schema is out of date then.
        self.renewals = 0
        #: Whether the transaction that is open, if one is, may have changed what statements were parsed against.
        self.unsettled = False
        #: Whether a statement may have changed what lasts as long as the session: a setting, LISTEN, a temporary table.
        self.changes_session = False
        # Names are never used twice: a Close that is still on its way can only hit the statement it was meant
        # for.
        self._serial = 0

    def __len__(self) -> int:
        """Return how many statements the server holds."""
        return sum(entry.prepared for entry in self._entries.values())

    def use(self, entry: Entry) -> None:
        """Take note that an entry is used.

        The least recently used one is looked for when one has to go, which is seldom, rather than kept first, which
        would cost every execution.
        """
        self._uses += 1
        entry.used = self._uses

    def lookup(self, key: StatementKey, prepare: bool | None = None) -> Entry | None:
        """Decide how to run a statement, and count that it is run.

        `prepare` is the user's wish: True and False override the threshold (but True does not bring
        preparation back where the threshold is None or `prepared_max` is 0).

        Returns None to run it unprepared. An entry whose `prepared` is true is to be run by its name. With
        any other entry Parse is to be sent for its name, and `executed` to be called, whatever comes of it.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.prepared and prepare is not False:
            self.use(entry)
            return entry
        threshold = self.prepare_threshold
        if entry is not None or prepare is False or threshold is None or self.prepared_max == 0:
            return None
        if prepare or not threshold:
            self._counts.pop(key, None)
        else:
            times = self._counts.get(key, 0)
            if times < threshold:
                self._count(key, times + 1)
                return None
            del self._counts[key]
        entry = Entry(key, b"%b%d" % (self.prefix, self._serial))
        self._serial += 1
        self._entries[key] = entry
        return entry

    def executed(self, entry: Entry, parsed: bool) -> list[bytes]:
        """Tell what became of the Parse of an entry; to be called in the order of the replies.

        `parsed` is whether ParseComplete arrived, even if the statement failed afterwards. When that is not
        known because the connection is lost, so is this object.

        Returns the names of the statements to close, which are already forgotten here.
        """
        if self._entries.get(entry.key) is not entry:
            # Discarded while it was pending. If the server has it, it can go.
            return [entry.name] if parsed else []
        if not parsed:
            del self._entries[entry.key]
            # Most often the statement is wrong, and stays so. If it was not, the next execution prepares it.
            self._is_due(entry.key)
            return []
        entry.prepared = True
        self.use(entry)
        return self._evict()

    def discard(self, key: StatementKey) -> list[bytes]:
        """Forget what the server holds for a statement, as it may have gone stale; the next execution prepares it anew.

        Returns the names of the statements to close.
        """
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._is_due(key)
        # The name of a pending one is returned by `executed`.
        return self._gone([entry]) if entry is not None and entry.prepared else []

    def renew(self) -> None:
        """Have every statement parsed again when it is executed next: what it was parsed against may have changed."""
        self.renewals += 1
        prepared = [entry for entry in self._entries.values() if entry.prepared]
        for entry in prepared:
            del self._entries[entry.key]
            self._is_due(entry.key)
        self.closing += self._gone(prepared)

    def clear(self) -> None:
        """Forget every statement: the server did (DEALLOCATE ALL, DISCARD ALL). Nothing is left to close."""
        prepared = [entry for entry in self._entries.values() if entry.prepared]
        self._entries = {key: entry for key, entry in self._entries.items() if not entry.prepared}
        self._counts.clear()
        self._gone(prepared)

    def undo(self) -> None:
        """Take note that what was done in the transaction that is open may have been undone, in part or as a whole."""
        if self.unsettled:
            self.renew()

    def _is_due(self, key: StatementKey) -> None:
        """Count a statement as executed often enough, so that its next execution prepares it."""
        if self.prepare_threshold:
            self._count(key, self.prepare_threshold)

    def _count(self, key: StatementKey, times: int) -> None:
        self._counts[key] = times
        self._counts.move_to_end(key)
        if len(self._counts) > max(MIN_COUNTED, self.prepared_max or 0):
            self._counts.popitem(last=False)

    def _evict(self) -> list[bytes]:
        if self.prepared_max is None:
            return []
        prepared = [entry for entry in self._entries.values() if entry.prepared]
        surplus = len(prepared) - self.prepared_max
        if surplus <= 0:
            return []
        prepared.sort(key=lambda entry: entry.used)
        for entry in prepared[:surplus]:
            del self._entries[entry.key]
        return self._gone(prepared[:surplus])

    @staticmethod
    def _gone(entries: list[Entry]) -> list[bytes]:
        """Tell whoever holds on to entries that they are forgotten; return their names."""
        for entry in entries:
            entry.prepared = False
        return [entry.name for entry in entries]
