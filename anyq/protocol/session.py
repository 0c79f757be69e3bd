"""ProtocolSession: one connection's conversation with the server, without any input or output.

Bytes received go in through :meth:`ProtocolSession.receive_data`; replies are filed under the request they belong
to, notices and notifications are queued in ``events``. Knows how messages are cut out of bytes, and runs of rows; what
is known of the conversation is in ``session_state``, and what a message other than a row means is said by the functions
of ``handlers``. Must not know sockets, clocks, event loops or what is in a row: they are kept as they come.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from ..errors import RemoteProtocolError
from . import handlers
from .buffer import HEADER, LARGE_MESSAGE, LargeRow, ReceiveBuffer
from .constants import MAX_MESSAGE_LENGTH
from .constants import BackendCode as B
from .copy_data import end_of_copy_data
from .phases import ENDED, Event, Phase
from .request import Request, Result
from .session_state import SessionState, make_rows

ReplyTaker = Callable[["ProtocolSession", "deque[Request]", bytes, int, int], int]
"""``take(session, pending, run, pos, end)`` does what the session would do with the messages at `pos`, as far as
they are complete and of the commonest kinds, and returns where they end."""
RowKeeper = Callable[[Result, bytes, int, int], int]
"""``keep(result, run, pos, end)`` takes the complete rows found at `pos` into a result and returns where they end."""

CopyDataFinder = Callable[[bytes, int, int], int]
"""``find(run, pos, end)`` returns where the complete CopyData messages end that begin at `pos`."""

_DATA_ROW = int(B.DATA_ROW)
_COPY_DATA = int(B.COPY_DATA)
_RUNS = (_DATA_ROW, _COPY_DATA)
"""What many of come together."""
_HEADER = struct.Struct("!BI").unpack_from  # code, length
_BUSY = Phase.BUSY
_COPY_OUT = Phase.COPY_OUT
_ROWS = make_rows(vars(handlers))


class ProtocolSession(SessionState):
    """The state of one connection, and what makes messages of the bytes that arrive.

    :param keep_rows: what takes rows into results.
    :param take_replies: what is faster for the commonest messages, if there is such a thing. It looks at ``phase``,
        ``limit``, ``encoding`` and ``events``, hands over to :meth:`end_request`, and files with the request at the
        head what ``handlers`` and :meth:`receive_rows` would.
    :param find_copy_data: what finds the data of a COPY.
    :param max_message_size: bytes; a longer message is refused before any of it is kept. Most kinds of them have a
        limit of their own, which is lower.
    """

    __slots__ = ("_buffer", "_find_copy_data", "_keep_rows", "_take_replies", "behind", "large")

    def __init__(
        self,
        keep_rows: RowKeeper,
        take_replies: ReplyTaker | None = None,
        *,
        find_copy_data: CopyDataFinder = end_of_copy_data,
        max_message_size: int = MAX_MESSAGE_LENGTH,
    ) -> None:
        super().__init__(_ROWS, max_message_size)
        self._keep_rows = keep_rows
        self._take_replies = take_replies
        self._find_copy_data = find_copy_data
        self._buffer = ReceiveBuffer()
        self.large: LargeRow | None = None
        """A row with a big value that is under way: see :meth:`receive_target`."""
        self.behind = False
        """Whether something that has been received is still to be processed."""

    def _end(self, event: Event, reason: str, cause: BaseException | None) -> None:
        self.large = None
        self.behind = False
        super()._end(event, reason, cause)

    # -- what the server says

    def receive_target(self) -> memoryview | None:
        """Return where to receive the next bytes directly, while a big value is under way; release it after use."""
        return None if self.large is None else self.large.target()

    def received(self, count: int) -> None:
        """Take note that `count` bytes were received into :meth:`receive_target`'s view."""
        assert self.large is not None
        self.large.received(count)
        self._end_large_row()

    def receive_data(self, data: bytes, most: int = -1) -> None:
        """Process every complete message in what has been received; keep the rest.

        :param most: after how many messages to stop, not counting rows and what `take_replies` takes; what is left is
            for the next call then, which may have no data: see :attr:`behind`.
        :raises RemoteProtocolError: the bytes break the protocol; the session is of no use after that.
        """
        if self.large is not None:
            data = self._feed_large_row(data)
            if not data:
                return
        run = data
        if self._buffer.partial:
            self.behind = False
            kept = self._buffer.feed(data)
            if kept is None:
                return
            run = kept
        end = len(run)
        take_replies = self._take_replies
        pos = 0 if take_replies is None else take_replies(self, self.pending, run, 0, end)
        while end - pos >= HEADER:
            code, length = _HEADER(run, pos)
            if code in _RUNS and self.pending:
                receive = self.receive_rows if code == _DATA_ROW else self.receive_copy_data
                after = receive(run, pos, end)
                if after > pos:
                    pos = after
                    continue
            handler = self.row.handlers.get(code)
            if handler is None or length < 4 or length > self.limit and length > self.longest(code):
                # Before any of it is kept: it would be kept for nothing.
                self._refuse(code, length)
                return
            stop = pos + 1 + length
            if stop > end:
                self._keep(run, pos, end, code, length)
                return
            handler(self, run[pos + HEADER : stop])
            pos = stop if take_replies is None else take_replies(self, self.pending, run, stop, end)
            most -= 1
            if not most:
                self.behind = pos < end
                break
        if pos < end:
            self._buffer.keep(run, pos, HEADER)

    def receive_eof(self) -> None:
        """Take note that the server has closed its side."""
        self.heed_farewell()
        if self.fatal_error is None and self.phase < Phase.IDLE:
            self.fail(
                "the server closed the connection during the start-up; check that host and port are those of "
                "PostgreSQL and that it accepts connections from here (pg_hba.conf)"
            )
        self.fail("the server closed the connection unexpectedly; it may have crashed or been shut down")

    def heed_farewell(self) -> None:
        """Take note that the connection is gone, for which the server's warning is the reason if it was its last word.

        Anybody can have a server warn of that, so it is not if the server has gone on with other requests.
        """
        if self.farewell is not None and self.farewell[1] is self.head and self.fatal_error is None:
            self.fatal_error = self.farewell[0]

    # -- rows

    def receive_rows(self, run: bytes, pos: int, end: int) -> int:
        """Take the DataRow messages that are complete; return where they end."""
        request = self.pending[0]
        result = request.current
        if result is None or self.phase is not _BUSY or result.fields is None and request.keeps_rows:
            return pos
        if request.keeps_rows:
            return self._keep_rows(result, run, pos, end)
        while end - pos >= HEADER and run[pos] == _DATA_ROW:
            stop = pos + 1 + int.from_bytes(run[pos + 1 : pos + HEADER], "big")
            if stop > end or stop < pos + HEADER:
                break
            pos = stop
        return pos

    def receive_copy_data(self, run: bytes, pos: int, end: int) -> int:
        """Take the CopyData messages that are complete, if somebody wants them; return where they end."""
        request = self.pending[0]
        if self.phase is not _COPY_OUT or not request.copies:
            return pos
        after = self._find_copy_data(run, pos, end)
        if after > pos and not request.abandoned:
            request.take_copy_data(run, pos, after)
        return after

    def _keep(self, run: bytes, pos: int, end: int, code: int, length: int) -> None:
        if code == _DATA_ROW and length > LARGE_MESSAGE and self.phase is Phase.BUSY:
            self.large = LargeRow(length - 4)
            self.large.feed(run, pos + HEADER)
        else:
            self._buffer.keep(run, pos, 1 + length)

    def _feed_large_row(self, data: bytes) -> bytes:
        """Take what belongs to the large row under way; return what comes after it."""
        assert self.large is not None
        pos = self.large.feed(data, 0)
        self._end_large_row()
        return data[pos:]

    def _end_large_row(self) -> None:
        if self.large is None or not self.large.done:
            return
        values = self.large.finish()
        self.large = None
        request = self.pending[0]
        result: Result | None = request.current
        if result is None or result.fields is None and request.keeps_rows:
            raise handlers.unexpected_row()
        if request.keeps_rows:
            assert result.fields is not None
            if len(values) != len(result.fields):
                raise handlers.wrong_number(len(values), len(result.fields))
            result.take(values, 0, 1, 1)

    # -- what may go wrong

    def _refuse(self, code: int, length: int) -> None:
        """Raise for a message that breaks the protocol; at the end of the session nothing matters any more."""
        if self.phase >= ENDED:
            return
        if code in self.row.handlers:
            limits = f"4 to {self.longest(code)}"
            raise RemoteProtocolError(
                f"the server sent a message {_name(code)} of {length} bytes, where {limits} are allowed"
            )
        if self.phase is Phase.STARTUP:
            raise RemoteProtocolError(
                f"the server's first answer was {_name(code)}, which is not PostgreSQL's; check host and port"
            )
        raise RemoteProtocolError(f"the server sent {_name(code)} in phase {self.phase.name}")


def _name(code: int) -> str:
    try:
        return B(code).name
    except ValueError:
        return f"a message of unknown type {chr(code)!r}"
