"""Two-phase commit as a user calls it: PEP 249's optional extension, with psycopg's names.

Knows names of transactions and what is done with them. Must not know in which order replies come.
"""

from __future__ import annotations

from typing import Any

from .cursor import AsyncRawCursor
from .errors import DataError, ProgrammingError
from .session.execute import execute_only
from .session.session import Session
from .session.two_phase import TwoPhaseTransaction
from .xid import Xid

_PREPARED = "SELECT gid, prepared, owner::text, database::text FROM pg_catalog.pg_prepared_xacts ORDER BY prepared, gid"


class TwoPhaseCommit:
    """The part of a connection that has to do with two-phase commit."""

    session: Session
    two_phase: TwoPhaseTransaction
    """For this package: what is done with a two-phase transaction."""

    def xid(self, format_id: int, gtrid: str, bqual: str) -> Xid:
        """Return the name of a two-phase transaction; it does not wait for anything.

        :param format_id: 0 to 2147483647.
        :param gtrid: the global transaction id, of 64 characters at most.
        :param bqual: the branch qualifier, so too.
        :raises ValueError: one of them is out of range.
        """
        return Xid.from_parts(format_id, gtrid, bqual)

    async def tpc_begin(self, xid: Xid | str) -> None:
        """Begin a two-phase transaction, with the isolation level and the like of other transactions.

        :param xid: its name, by :meth:`xid`; or a text.
        :raises ProgrammingError: in autocommit mode, or in a transaction; or the name is too long.
        :raises DataError: the name has a character that cannot be sent.

        After a cancellation nothing has begun.
        """
        self.session.check_open()
        await self.two_phase.begin(_gid(xid))

    async def tpc_prepare(self) -> None:
        """Prepare the two-phase transaction: the first phase.

        It outlives the connection and the server then, and keeps its locks, until somebody ends it. No statement can
        be executed before :meth:`tpc_commit` or :meth:`tpc_rollback`.

        :raises ProgrammingError: none was begun by :meth:`tpc_begin`.
        :raises InFailedSqlTransaction: a statement in it had failed; it is rolled back.
        :raises Error: what the server says; it is rolled back.

        In each case :meth:`tpc_rollback` is what ends it. After a cancellation the server may have prepared it, or
        rolled it back, or have been told nothing: :meth:`tpc_rollback` is right for all of them.
        Manual: "PREPARE TRANSACTION".
        """
        self.session.check_open()
        await self.two_phase.prepare()

    async def tpc_commit(self, xid: Xid | str | None = None) -> None:
        """Commit the two-phase transaction: the second phase, or both at once if it is not prepared.

        :param xid: the name of one that is prepared, by whomever; None for this connection's own.
        :raises ProgrammingError: there is none; or there is another one, or a transaction, and `xid` was given.
        :raises Error: what the server says. One that is prepared stays so, and can be ended by trying again.

        After a cancellation it may be committed; :meth:`tpc_recover` tells whether it is still prepared. Manual:
        "COMMIT PREPARED".
        """
        await self._finish(xid, commit=True)

    async def tpc_rollback(self, xid: Xid | str | None = None) -> None:
        """Roll back the two-phase transaction, prepared or not, or that could not be prepared.

        :param xid: the name of one that is prepared, by whomever; None for this connection's own.
        :raises ProgrammingError: there is none; or there is another one, or a transaction, and `xid` was given.
        :raises Error: what the server says. One that is prepared stays so, and can be ended by trying again.

        After a cancellation it may be rolled back; :meth:`tpc_recover` tells whether it is still prepared. Manual:
        "ROLLBACK PREPARED".
        """
        await self._finish(xid, commit=False)

    async def _finish(self, xid: Xid | str | None, *, commit: bool) -> None:
        self.session.check_open()
        if xid is None:
            await self.two_phase.finish(commit=commit)
        else:
            await self.two_phase.finish_other(_gid(xid), commit=commit)

    async def tpc_recover(self) -> list[Xid]:
        """Return the names of all transactions that are prepared on the server, the oldest first.

        Those of other databases too; each can only be ended in its own, ``xid.database``. It begins no transaction,
        and can be called at any time.

        A cancellation changes nothing. Manual: "pg_prepared_xacts".
        """
        self.session.check_open()
        connection: Any = self  # it is a part of one
        cursor = AsyncRawCursor.of_driver(connection)
        cursor.take_request(await execute_only(self.session, _PREPARED))
        return [Xid(*Xid.from_string(gid), *known) for gid, *known in cursor.remaining_rows()]


def _gid(xid: object) -> str:
    if isinstance(xid, Xid | str):
        try:
            return str(xid)
        except UnicodeEncodeError:
            raise DataError(f"an xid cannot have lone surrogates: {xid!r}") from None
    raise ProgrammingError(f"an xid is an anyq.Xid, made by conn.xid(), or a str, not {type(xid).__qualname__}")
