"""Tracing of one session: its statements, as tracers are told of them.

Knows queries as users write them, and what a request has given. Must not know how a statement is run, nor who listens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from ..adapt import Transformer
from ..adapt.templates import is_template
from ..backends import uninterrupted
from ..backends.blocking import BlockingBackend
from ..errors import Error
from ..protocol.request import Request, Result
from ..sql import Composable, Composed, Identifier, Literal
from ..statements.outcome import affected_rows
from ..statements.requests import RowsRequest
from ..statements.segment import Queued
from ..statements.statement import Statement
from ..tracing.telling import Running, Tracing, calling_context
from ..tracing.told import Server, TracedCancellation, TracedCopy, TracedNotification, TracedQuery
from .wire import Wire

RequestT = TypeVar("RequestT", bound=RowsRequest)
AnyRequest = TypeVar("AnyRequest", bound=Request)


class SessionTracing:
    """Who watches one session.

    :param server: with whom it is.
    """

    def __init__(self, tracing: Tracing, wire: Wire, server: Server) -> None:
        self.tracing = tracing
        self.server = server
        self._queries = tracing.query
        self.for_threads = False
        """Whether threads use it that have no event loop, so that their contexts are asked for."""
        self._wire = wire
        wire.cancelling.on_sent = self._cancel_is_sent

    # -- statements

    def begin(self, kind: str, query: Any, params: Any = None, stays: bool = True) -> Running:
        """Tell that a statement is going to be run.

        :param stays: whether its end is seen by the same call; otherwise another task may.
        """
        text = query if type(query) is str else partial(text_of, query)
        context = None if stays and not self.for_threads else self._context(stays)
        told = TracedQuery.__new__(TracedQuery)
        told.set_up(kind, text, params, self.server)
        if not stays and kind == "executemany":
            told.sets = 0
        return self._queries.begin(told, context)

    async def observe(
        self, kind: str, query: Any, params: Any, run: Callable[[], Awaitable[AnyRequest]], *, counts: bool = False
    ) -> AnyRequest:
        """Tell of a statement that `run` runs.

        :param counts: whether its rows are what is to be told of.
        """
        running = self.begin(kind, query, params)
        try:
            request = await run()
        except BaseException as error:
            running.fail(error)
            raise
        if request.error is not None:
            running.fail(request.error)
        elif counts:
            end_with(running, request.results)
        else:
            running.end()
        return request

    async def command(self, text: bytes, run: Callable[[], Awaitable[str | None]]) -> str | None:
        """Tell of what the driver sends by itself; an empty text is only a sign of life."""
        if not text:
            return await run()
        running = self.begin("command", text)
        try:
            tag = await run()
        except BaseException as error:
            running.fail(error)
            raise
        running.event.tag = tag
        running.end()
        return tag

    def queued(self, query: Any, params: Any) -> Callable[[Statement, Transformer, bool | None, bool | None], Queued]:
        """Return what makes the statement of a pipeline, whose end may be seen by another task."""
        return partial(TracedQueued, partial(self.begin, "pipeline", query, params, stays=False))

    def begin_copy(self, query: Any, params: Any) -> Running | None:
        """Tell that a COPY is going to be run; None if nobody listens."""
        if not self.tracing.copy.heard:
            return None
        text = query if type(query) is str else partial(text_of, query)
        return self.tracing.copy.begin(TracedCopy(text, params, self.server), self._context(False))

    def _context(self, stays: bool) -> Context | None:
        """Return where hooks are called: in the context of a thread's call, if there is one; None for this one."""
        if isinstance(self._wire.backend, BlockingBackend):
            # The thread's own; a copy, as what follows may be run in the event loop.
            return copy_context()
        context = calling_context() if self.for_threads else None
        return copy_context() if context is None and not stays else context

    # -- what happens by itself

    def tell_notification(self, channel: str, payload: str, pid: int) -> None:
        """Tell of a notification."""
        if self.tracing.hears_notifications:
            self.tracing.tell_notification(TracedNotification(channel, payload, pid, self.server))

    def _cancel_is_sent(self, asked: bool, seconds: float, error: BaseException | None) -> None:
        told = TracedCancellation(self.server, asked=asked, seconds=seconds, error=error)
        self.tracing.tell_cancellation(told)


uninterrupted(SessionTracing)


class TracedQueued(Queued):
    """A statement in a pipeline that is watched."""

    __slots__ = ("_running",)

    def __init__(self, begin: Callable[..., Running], *args: Any) -> None:
        super().__init__(*args)
        self._running = begin()

    def succeed(self, result: Result, request: RowsRequest) -> None:
        super().succeed(result, request)
        end_with(self._running, (result,))

    def fail(self, error: Exception) -> None:
        super().fail(error)
        self._running.fail(error)


def end_with(running: Running, results: Sequence[Result]) -> None:
    """Tell that a statement has ended well, with what it has given."""
    measure(running.event, results)
    running.end()


def measure(event: TracedQuery, results: Sequence[Result]) -> None:
    """Take note of what a statement has given."""
    rows = size = 0
    tag: str | None = None
    for result in results:
        tag = result.tag
        if result.fields is None:
            rows += affected_rows(tag, 0)
        else:
            rows += result.count
            for run in result.runs:
                size += run[2] - run[1] if type(run[0]) is bytes else size_of(run, len(result.fields))
    event.rows, event.bytes, event.tag = rows, size, tag


def size_of(run: tuple[Any, int, int, int], columns: int) -> int:
    """Return how many bytes the messages of a run of rows have, or had."""
    data, start, stop, count = run
    if isinstance(data, bytes):
        return stop - start
    values: list[bytes | None] = data[start * columns : stop * columns]
    # A letter, the length, how many values; and the length of each.
    return count * 7 + 4 * len(values) + sum([len(value) for value in values if value is not None])


def text_of(query: Any) -> str:
    """Return the text of a query without the values in it; never raises, as whoever runs it is to be told."""
    if isinstance(query, str):
        return query
    if isinstance(query, bytes | bytearray):
        return query.decode("utf-8", "replace")
    try:
        if isinstance(query, Composed):
            return "".join([text_of(part) for part in query])
        if isinstance(query, Composable):
            return "?" if isinstance(query, Literal) else query.as_string(None)
        if is_template(query):
            return _text_of_template(query, [0])
    except Error:
        pass
    return f"({type(query).__qualname__})"


def _text_of_template(template: Any, count: list[int]) -> str:
    """Return the text of a template string.

    :param count: how many parameters there were before.
    """
    found = [template.strings[0]]
    for part, text in zip(template.interpolations, template.strings[1:], strict=True):
        value, spec = part.value, part.format_spec
        if is_template(value):
            found.append(_text_of_template(value, count))
        elif spec == "i" and isinstance(value, str):
            found.append(Identifier(value).as_string(None))
        elif isinstance(value, Composable) or spec == "l":
            found.append(text_of(value) if isinstance(value, Composable) else "?")
        else:
            count[0] += 1
            found.append(f"${count[0]}")
        found.append(text)
    return "".join(found)
