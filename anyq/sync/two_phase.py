"""Two-phase commit in synchronous code.

Knows the asynchronous methods and how to call them. Must not know transactions.
"""

from __future__ import annotations

from typing import Any

from ..connection import AsyncConnection
from ..xid import Xid
from .calls import Calls


class TwoPhaseCommit:
    """The part of a connection that has to do with two-phase commit."""

    _async: AsyncConnection[Any]
    calls: Calls

    def xid(self, format_id: int, gtrid: str, bqual: str) -> Xid:
        """Return the name of a two-phase transaction; it does not wait for anything.

        :param format_id: 0 to 2147483647.
        :param gtrid: the global transaction id, of 64 characters at most.
        :param bqual: the branch qualifier, so too.
        :raises ValueError: one of them is out of range.
        """
        return self._async.xid(format_id, gtrid, bqual)

    def tpc_begin(self, xid: Xid | str) -> None:
        """Begin a two-phase transaction, with the isolation level and the like of other transactions.

        :param xid: its name, by :meth:`xid`; or a text.
        :raises ProgrammingError: in autocommit mode, or in a transaction; or the name is too long.
        :raises DataError: the name has a character that cannot be sent.

        After an interruption nothing has begun.
        """
        try:
            self.calls.call(self._async.tpc_begin, xid)
        except Exception:
            raise
        except BaseException:
            # Ctrl-C, perhaps too late to keep it from being begun.
            if self._async.two_phase.is_begun:
                self.calls.call_unless_ended(self._async.two_phase.undo)
            raise

    def tpc_prepare(self) -> None:
        """Prepare the two-phase transaction: the first phase.

        It outlives the connection and the server then, and keeps its locks, until somebody ends it. No statement can
        be executed before :meth:`tpc_commit` or :meth:`tpc_rollback`.

        :raises ProgrammingError: none was begun by :meth:`tpc_begin`.
        :raises InFailedSqlTransaction: a statement in it had failed; it is rolled back.
        :raises Error: what the server says; it is rolled back.

        In each case :meth:`tpc_rollback` is what ends it, also after an interruption. Manual: "PREPARE TRANSACTION".
        """
        self.calls.call(self._async.tpc_prepare)

    def tpc_commit(self, xid: Xid | str | None = None) -> None:
        """Commit the two-phase transaction: the second phase, or both at once if it is not prepared.

        :param xid: the name of one that is prepared, by whomever; None for this connection's own.
        :raises ProgrammingError: there is none; or there is another one, or a transaction, and `xid` was given.
        :raises Error: what the server says. One that is prepared stays so, and can be ended by trying again.

        After an interruption it may be committed; :meth:`tpc_recover` tells whether it is still prepared. Manual:
        "COMMIT PREPARED".
        """
        self.calls.call(self._async.tpc_commit, xid)

    def tpc_rollback(self, xid: Xid | str | None = None) -> None:
        """Roll back the two-phase transaction, prepared or not, or that could not be prepared.

        :param xid: the name of one that is prepared, by whomever; None for this connection's own.
        :raises ProgrammingError: there is none; or there is another one, or a transaction, and `xid` was given.
        :raises Error: what the server says. One that is prepared stays so, and can be ended by trying again.

        After an interruption it may be rolled back; :meth:`tpc_recover` tells whether it is still prepared. Manual:
        "ROLLBACK PREPARED".
        """
        self.calls.call(self._async.tpc_rollback, xid)

    def tpc_recover(self) -> list[Xid]:
        """Return the names of all transactions that are prepared on the server, the oldest first.

        Those of other databases too; each can only be ended in its own, ``xid.database``. It begins no transaction,
        and can be called at any time. Manual: "pg_prepared_xacts".
        """
        return self.calls.call(self._async.tpc_recover)
