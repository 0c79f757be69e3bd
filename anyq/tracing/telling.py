"""Telling: how tracers are called, so that nothing of theirs reaches whoever is watched.

What a hook raises is logged, once for each hook of a tracer, and whatever is watched goes on. Hooks are called where
the thing happens; for a thread without an event loop in the context of its call, wherever that is run.

Knows hooks and contexts. Must not know what is watched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextvars import Context, ContextVar
from time import perf_counter
from typing import Any, Generic

from typing_extensions import TypeVar

from .query_log import QueryLog, query_logger
from .told import (
    Timed,
    TracedCancellation,
    TracedCheckout,
    TracedConnect,
    TracedCopy,
    TracedNotification,
    TracedQuery,
)
from .tracer import Tracer, watching

logger = logging.getLogger("anyq.tracing")

MOST_TOLD = 100
"""Hooks that have failed of which it is known that it was logged: what they belong to is kept meanwhile."""

E = TypeVar("E", bound=Timed)

_PHASES = "start", "end", "error"

call_context: ContextVar[Callable[[], Context | None]] = ContextVar("anyq_call_context")
"""For this package: what returns, in a task that does something for a thread, the context of the thread's call."""


opening_pool: ContextVar[str | None] = ContextVar("anyq_opening_pool", default=None)
"""For this package: the name of the pool that opens a connection now."""


def calling_context() -> Context | None:
    """For this package: return the context of the thread's call that this task is at work on; None for no such call."""
    of_call = call_context.get(None)
    return None if of_call is None else of_call()


class Phases(Generic[E]):
    """For this package: the hooks of some tracers for one kind of thing that begins and ends.

    Of a single tracer they are its own, which is the usual case; what they raise is for the caller to see to.
    """

    __slots__ = ("end", "error", "start")

    def __init__(self, tracers: Sequence[Tracer], what: str) -> None:
        self.start: Callable[[E], Any]
        self.end: Callable[[E, Any], None]
        self.error: Callable[[E, Any, BaseException], None]
        if len(tracers) == 1:
            one = tracers[0]
            self.start, self.end, self.error = [getattr(one, f"on_{what}_{phase}") for phase in _PHASES]
        else:
            several = _Several(tracers, what)
            self.start, self.end, self.error = several.start, several.end, several.error

    def begin(self, event: E, context: Context | None = None) -> Running[E]:
        """Tell that something begins, and return what its end is told by.

        :param context: where the hooks are called; None for where they are.
        """
        try:
            state = self.start(event) if context is None else context.run(self.start, event)
        except Exception:
            failed(self.start)
            state = None
        event.began = perf_counter()
        return Running(event, self, context, state)


class Running(Generic[E]):
    """For this package: something that has begun, and is to be told of once more."""

    __slots__ = ("_context", "_phases", "_state", "event")

    def __init__(self, event: E, phases: Phases[E], context: Context | None, state: Any) -> None:
        self.event = event
        self._phases: Phases[E] | None = phases
        self._context = context
        self._state = state

    def end(self) -> None:
        """Tell that it has ended well; nothing if its end was told."""
        phases, self._phases = self._phases, None
        if phases is not None:
            event = self.event
            event.seconds = perf_counter() - event.began
            call(phases.end, self._context, event, self._state)

    def fail(self, error: BaseException) -> None:
        """Tell that it has failed; nothing if its end was told."""
        phases, self._phases = self._phases, None
        if phases is not None:
            event = self.event
            event.seconds = perf_counter() - event.began
            call(phases.error, self._context, event, self._state, error)


class _Several:
    """The hooks of several tracers as those of one."""

    def __init__(self, tracers: Sequence[Tracer], what: str) -> None:
        self._starts, self._ends, self._errors = [
            [getattr(tracer, f"on_{what}_{phase}") for tracer in tracers] for phase in _PHASES
        ]

    def start(self, event: Any) -> list[Any]:
        states: list[Any] = []
        try:
            for start in self._starts:
                try:
                    states.append(start(event))
                except Exception:
                    failed(start)
                    states.append(None)
        except BaseException as error:
            # An interrupt: of those who were told that it begins none waits for its end for ever.
            self.error(event, states, error)
            raise
        return states

    def end(self, event: Any, states: list[Any]) -> None:
        for end, state in zip(self._ends, states, strict=True):
            call(end, None, event, state)

    def error(self, event: Any, states: list[Any], error: BaseException) -> None:
        for fail, state in zip(self._errors, states, strict=False):
            call(fail, None, event, state, error)


class Tracing:
    """For this package: the tracers of one connection or pool."""

    def __init__(self, tracers: Sequence[Tracer]) -> None:
        self.connect: Phases[TracedConnect] = Phases(tracers, "connect")
        self.query: Phases[TracedQuery] = Phases(tracers, "query")
        self.copy: Phases[TracedCopy] = Phases(tracers, "copy")
        self.checkout: Phases[TracedCheckout] = Phases(tracers, "checkout")
        self._tracers = tracers

    def tell_checkin(self, checkout: TracedCheckout, context: Context | None) -> None:
        """Tell that a connection has come back."""
        for tracer in self._tracers:
            call(tracer.on_checkin, context, checkout)

    def tell_notification(self, notification: TracedNotification) -> None:
        """Tell of a notification."""
        for tracer in self._tracers:
            call(tracer.on_notification, None, notification)

    def tell_cancellation(self, cancellation: TracedCancellation) -> None:
        """Tell of a CancelRequest."""
        for tracer in self._tracers:
            call(tracer.on_cancellation, None, cancellation)


def tracing_of(tracer: Tracer | None) -> Tracing | None:
    """For this package: return what tells the tracers of a connection or pool that is made now; None if nobody watches.

    :param tracer: its own, beside those that are installed.
    :raises TypeError: it is none.
    """
    tracers = watching(tracer)
    if query_logger.isEnabledFor(logging.DEBUG) and not any(isinstance(other, QueryLog) for other in tracers):
        tracers = (*tracers, QueryLog())
    return Tracing(tracers) if tracers else None


_told: dict[tuple[int, str], object] = {}


def call(hook: Callable[..., Any], context: Context | None, *args: Any) -> None:
    """For this package: call a hook."""
    try:
        hook(*args) if context is None else context.run(hook, *args)
    except Exception:
        failed(hook)


def failed(hook: Callable[..., Any]) -> None:
    """For this package: log what a hook raises, the first time; to be called where it is handled."""
    tracer, name = getattr(hook, "__self__", hook), getattr(hook, "__name__", "?")
    if (id(tracer), name) not in _told:
        if len(_told) >= MOST_TOLD:
            _told.clear()
        _told[id(tracer), name] = tracer  # kept, so that no other has its id
        logger.exception("%s() of a tracer, %s, failed; that is not logged again", name, type(tracer).__qualname__)
