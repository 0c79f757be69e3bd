"""libpq: what programs read of psycopg's objects of libpq, told by anyq, which has none.

Knows what is asked for. Must not know what a connection or a cursor is like inside.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from anyq import OperationalError
from anyq.pq import ConnStatus, ExecStatus, TransactionStatus

NUMBERS = {"server_version", "backend_pid", "protocol_version", "full_protocol_version"}
"""Attributes that are numbers of a connection's info; 0 when it is closed, as libpq has it."""
TEXTS = {
    "db": "dbname",
    "user": "user",
    "password": "password",
    "host": "host",
    "hostaddr": "hostaddr",
    "options": "options",
}
"""Attributes that are texts of a connection's info, by their names there."""


class PGresult(NamedTuple):
    """What there is to say of a cursor's result."""

    status: ExecStatus
    ntuples: int
    nfields: int
    command_status: bytes | None


def result_of_cursor(cursor: Any) -> PGresult | None:
    """Return what there is to say of a cursor's result; None if it has none."""
    tag: str | None = cursor.statusmessage
    columns = cursor.description
    if tag is None and columns is None:
        return None
    status = ExecStatus.COMMAND_OK if columns is None else ExecStatus.TUPLES_OK
    rows = 0 if columns is None else max(cursor.rowcount, 0)
    return PGresult(status, rows, len(columns or ()), None if tag is None else tag.encode())


class PGconn:
    """What can be read of a connection. There is nothing to call but `parameter_status`.

    :param connection: one of either kind.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def status(self) -> ConnStatus:
        """Whether the connection is open."""
        return ConnStatus.BAD if self._connection.closed else ConnStatus.OK

    @property
    def transaction_status(self) -> TransactionStatus:
        """Where the connection is in a transaction."""
        return TransactionStatus.UNKNOWN if self._connection.closed else self._connection.info.transaction_status

    @property
    def port(self) -> bytes:
        """The server's port, in digits."""
        return str(self._connection.info.port).encode()

    @property
    def socket(self) -> int:
        """The file descriptor of the connection."""
        number: int = self._connection.fileno()
        return number

    @property
    def error_message(self) -> bytes:
        """Why the connection is closed; empty while it is open."""
        message: str = self._connection.info.error_message
        return message.encode()

    def parameter_status(self, name: bytes) -> bytes | None:
        """Return a parameter that the server reports."""
        value: str | None = self._connection.info.parameter_status(name.decode())
        return None if value is None else value.encode()

    def __getattr__(self, name: str) -> Any:
        info = self._connection.info
        if name in TEXTS:
            return getattr(info, TEXTS[name]).encode()
        if name not in NUMBERS:
            raise AttributeError(
                f"pgconn has no attribute {name!r}, as there is no libpq: psycopg is anyq here, by "
                "anyq.contrib.psycopg; conn.info tells what is known of the connection",
                name=name,
            )
        try:
            return getattr(info, name)
        except OperationalError:
            return 0
