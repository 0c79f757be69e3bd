"""What is made otherwise where somebody watches: sessions, for the commands that the driver sends by itself, and COPY.

Knows what there is to tell of them. Must not know who listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from ..adapt import AdaptersMap, Transformer
from ..backends import uninterrupted
from ..statements.copy_data import CopyRequest
from ..statements.outcome import affected_rows
from ..statements.statement import Statement
from ..tracing import TracedCopy
from ..tracing.telling import Running
from .copying import Copying
from .session import Session
from .tracing import SessionTracing
from .wire import Wire

T = TypeVar("T")


@uninterrupted
class TracedSession(Session):
    """What a connection works on that is made while somebody watches."""

    async def send_command(self, command: bytes, **how: Any) -> str | None:
        run = partial(super().send_command, command, **how)
        return await (run() if self.query_tracing is None else self.query_tracing.command(command, run))

    async def carry_out(self, command: bytes, **how: Any) -> None:
        run = partial(super().carry_out, command, **how)
        await (run() if self.query_tracing is None else self.query_tracing.command(command, run))


@uninterrupted
class TracedCopying(Copying):
    """A COPY that is watched. That it has failed or was left is told by its owner, who knows why."""

    def __init__(self, session: Session, statement: Statement, tx: Transformer, running: Running) -> None:
        super().__init__(session, statement, tx)
        self._running = running
        self._event: TracedCopy = running.event

    async def begin(self) -> CopyRequest:
        request = await super().begin()
        assert request.direction is not None
        self._event.direction = request.direction.value
        return request

    async def send(self, messages: Iterable[bytearray]) -> None:
        await super().send(self._counted(messages))

    def _counted(self, messages: Iterable[bytearray]) -> Iterator[bytearray]:
        for message in messages:
            self._event.bytes += len(message)
            yield message

    async def finish(self, message: bytearray) -> None:
        self._event.bytes += len(message)
        await super().finish(message)

    async def receive(self, cut: Callable[[bytes, int, int, int], tuple[T, int]]) -> T | None:
        event = self._event

        def counted(run: bytes, pos: int, stop: int, most: int) -> tuple[T, int]:
            piece, end = cut(run, pos, stop, most)
            event.bytes += end - pos
            return piece, end

        return await super().receive(counted)

    async def _end(self, request: CopyRequest) -> None:
        await super()._end(request)
        self._event.tag = tag = request.results[0].tag
        self._event.rows = affected_rows(tag)
        self._running.end()


def new_session(
    tracing: SessionTracing | None,
    wire: Wire,
    adapters: AdaptersMap,
    connection: Any,
    autocommit: bool,
    prepare_threshold: int | None,
) -> Session:
    """Return a session for a connection, whose statements are told of if there is anybody who listens."""
    listener = tracing if tracing is not None and tracing.tracing.query.heard else None
    make = Session if listener is None else TracedSession
    session = make(wire, adapters, connection, autocommit=autocommit, prepare_threshold=prepare_threshold)
    session.tracing, session.query_tracing = tracing, listener
    return session


def new_copying(session: Session, statement: Statement, tx: Transformer, running: Running | None) -> Copying:
    """Return a COPY, which is watched if there is somebody who knows that it begins."""
    if running is None:
        return Copying(session, statement, tx)
    return TracedCopying(session, statement, tx, running)
