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
from typing import Any

from .query_log import QueryLog, query_logger
from .told import (
    Timed,
    TracedCancellation,
    TracedCheckout,
    TracedNotification,
)
from .tracer import NOTHING, Tracer, watching

logger = logging.getLogger("anyq.tracing")

MOST_TOLD = 100
"""Hooks that have failed of which it is known that it was logged: what they belong to is kept meanwhile."""

_PHASES = "start", "end", "error"

call_context: ContextVar[Callable[[], Context | None]] = ContextVar("anyq_call_context")
"""For this package: what returns, in a task that does something for a thread, the context of the thread's call."""


opening_pool: ContextVar[str | None] = ContextVar("anyq_opening_pool", default=None)
"""For this package: the name of the pool that opens a connection now."""


def calling_context() -> Context | None:
    """For this package: return the context of the thread's call that this task is at work on; None for no such call."""
    of_call = call_context.get(None)
    return None if of_call is None else of_call()


class Phases:
    """For this package: the hooks of some tracers for one kind of thing that begins and ends.

    Of a single tracer they are its own, which is the usual case; what they raise is for the caller to see to. One that
    would do nothing is None.
    """

    __slots__ = ("end", "error", "heard", "start")

    def __init__(self, tracers: Sequence[Tracer], what: str) -> None:
        self.start: Callable[[Any], Any] | None
        self.end: Callable[[Any, Any], None] | None
        self.error: Callable[[Any, Any, BaseException], None] | None
        names = [f"on_{what}_{phase}" for phase in _PHASES]
        of_each = [[hook_of(tracer, name) for name in names] for tracer in tracers]
        found = [hooks for hooks in of_each if any(hook is not None for hook in hooks)]
        self.heard = bool(found)
        """Whether anybody listens."""
        if len(found) <= 1:
            self.start, self.end, self.error = found[0] if found else (None, None, None)
        else:
            several = _Several(found)
            self.start, self.end, self.error = several.start, several.end, several.error

    def begin(self, event: Timed, context: Context | None = None) -> Running:
        """Tell that something begins, and return what its end is told by.

        :param context: where the hooks are called; None for where they are.
        """
        start, state = self.start, None
        if start is not None:
            try:
                state = start(event) if context is None else context.run(start, event)
            except Exception:
                failed(start)
        event.began = perf_counter()
        running = Running.__new__(Running)  # which does not take the time that a call of __init__ does
        running.set_up(event, self, context, state)
        return running


class Running:
    """For this package: something that has begun, and is to be told of once more."""

    __slots__ = ("_context", "_phases", "_state", "event")

    def set_up(self, event: Any, phases: Phases, context: Context | None, state: Any) -> None:
        """Have something that has just begun."""
        self.event = event
        """What is told of it."""
        self._phases: Phases | None = phases
        self._context = context
        self._state = state

    def end(self) -> None:
        """Tell that it has ended well; nothing if its end was told."""
        phases, self._phases = self._phases, None
        if phases is not None:
            event: Timed = self.event
            event.seconds = perf_counter() - event.began
            end, context = phases.end, self._context
            if end is not None:
                try:
                    if context is None:
                        end(event, self._state)
                    else:
                        context.run(end, event, self._state)
                except Exception:
                    failed(end)

    def fail(self, error: BaseException) -> None:
        """Tell that it has failed; nothing if its end was told."""
        phases, self._phases = self._phases, None
        if phases is not None:
            event: Timed = self.event
            event.seconds = perf_counter() - event.began
            if phases.error is not None:
                call(phases.error, self._context, event, self._state, error)


class _Several:
    """The hooks of several tracers as those of one.

    :param hooks: the three of each of them.
    """

    def __init__(self, hooks: Sequence[Sequence[Callable[..., Any] | None]]) -> None:
        self._starts, self._ends, self._errors = zip(*hooks, strict=True)

    def start(self, event: Any) -> list[Any]:
        states: list[Any] = []
        try:
            for start in self._starts:
                state = None
                if start is not None:
                    try:
                        state = start(event)
                    except Exception:
                        failed(start)
                states.append(state)
        except BaseException as error:
            # An interrupt: of those who were told that it begins none waits for its end for ever.
            self.error(event, states, error)
            raise
        return states

    def end(self, event: Any, states: list[Any]) -> None:
        for end, state in zip(self._ends, states, strict=True):
            if end is not None:
                call(end, None, event, state)

    def error(self, event: Any, states: list[Any], error: BaseException) -> None:
        for fail, state in zip(self._errors, states, strict=False):
            if fail is not None:
                call(fail, None, event, state, error)


class Tracing:
    """For this package: the tracers of one connection or pool."""

    def __init__(self, tracers: Sequence[Tracer]) -> None:
        self.connect = Phases(tracers, "connect")
        self.query = Phases(tracers, "query")
        self.copy = Phases(tracers, "copy")
        self.checkout = Phases(tracers, "checkout")
        self._tracers = tracers
        self._on_checkin = _hooks(tracers, "on_checkin")
        self._on_notification = _hooks(tracers, "on_notification")
        self._on_cancellation = _hooks(tracers, "on_cancellation")
        self.hears_clients = self.checkout.heard or bool(self._on_checkin)
        """Whether anybody listens to what clients of a pool do."""
        self.hears_notifications = bool(self._on_notification)

    def tell_checkin(self, checkout: TracedCheckout, context: Context | None) -> None:
        """Tell that a connection has come back."""
        for hook in self._on_checkin:
            call(hook, context, checkout)

    def tell_notification(self, notification: TracedNotification) -> None:
        """Tell of a notification."""
        for hook in self._on_notification:
            call(hook, None, notification)

    def tell_cancellation(self, cancellation: TracedCancellation) -> None:
        """Tell of a CancelRequest."""
        for hook in self._on_cancellation:
            call(hook, None, cancellation)


def hook_of(tracer: Tracer, name: str) -> Callable[..., Any] | None:
    """For this package: return a hook; None for the one that every tracer inherits, which does nothing."""
    hook: Callable[..., Any] = getattr(tracer, name)
    return None if getattr(hook, "__func__", None) is NOTHING[name] else hook


def _hooks(tracers: Sequence[Tracer], name: str) -> list[Callable[..., Any]]:
    return [hook for hook in (hook_of(tracer, name) for tracer in tracers) if hook is not None]


def tracing_of(tracer: Tracer | None) -> Tracing | None:
    """For this package: return what tells the tracers of a connection or pool that is made now; None if nobody watches.

    :param tracer: its own, beside those that are installed.
    :raises TypeError: it is none.
    """
    tracers = watching(tracer)
    if query_logger.isEnabledFor(logging.DEBUG) and not any(isinstance(other, QueryLog) for other in tracers):
        tracers = (*tracers, QueryLog())
    return Tracing(tracers) if tracers else None


_told: dict[tuple[int, object], object] = {}


def call(hook: Callable[..., Any], context: Context | None, *args: Any) -> None:
    """For this package: call a hook."""
    try:
        hook(*args) if context is None else context.run(hook, *args)
    except Exception:
        failed(hook)


def failed(hook: Callable[..., Any]) -> None:
    """For this package: log what a hook raises, the first time; to be called where it is handled."""
    tracer, name = getattr(hook, "__self__", hook), getattr(hook, "__name__", "?")
    function = getattr(hook, "__func__", None)
    # Of a method not the name: decorators may have given the same one to several.
    known = id(tracer), name if function is None else id(function)
    if known not in _told:
        if len(_told) >= MOST_TOLD:
            _told.clear()
        _told[known] = hook  # kept, so that no other has its id
        logger.exception("%s() of a tracer, %s, failed; that is not logged again", name, type(tracer).__qualname__)
