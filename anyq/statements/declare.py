"""Declare: the statements of named cursors, and which object a name belongs to.

Knows DECLARE and FETCH, that a cursor is a portal (manual, "Extended Query") and what may be wrong with one. Must not
know how anything is sent, or how rows are taken.

Theory of operation. DECLARE goes by the extended protocol, so that parameters are bound by the server, with a Describe
of the cursor behind it: one round trip. A cursor is closed by the Close message and not by the statement: the server
takes that without a transaction, in one that has failed, and for a cursor that is gone, so it never makes anything
fail. What is to be closed and nobody waits for (a cursor that was dropped, or declared by a statement whose task was
cancelled) is closed with the next request, as prepared statements are.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from .._accel import bind
from ..adapt.encodings import encode_text, encoding_to_write
from ..adapt.quoting import identifier_bytes
from ..errors import (
    DuplicateCursor,
    Error,
    InvalidCursorName,
    NoActiveSqlTransaction,
    NotSupportedError,
    ObjectNotInPrerequisiteState,
    ProgrammingError,
    SyntaxError,
    error_from_fields,
)
from ..errors.pointing import character_position
from ..protocol import frontend
from .composer import Composer
from .prepared import PreparedStatements
from .requests import RowsRequest, StatementRequest, add_begin
from .statement import Statement, first_word

MAX_NAME = 63
"""Bytes of a cursor's name (NAMEDATALEN - 1); the server would cut a longer one without an error."""

MOST_ROWS = 2**31 - 1
"""How far one FETCH goes at most, but for all rows."""

_QUERIES = frozenset((b"SELECT", b"VALUES", b"TABLE", b"WITH"))
_NO_QUERY = (
    "a named cursor is for a query, SELECT, VALUES, TABLE or WITH: execute other statements on a cursor without a name"
)
_NO_TRANSACTION = (
    "a named cursor lives in a transaction: execute it inside of a transaction() block, or without autocommit; or make "
    "it with withhold=True, to be used until it is closed"
)
_TAKEN = "another cursor of this name is open on the connection: close it before, or give each its own name"
_FORWARD = "a cursor that goes backwards for certain is made with scrollable=True"
_GONE = (
    "execute() declares a cursor, which lasts until the end of its transaction; one that is made with withhold=True "
    "lasts until it is closed, if the transaction is committed"
)


class Options(NamedTuple):
    """What a cursor is declared with."""

    name: str
    scrollable: bool | None = None
    """None leaves it to the server, which lets go backwards where that costs nothing."""
    withhold: bool = False

    def head(self, encoding: str) -> bytes:
        """Return what goes before the query."""
        scroll = {None: b"", True: b" SCROLL", False: b" NO SCROLL"}[self.scrollable]
        hold = b" WITH HOLD" if self.withhold else b""
        return b"DECLARE " + identifier_bytes(encoding, self.name) + scroll + b" CURSOR" + hold + b" FOR "


def check_name(name: object, client: str, server: str) -> None:
    """Check the name of a cursor.

    :param client: Python codec of the client encoding.
    :param server: that of the server encoding, in which the name's length counts.
    :raises ProgrammingError: it is no name that a cursor can have.
    :raises DataError: it has characters that cannot be sent.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a cursor is a str, not {type(name).__name__}")
    if not name:
        raise ProgrammingError("the name of a cursor cannot be empty: write cursor() for one without a name")
    encoded = encode_text(name, encoding_to_write(client))
    with suppress(UnicodeEncodeError, NotSupportedError):  # the server will say so, or Python has not its encoding
        encoded = name.encode(encoding_to_write(server))
    if len(encoded) > MAX_NAME:
        raise ProgrammingError(
            f"the name of a cursor has {MAX_NAME} bytes at most, and {name!r} has {len(encoded)}: the server would "
            "cut it"
        )


class NamedCursors:
    """Which request has declared each named cursor of a session last, as far as that is of use.

    Objects of the same name do not close, nor fetch from, what another one has declared since.
    """

    def __init__(self, account: PreparedStatements) -> None:
        self._account = account
        self._owners: dict[str, DeclareRequest] = {}

    def owner(self, name: str) -> DeclareRequest | None:
        """Return the request that has declared a cursor, or is about to, and whose cursor nobody has closed."""
        return self._owners.get(name)

    def begin(self, name: str, request: DeclareRequest) -> None:
        """Take note of a DECLARE that is sent now."""
        request.replaced = self._owners.get(name)
        self._owners[name] = request

    def failed(self, name: str, request: DeclareRequest) -> None:
        """Take note that it failed, so that what was there before is there still, unless it has closed that."""
        if self._owners.get(name) is request:
            del self._owners[name]
            if request.replaced is not None:
                self._owners[name] = request.replaced

    def closed(self, name: str, request: DeclareRequest) -> bool:
        """Take note that a cursor is closed; return False if it is another one by now that has the name."""
        if self._owners.get(name) is not request:
            return False
        del self._owners[name]
        return True

    def close_later(self, name: str, request: DeclareRequest) -> None:
        """Have a cursor closed with the next request; may be called by a finalizer, in any thread."""
        if self.closed(name, request):
            self._account.closing.append(name)


class DeclareRequest(StatementRequest):
    """Declares a cursor; has its description when it is done."""

    replaced: DeclareRequest | None = None
    """The one that had the name before it."""

    def __init__(self, account: PreparedStatements, cursors: NamedCursors, name: str) -> None:
        super().__init__(account)
        self._cursors = cursors
        self.name = name

    def finish(self) -> None:
        if self.error is not None or self.failure is not None:
            self._cursors.failed(self.name, self)
        elif self.abandoned:
            self._cursors.close_later(self.name, self)
        self.replaced = None
        super().finish()


def compose_declare(
    composer: Composer,
    cursors: NamedCursors,
    statement: Statement,
    options: Options,
    encoding: str,
    begin: bytes | None,
    own: DeclareRequest | None,
) -> tuple[DeclareRequest, bytearray]:
    """Return the request that declares a cursor, to be sent without another one in between.

    :param statement: the query.
    :param begin: the BEGIN to run first, if one is due.
    :param own: what the same object has declared before, which is closed first.
    """
    name = options.name
    portal = portal_name(name, encoding)
    request = DeclareRequest(composer.statements, cursors, name)
    data = bytearray()
    if begin is not None:
        add_begin(request, data, begin)
    frontend.parse(data, b"", options.head(encoding) + statement.sql, statement.oids)
    bind(data, b"", b"", statement.formats, statement.values, (), frontend.EXECUTE)
    frontend.describe(data, b"P", portal)
    data += frontend.SYNC
    # From here on nothing can be refused any more.
    closing = bytearray()
    composer.close_left(closing)
    before = cursors.owner(name)
    if before is not None and (before is own or before.abandoned):
        frontend.close(closing, b"P", portal)
        cursors.closed(name, before)
    cursors.begin(name, request)
    return request, closing + data


def compose_describe(composer: Composer, name: str, encoding: str) -> tuple[RowsRequest, bytearray]:
    """Return the request that describes a cursor which somebody else has declared."""
    data = bytearray()
    composer.close_left(data)
    frontend.describe(data, b"P", portal_name(name, encoding))
    data += frontend.SYNC
    return RowsRequest(), data


def compose_fetch(
    composer: Composer, name: str, encoding: str, direction: str, formats: list[int]
) -> tuple[RowsRequest, bytearray]:
    """Return the request that fetches from a cursor.

    :param direction: such as ``FORWARD 100``; of the driver's making, never of a user's.
    :param formats: of the columns.
    """
    data = bytearray()
    composer.close_left(data)
    sql = b"FETCH " + direction.encode() + b" FROM " + identifier_bytes(encoding, name)
    frontend.parse(data, b"", sql, ())
    # Described each time: somebody may have closed the cursor, and declared another one of the same name.
    bind(data, b"", b"", (), (), formats, frontend.DESCRIBE_EXECUTE_SYNC)
    return RowsRequest(), data


def compose_close(name: str, encoding: str) -> bytearray:
    """Return the messages that close a cursor, whether it is there or not, in whatever transaction."""
    data = bytearray()
    frontend.close(data, b"P", portal_name(name, encoding))
    data += frontend.SYNC
    return data


def portal_name(name: str, encoding: str) -> bytes:
    """Return the name of a cursor as the protocol's messages have it."""
    return encode_text(name, encoding_to_write(encoding))


def failure_of_declare(
    failure: Exception, head: bytes, statement: Statement, encoding: str, bytewise: bool
) -> Exception:
    """Return the error of a DECLARE as that of the query in it: its position counts in the user's text.

    :param head: what went before the query.
    :param bytewise: whether the server counts bytes (SQL_ASCII).
    """
    if not isinstance(failure, Error):
        return failure
    fields = dict(failure.diag.fields)
    position = character_position(failure.diag.statement_position)
    if position is not None:
        position -= len(head) if bytewise else len(head.decode(encoding_to_write(encoding), "replace"))
        fields["P"] = str(position)
        if position < 1:
            del fields["P"]
    hint = None
    if isinstance(failure, SyntaxError) and first_word(statement.sql) not in _QUERIES:
        hint = _NO_QUERY
    elif isinstance(failure, NoActiveSqlTransaction):
        hint = _NO_TRANSACTION
    elif isinstance(failure, DuplicateCursor):
        hint = _TAKEN
    return _with(failure, fields, hint)


def failure_of_fetch(failure: Exception) -> Exception:
    """Return the error of a FETCH or MOVE, with advice if there is no such cursor, or if it cannot go backwards."""
    if isinstance(failure, InvalidCursorName):
        return _with(failure, dict(failure.diag.fields), _GONE)
    if isinstance(failure, ObjectNotInPrerequisiteState) and failure.diag.message_hint:
        # The server's hint is to write SCROLL into a DECLARE, which is not the user's.
        return _with(failure, {**failure.diag.fields, "H": _FORWARD}, None)
    return failure


def _with(failure: Error, fields: dict[str, str], hint: str | None) -> Error:
    if hint is not None:
        fields.setdefault("H", hint)
    return error_from_fields(fields) if fields != failure.diag.fields else failure
