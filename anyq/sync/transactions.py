"""What a synchronous connection's transactions are like: properties to read and to assign.

Knows the asynchronous connection's setters. Must not know what they do.
"""

from __future__ import annotations

from typing import Any

from ..connection import AsyncConnection
from ..session.transactions import IsolationLevel
from .calls import Calls


class TransactionSettings:
    """The part of a connection that says how its transactions are begun."""

    def __init__(self, async_connection: AsyncConnection[Any], calls: Calls) -> None:
        self._async = async_connection
        self.calls = calls
        """For this package: the way into the event loop."""

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own; it cannot be changed while a transaction is open."""
        return self._async.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self.set_autocommit(value)

    def set_autocommit(self, value: bool) -> None:
        """Set :attr:`autocommit`.

        :raises ProgrammingError: a transaction is open.
        """
        self.calls.call(self._async.set_autocommit, value)

    @property
    def isolation_level(self) -> IsolationLevel | None:
        """The isolation level of transactions begun from now on; None for the server's default."""
        return self._async.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: IsolationLevel | None) -> None:
        self.set_isolation_level(value)

    def set_isolation_level(self, value: IsolationLevel | None) -> None:
        """Set :attr:`isolation_level`.

        :raises ProgrammingError: a transaction is open.
        """
        self.calls.call(self._async.set_isolation_level, value)

    @property
    def read_only(self) -> bool | None:
        """Whether transactions begun from now on are read only; None for the server's default."""
        return self._async.read_only

    @read_only.setter
    def read_only(self, value: bool | None) -> None:
        self.set_read_only(value)

    def set_read_only(self, value: bool | None) -> None:
        """Set :attr:`read_only`.

        :raises ProgrammingError: a transaction is open.
        """
        self.calls.call(self._async.set_read_only, value)

    @property
    def deferrable(self) -> bool | None:
        """Whether transactions begun from now on are deferrable; None for the server's default."""
        return self._async.deferrable

    @deferrable.setter
    def deferrable(self, value: bool | None) -> None:
        self.set_deferrable(value)

    def set_deferrable(self, value: bool | None) -> None:
        """Set :attr:`deferrable`.

        :raises ProgrammingError: a transaction is open.
        """
        self.calls.call(self._async.set_deferrable, value)
