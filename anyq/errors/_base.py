"""The exceptions that are not tied to one SQLSTATE, and the fields of a server's error report.

Knows PEP 249 and the one-letter codes of the ErrorResponse message (PostgreSQL manual, "Error and Notice
Message Fields"). Must not know how a message arrives, what a connection is, or which SQLSTATEs exist (that is
``_sqlstates``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, overload

__all__ = [
    "CancellationTimeout",
    "ConnectionTimeout",
    "DataError",
    "DatabaseError",
    "Diagnostic",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LocalProtocolError",
    "NotSupportedError",
    "NotificationOverflow",
    "OperationTimeout",
    "OperationalError",
    "PipelineAborted",
    "ProgrammingError",
    "ProtocolError",
    "RemoteProtocolError",
    "Warning",
]


# C0 but for newline and tab, a carriage return that ends no line, DEL, C1, and what turns the direction of text around.
_UNPRINTABLE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)"


def shown(text: str) -> str:
    """Return a text as it may be printed: what a terminal would obey is written as Python writes it, ``\\x1b``.

    Whoever can make the server say something could otherwise move the cursor, hide a part of a message, or put his own
    in its place.
    """
    return re.sub(_UNPRINTABLE, lambda match: ascii(match[0])[1:-1], text)


class _Field:
    """One read-only attribute of `Diagnostic`, looked up by its protocol letter."""

    __slots__ = ("_code", "_name")

    def __init__(self, code: str) -> None:
        self._code = code
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, obj: None, owner: type) -> _Field: ...
    @overload
    def __get__(self, obj: Diagnostic, owner: type) -> str | None: ...
    def __get__(self, obj: Diagnostic | None, owner: type) -> _Field | str | None:
        return self if obj is None else obj.fields.get(self._code)

    def __set__(self, obj: Diagnostic, value: object) -> None:
        raise AttributeError(f"Diagnostic.{self._name} is read-only: it is what the server reported")


class Diagnostic:
    """Give access to every field of a server's error or notice report.

    Each attribute is the text the server sent, or ``None`` if it sent no such field.
    See the PostgreSQL manual, "Error and Notice Message Fields".
    """

    __slots__ = ("_fields",)

    severity = _Field("S")
    severity_nonlocalized = _Field("V")
    sqlstate = _Field("C")
    message_primary = _Field("M")
    message_detail = _Field("D")
    message_hint = _Field("H")
    statement_position = _Field("P")
    internal_position = _Field("p")
    internal_query = _Field("q")
    context = _Field("W")
    schema_name = _Field("s")
    table_name = _Field("t")
    column_name = _Field("c")
    datatype_name = _Field("d")
    constraint_name = _Field("n")
    source_file = _Field("F")
    source_line = _Field("L")
    source_function = _Field("R")

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        self._fields: dict[str, str] = dict(fields) if fields else {}

    @property
    def fields(self) -> Mapping[str, str]:
        """Return the raw fields, one-letter code to text."""
        return self._fields

    def __repr__(self) -> str:
        return shown(f"<{type(self).__name__} {self.sqlstate or 'no sqlstate'}: {self.message_primary or ''}>")

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, Diagnostic) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._fields.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._fields,)


class Warning(Exception):
    """Report an important warning (PEP 249). The driver itself raises it nowhere."""


class Error(Exception):
    """Base of every exception that the driver raises on purpose.

    `sqlstate` is the five-character code of the error: the server's if it sent one, else that of the class,
    else ``None``. Its text has no control characters but newlines and tabs, whatever the server or a value put into
    it: they are escaped. `args` and `diag` have them as they are.

    `pgconn` and `pgresult` are None: they are libpq's objects in psycopg.

    `query` is the text of the statement that failed, as the server got it, but with ``$1`` where a client cursor puts a
    value: there is no value of a parameter in it. ``None`` if no statement was sent.

    `never_run` is whether it is certain that the server has not begun with the statement, as the connection was lost
    before: it may be sent again on another one. False if that is not known.
    """

    sqlstate: str | None = None
    query: str | None = None
    never_run: bool = False
    pgconn: None = None
    pgresult: None = None

    def __init__(self, *args: object, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(*args)
        # Plain instance attributes: BaseException's own pickling carries args and __dict__ over.
        self._fields: dict[str, str] | None = dict(fields) if fields else None
        if self._fields and "C" in self._fields:
            self.sqlstate = self._fields["C"]

    def __str__(self) -> str:
        return shown(super().__str__())

    def say(self, message: str, fields: Mapping[str, str]) -> None:
        """For this package: say something else about the same failure."""
        self.args = (message,)
        self._fields = dict(fields)

    @property
    def diag(self) -> Diagnostic:
        """Return what the server reported; every attribute is ``None`` if it was not the server's error."""
        return Diagnostic(self._fields)


class InterfaceError(Error):
    """Report wrong use of the driver itself, rather than of the database."""


class DatabaseError(Error):
    """Report an error that has to do with the database."""


class DataError(DatabaseError):
    """Report a problem with the data: out of range, not representable, badly formed."""


class OperationalError(DatabaseError):
    """Report a problem with the database's operation, not the program: a lost connection, a deadlock."""


class IntegrityError(DatabaseError):
    """Report that a constraint would be violated."""


class InternalError(DatabaseError):
    """Report that the database is in a state which does not allow the operation."""


class ProgrammingError(DatabaseError):
    """Report a mistake in the program: wrong SQL, an unknown table, wrong parameters."""


class NotSupportedError(DatabaseError):
    """Report something that the server or the driver cannot do."""


class ConnectionTimeout(OperationalError):
    """Report that no connection could be made within ``connect_timeout``."""


class CancellationTimeout(OperationalError):
    """Report that the server did not take a CancelRequest within the time that ``cancel_safe()`` was given."""


class OperationTimeout(OperationalError):
    """Report that a call of the synchronous API took longer than ``anyq.sync.timeout()`` allows."""


class PipelineAborted(OperationalError):
    """Report that a statement of a pipeline was not run, as one before it had failed."""


class NotificationOverflow(OperationalError):
    """Report that a subscription was ended because its buffer was full."""


class ProtocolError(OperationalError):
    """Report a breach of the frontend/backend protocol. The connection cannot be used any more."""


class RemoteProtocolError(ProtocolError):
    """Report that the server sent something the protocol does not allow."""


class LocalProtocolError(InterfaceError):
    """Report that this side asked for something the protocol does not allow; nothing was sent."""
