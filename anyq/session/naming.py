"""Naming: which statements of one executemany() are run by a name, and which without one.

Theory of operation. All sets of parameters run one text; with parameters of other types it is another statement. Each
time that a statement is to be parsed counts as an execution of it, however many sets follow, as it is parsing that a
name saves. A statement that is found to be prepared may be forgotten before the request is opened, by what other
requests end with, so it is looked at once more then. If all is sent again, the bytes stay what they are: the server is
told to forget all that they name, and gets a Parse for what they do not parse themselves.

Knows the account of prepared statements and Parse. Must not know sets of parameters, or when anything is sent.
"""

from __future__ import annotations

from ..backends import uninterrupted
from ..protocol import frontend
from ..statements.composer import Composer
from ..statements.prepared import Entry, StatementKey
from ..statements.statement import is_query

MOST_NAMES = 100
"""How many statements of one executemany() have names: with thousands of types, each set may be another statement."""


@uninterrupted
class Names:
    """The statements of one executemany(), from when they are written down to the end of its request.

    :param by_name: False to run all of them without a name.
    """

    def __init__(self, composer: Composer, *, by_name: bool) -> None:
        self._composer = composer
        self._account = composer.statements
        self._by_name = by_name
        self._entries: dict[StatementKey, Entry] = {}
        self._relied: list[Entry] = []  # those that earlier requests have prepared
        self._preparing: list[tuple[Entry, int]] = []  # and those to be prepared, with the number of their Parse
        self._parses = 0  # written, but for those by open()
        self._again = 0  # written by open()
        self._unnamed: StatementKey | None = None  # what the unnamed statement is
        self._foreign: list[bytes] = []  # what the server has by then that the account does not know
        self.relies = False
        """Whether a statement is run that an earlier request has prepared, and that may be of no use any more."""

    def find(self, key: StatementKey) -> tuple[bytes, bool]:
        """Return the name to run a statement by, empty for none, and whether a Parse goes before.

        What is returned has to be written down, or the request to be given up.
        """
        if key == self._unnamed:
            return b"", False
        entry = self._entries.get(key)
        if entry is not None:
            return entry.name, False
        # What has no plan is not worth it.
        if self._by_name and len(self._entries) < MOST_NAMES and is_query(key[0]):
            entry = self._account.lookup(key)
        if entry is None:
            self._unnamed = key
            self._parses += 1
            return b"", True
        self._entries[key] = entry
        if entry.prepared:
            self._relied.append(entry)
            self.relies = True
            return entry.name, False
        self._parses += 1
        self._preparing.append((entry, self._parses))
        return entry.name, True

    def close(self) -> None:
        """Rely on no other statements from now on, and prepare none: what was sent could not be sent again."""
        self._by_name = False

    def open(self, data: bytearray) -> None:
        """Append what goes before everything else: Parse for what has been forgotten since it was found."""
        self._again = 0
        for entry in self._relied:
            if not entry.prepared:
                frontend.parse(data, entry.name, *entry.key)
                self._again += 1
                self._foreign.append(entry.name)

    def forget(self) -> None:
        """Have the next executions parse all of them, also those of the same bytes, behind another :meth:`open`."""
        for entry in self._entries.values():
            self._composer.forget(entry.key)
            if entry not in self._relied:
                self._foreign.append(entry.name)
        self.relies = False
        self.close()

    def settle(self, parsed: int) -> None:
        """Tell the account what has become of them at the end of the request, or that it was not opened.

        :param parsed: how many Parse messages of what is run here have succeeded.
        """
        preparing, self._preparing = self._preparing, []
        for entry, number in preparing:
            self._account.closing += self._account.executed(entry, parsed - self._again >= number)
        self._account.closing += self._foreign
        self._foreign = []
