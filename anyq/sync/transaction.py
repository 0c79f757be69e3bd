"""Transaction: a block of statements that takes effect as a whole, or not at all, in synchronous code.

Knows the asynchronous block and how to call it. Must not know transactions.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, TypeAlias

from typing_extensions import Self

from ..session.info import described
from ..transaction import AsyncTransaction, BlockStatus, Rollback
from .calls import ConnectionT


class Transaction(Generic[ConnectionT]):
    """A transaction block, made by :meth:`Connection.transaction`; a savepoint inside another block.

    Entering begins it, leaving commits it; an exception rolls it back, Ctrl-C included.
    """

    Status: TypeAlias = BlockStatus

    def __init__(
        self, connection: ConnectionT, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> None:
        self._conn = connection
        self._calls = connection.calls
        self.async_transaction = AsyncTransaction(connection.inner, savepoint_name, force_rollback)
        """For this package: the asynchronous block inside."""

    @property
    def connection(self) -> ConnectionT:
        """The connection the block is on."""
        return self._conn

    @property
    def status(self) -> BlockStatus:
        """What has become of the block."""
        return self.async_transaction.status

    @property
    def savepoint_name(self) -> str | None:
        """The name of the savepoint; None where the block is a whole transaction."""
        return self.async_transaction.savepoint_name

    @property
    def force_rollback(self) -> bool:
        """Whether the block is rolled back however it ends."""
        return self.async_transaction.force_rollback

    @force_rollback.setter
    def force_rollback(self, value: bool) -> None:
        self.async_transaction.force_rollback = value

    def __repr__(self) -> str:
        # The name and the state are the asynchronous block's.
        return described(self, repr(self.async_transaction).split(" ", 1)[1].rpartition(" at ")[0])

    def __enter__(self) -> Self:
        try:
            self._calls.drive(self.async_transaction.__aenter__)
            return self
        except Exception:
            raise
        except BaseException as error:
            # Ctrl-C, but too late to keep the block from being entered: nobody will leave it.
            self._make_sure(error)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        try:
            return self._exit(exc_type, exc_val, exc_tb)
        except Exception:
            raise
        except BaseException as error:
            # Ctrl-C, perhaps before it could be left.
            self._make_sure(error)
            raise

    def _make_sure(self, error: BaseException) -> None:
        if self.async_transaction.is_entered:
            self._calls.drive_unless_ended(self.async_transaction.__aexit__, type(error), error, None)

    def _exit(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        if self._calls.ended:
            # As for the asynchronous block: the error of the body, if there is one, is the one to know about.
            if exc_val is None:
                self._calls.check_open()
            return False
        named: Any = exc_val.transaction if isinstance(exc_val, Rollback) else None
        if isinstance(named, Transaction):
            exc_val = Rollback(named.async_transaction)
        return self._calls.drive(self.async_transaction.__aexit__, exc_type, exc_val, exc_tb)
