"""What the request of a COPY is made of, and what the text of one says about its data.

Knows the statement, and the data as it comes from the server. Must not know who sends data or takes it, or what rows
are like (`adapt.copy`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ..adapt.placing import Inside, quoted_parts
from ..errors import DataError, Error, ProgrammingError, ProtocolViolation, RemoteProtocolError, error_from_fields
from ..protocol import frontend
from ..protocol.request import CopyDirection, Result, TransactionEffect
from .composer import Composer
from .prepared import PreparedStatements
from .requests import StatementRequest
from .statement import Statement, first_word

T = TypeVar("T")

PIECE = 64 * 1024
"""Bytes of data that are taken at once, from one checkpoint to the next, and sent in one message."""

CANCEL_AFTER = 0.05
"""Seconds that the server has to act on a CopyFail, before a CancelRequest is sent: it may be busy with a row."""


class CopyRequest(StatementRequest):
    """A COPY FROM STDIN or TO STDOUT, by the simple protocol: its end is one ReadyForQuery, whatever was sent before.

    :param after_begin: whether a BEGIN comes before it in the same text.
    """

    extended = False
    copies = True
    direction: CopyDirection | None = None
    """Which way the data goes; None before the server has said so."""
    binary = False
    columns = 0
    is_sent = False
    """Whether all data has been sent, so that the server may end it."""
    wanted: Callable[[], bool] | None = None
    """What it is waited for, besides the end."""

    def __init__(self, account: PreparedStatements, text: bytes, after_begin: bool) -> None:
        super().__init__(account, extended=False, effect=TransactionEffect.UNCERTAIN)
        self.text = text
        self.after_begin = after_begin
        self.runs: deque[tuple[bytes, int, int]] = deque()
        """CopyData messages that have arrived and have not been taken: where they are, where they begin and end."""
        self.ending = copy_failure("given up")

    def has_begun(self) -> bool:
        """Return whether the server has said which way the data goes."""
        return self.direction is not None

    def has_data(self) -> bool:
        """Return whether data has arrived that nobody has taken."""
        return bool(self.runs)

    def ready(self) -> bool:
        return self.done or self.wanted is not None and self.wanted()

    def begin_copy(self, direction: CopyDirection, binary: bool, columns: int) -> None:
        if self.direction is not None:
            raise RemoteProtocolError("the server has begun a COPY twice")
        self.direction, self.binary, self.columns = direction, binary, columns
        if direction is CopyDirection.IN:
            self.cancel_after = CANCEL_AFTER
        else:
            self.ending = b""

    def take_copy_data(self, run: bytes, start: int, stop: int) -> None:
        self.runs.append((run, start, stop))

    def take(self, cut: Callable[[bytes, int, int, int], tuple[T, int]]) -> T:
        """Return a piece of the data that has arrived.

        :param cut: how it is cut out of messages.
        """
        run, start, stop = self.runs[0]
        piece, after = cut(run, start, stop, PIECE)
        if after < stop:
            self.runs[0] = run, after, stop
        else:
            self.runs.popleft()
        return piece

    def add(self, result: Result) -> None:
        if self.direction is CopyDirection.IN and not self.is_sent:
            raise RemoteProtocolError("the server says that a COPY is complete, whose data is still being sent")
        super().add(result)

    def cancelled(self) -> bool:
        # The answer to a CopyFail is the same error, and no sign of a signal: that is left to hit another one.
        answers_copy_fail = self.direction is CopyDirection.IN and self.abandoned and not self.is_sent
        return not answers_copy_fail and super().cancelled()

    def abandon(self) -> None:
        super().abandon()
        self.wanted = None
        self.runs.clear()


def compose_copy(composer: Composer, statement: Statement, begin: bytes | None) -> tuple[CopyRequest, bytes]:
    """Return the request of a COPY, and its bytes.

    :param begin: the BEGIN to run first, if one is due.
    """
    data = bytearray()
    composer.close_left(data)
    frontend.query(data, statement.sql if begin is None else begin + b";" + statement.sql)
    return CopyRequest(composer.statements, statement.sql, begin is not None), bytes(data)


def copy_failure(reason: str, encoding: str = "ascii") -> bytes:
    """Return the CopyFail with which a COPY FROM STDIN is given up.

    :param encoding: the Python codec of the client encoding.
    """
    data = bytearray()
    # As much of it as a message has room for, and no half character.
    text = reason.encode(encoding, "replace")[: frontend.LONGEST_REASON].decode(encoding, "ignore")
    frontend.copy_fail(data, text.encode(encoding, "replace"))
    return bytes(data)


# -- errors


def wrong_direction(direction: CopyDirection | None) -> ProgrammingError:
    """Return the error for one who writes to what is to be read, or reads what is to be written."""
    if direction is CopyDirection.IN:
        return ProgrammingError("this is a COPY FROM STDIN: its data is written, by write() or write_row()")
    return ProgrammingError("this is a COPY TO STDOUT: its data is read, by read(), rows() or read_row()")


def with_types_hint(error: Error, has_types: bool = False) -> Error:
    """Return the error of rows of a binary COPY, with a hint if their types are what it may come of.

    :param has_types: whether types were set.
    """
    # The latter is "insufficient data left in message".
    if error.diag.message_hint or not isinstance(error, DataError | ProtocolViolation):
        return error
    return error_from_fields({**error.diag.fields, "H": OTHER_TYPES_HINT if has_types else HINT})


_AS_IT_IS = "In binary format the server takes each value for one of its column's type, whatever it is: "
HINT = _AS_IT_IS + "tell these types by copy.set_types() before the first row."
OTHER_TYPES_HINT = _AS_IT_IS + "copy.set_types() has to be given exactly these types."


# -- what a text says

_OUT = r"(?is).*\bto\s+stdout\b(.*)"
_IN = r"(?is)\bfrom\s+stdin\b(.*?)(?:(?<!['\"])\bwhere\b|\Z)"
# Names of options may be in quotes, and values in any kind of them, or none.
_CSV = r"(?i)(?<!['\"])\bcsv\b|\bformat\b\"?\s*(?:u&)?['\"]csv\b"
_ENCODING = r"(?i)(?<!')\bencoding\b\"?\s*(?:u&)?['\"]?(\w*)"
_OTHERS = rb"[^\w\x80-\xff]+"
_OTHER_TEXT = r"(?i)(?<!')\b(?:delimiters?|null)\b"


class CopyOptions(NamedTuple):
    """What the text of a COPY says about its data, as far as that can be told."""

    csv: bool = False
    other_text: bool = False
    """Whether it has a DELIMITER or a NULL of its own."""
    encoding: str | None = None
    """PostgreSQL's name of the encoding of its data; None for the client encoding."""


def check_copy(statement: Statement, encoding: str, *, standard_strings: bool = True) -> CopyOptions:
    """Look at a statement that is to be a COPY, and return what it says of its data.

    :param encoding: the Python codec of the client encoding.
    :param standard_strings: whether a backslash in a string is a character like any other.
    :raises ProgrammingError: it is none, or not alone.
    """
    sql = statement.sql
    if first_word(sql) != b"COPY":
        raise ProgrammingError(
            "copy() is for COPY ... FROM STDIN and COPY ... TO STDOUT: use execute() for other statements"
        )
    if statement.values:
        raise ProgrammingError(
            "COPY takes no parameters ($1) on the server: use another cursor, which puts them into the text for "
            "placeholders (%s)"
        )
    plain = _plain(sql, encoding, standard_strings)
    if ";" in plain.rstrip("; \t\r\n\f\v"):
        raise ProgrammingError("copy() takes one COPY, and no other statement beside it: use execute() for the others")
    found = re.match(_OUT, plain) or re.search(_IN, plain)
    options = "" if found is None else found[1]
    named = re.search(_ENCODING, options)
    return CopyOptions(
        csv=re.search(_CSV, options) is not None,
        other_text=re.search(_OTHER_TEXT, options) is not None,
        encoding=None if named is None else named[1],
    )


def _plain(sql: bytes, encoding: str, standard_strings: bool) -> str:
    """Return a text without comments, of whose constants and quoted names only letters and digits are left.

    Options need no more than those.
    """
    text, parts = quoted_parts(sql, encoding, standard_strings=standard_strings)
    plain: list[bytes] = []
    position = 0
    for part in parts:
        plain.append(text[position : part.begin])
        if part.inside in (Inside.LINE, Inside.COMMENT):
            plain.append(b" ")
        else:
            quote = b'"' if part.inside is Inside.NAME else b"'"
            plain.append(quote + re.sub(_OTHERS, b"", text[part.start : part.stop]) + quote)
        position = part.end
    plain.append(text[position:])
    return b"".join(plain).decode("utf-8", "replace")
