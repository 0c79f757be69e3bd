"""What tracers are told: of queries, connections, pools, notifications and cancellations.

Nothing has values in it. Of parameters a tracer gets nothing unless it asks for them, and of a text that has to do with
passwords neither its constants nor its parameters.

Knows facts. Must not know who is told, or how it comes about.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

_SECRET = re.compile(r"passw|://[^\s/@]*@", re.IGNORECASE).search
"""What has to do with passwords: the word, in any of its forms, or a URI that begins with a user."""
_QUOTE = re.compile(r"'|\$(?:[^\W\d]\w*)?\$").finditer


def without_secrets(sql: str) -> str:
    """For this package: return a text without its constants, if one of them may be a password.

    What is between the first quote and the last goes, whatever it is: nothing depends on how the text is read.
    """
    if _SECRET(sql) is None:
        return sql
    quotes = list(_QUOTE(sql))
    if not quotes:
        return sql
    end = quotes[-1].end() if len(quotes) > 1 else len(sql)
    return f"{sql[: quotes[0].start()]}'***'{sql[end:]}"


class Server(NamedTuple):
    """The server that a connection is with."""

    host: str
    """Its name, its address, or the directory of its Unix socket."""
    port: int
    address: str | None
    """Its IP address; None on a Unix socket or a stream of the caller's."""
    dbname: str
    """The database."""
    user: str
    pid: int
    """The process of the server's that serves the connection."""


class Timed:
    """What begins and ends."""

    __slots__ = ("__weakref__", "began", "seconds")

    def __init__(self) -> None:
        self.began = 0.0
        """When it began, on ``time.perf_counter()``'s clock."""
        self.seconds = 0.0
        """How long it took, once it has ended."""


class TracedConnect(Timed):
    """A connection that is being made."""

    __slots__ = ("pool", "server")

    def __init__(self, pool: str | None = None) -> None:
        super().__init__()
        self.pool = pool
        """The name of the pool that it is for; None for none."""
        self.server: Server | None = None
        """With whom it is, once it has been made."""


class TracedQuery(Timed):
    """A statement that is run, or several in one text.

    :param text: as it was written; or what makes it.
    :param params: what was given for its placeholders.
    """

    __slots__ = ("_params", "_text", "bytes", "kind", "rows", "server", "sets", "tag")

    def __init__(self, kind: str, text: str | Callable[[], str], params: Any, server: Server) -> None:
        self.set_up(kind, text, params, server)

    def set_up(self, kind: str, text: str | Callable[[], str], params: Any, server: Server) -> None:
        """For this package: do what ``__init__`` does, which takes longer to be called; one is made for each query."""
        self.began = self.seconds = 0.0
        self.kind = kind
        """By which way: execute, executemany, stream, pipeline, declare and fetch (of a named cursor), copy; or
        command, for what the driver sends by itself, such as COMMIT."""
        self._text = text
        self._params = params
        self.server = server
        self.rows = -1
        """How many rows it has returned or affected, once that is known; -1 before, or where nobody can know."""
        self.bytes = 0
        """How many bytes of rows have come, or of a COPY's data gone either way, as messages of the protocol."""
        self.sets = 1
        """Of ``executemany()``: for how many sets of parameters, once that is known; 0 before."""
        self.tag: str | None = None
        """The command tag, such as ``INSERT 0 1``, once there is one; of several statements that of the last."""

    @property
    def parameterized(self) -> bool:
        """Whether values were given beside the text."""
        return self._params is not None

    @property
    def sql(self) -> str:
        """The text as the program has written it, with its placeholders: no value that was given beside it.

        ``?`` stands where a Literal of :mod:`anyq.sql` was put in. If it may have a password in it, its constants are
        left out.
        """
        text = self._text
        if not isinstance(text, str):
            self._text = text = text()
        return without_secrets(text)

    def parameters(self) -> Any:
        """Return what was given for the placeholders; None if nothing was, or where it may be a password.

        Of ``executemany()`` it is None as well: the sets are made as they are sent.
        """
        return None if self._params is None or _SECRET(self.sql) else self._params

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {self.kind} {self.sql!r:.100}>"


class TracedCopy(TracedQuery):
    """A COPY whose data goes through the connection."""

    __slots__ = ("direction",)

    def __init__(self, text: str | Callable[[], str], params: Any, server: Server) -> None:
        super().__init__("copy", text, params, server)
        self.direction: str | None = None
        """``in`` to the server or ``out`` of it, once the server has said so."""


class TracedCheckout(Timed):
    """A client that is lent a connection by a pool. Its seconds are those that it has waited."""

    __slots__ = ("held", "pool", "server")

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.pool = pool
        """The pool's name."""
        self.server: Server | None = None
        """With whom the connection is, once there is one."""
        self.held = 0.0
        """For how many seconds the client has had it, once it has come back."""


class TracedNotification:
    """A notification that a connection has got, whoever takes it."""

    __slots__ = ("_payload", "channel", "pid", "server")

    def __init__(self, channel: str, payload: str, pid: int, server: Server) -> None:
        self.channel = channel
        self._payload = payload
        self.pid = pid
        """The process of the server's that serves who has sent it."""
        self.server = server

    @property
    def size(self) -> int:
        """How many characters the payload has."""
        return len(self._payload)

    def payload(self) -> str:
        """Return the payload, which may be anything."""
        return self._payload


class TracedCancellation:
    """A CancelRequest, which asks a server to end what it runs for a connection."""

    __slots__ = ("asked", "error", "seconds", "server")

    def __init__(self, server: Server, *, asked: bool, seconds: float, error: BaseException | None) -> None:
        self.server = server
        self.asked = asked
        """Whether ``cancel()`` was called; otherwise a task was cancelled, or left something before its end."""
        self.seconds = seconds
        """How long it took the server to take it."""
        self.error = error
        """Why it could not be sent; None if the server has it."""
