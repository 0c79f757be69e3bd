"""Tracer: the methods by which those who watch are told; and which tracers watch whatever is made.

Knows names of methods. Must not know when they are called.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

from .told import (
    TracedCancellation,
    TracedCheckout,
    TracedConnect,
    TracedCopy,
    TracedNotification,
    TracedQuery,
)


class Tracer(Protocol):
    """What is told of queries, connections and pools; to be subclassed, as its methods do nothing.

    They are plain functions, called where the thing happens, so they should be quick. What a ``..._start`` returns is
    given to the ``..._end`` or ``..._error`` that belongs to it, of which exactly one follows. The errors are those
    that the program gets, a cancellation's among them.
    """

    def on_connect_start(self, connect: TracedConnect, /) -> Any:
        """Be told that a connection is going to be made; neither where to nor by which password is known yet."""
        return None

    def on_connect_end(self, connect: TracedConnect, state: Any, /) -> None:
        """Be told that it was made."""
        return None

    def on_connect_error(self, connect: TracedConnect, state: Any, error: BaseException, /) -> None:
        """Be told that it was not."""
        return None

    def on_query_start(self, query: TracedQuery, /) -> Any:
        """Be told that a statement is going to be run."""
        return None

    def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
        """Be told that it has come to its end, or that the rest of its rows is not wanted (its tag is None then)."""
        return None

    def on_query_error(self, query: TracedQuery, state: Any, error: BaseException, /) -> None:
        """Be told that it has failed."""
        return None

    def on_copy_start(self, copy: TracedCopy, /) -> Any:
        """Be told that a COPY is going to be run, of which ``on_query_start`` is not told."""
        return None

    def on_copy_end(self, copy: TracedCopy, state: Any, /) -> None:
        """Be told that it has come to its end, or that the rest of its data is not wanted (its tag is None then)."""
        return None

    def on_copy_error(self, copy: TracedCopy, state: Any, error: BaseException, /) -> None:
        """Be told that it has failed, or was given up."""
        return None

    def on_checkout_start(self, checkout: TracedCheckout, /) -> Any:
        """Be told that somebody wants a connection of a pool."""
        return None

    def on_checkout_end(self, checkout: TracedCheckout, state: Any, /) -> None:
        """Be told that he has it."""
        return None

    def on_checkout_error(self, checkout: TracedCheckout, state: Any, error: BaseException, /) -> None:
        """Be told that he does not get one."""
        return None

    def on_checkin(self, checkout: TracedCheckout, /) -> None:
        """Be told that he has given it back."""
        return None

    def on_notification(self, notification: TracedNotification, /) -> None:
        """Be told of a notification that has come."""
        return None

    def on_cancellation(self, cancellation: TracedCancellation, /) -> None:
        """Be told that a CancelRequest was sent, or could not be."""
        return None


NOTHING = {name: hook for name, hook in vars(Tracer).items() if name.startswith("on_")}
"""For this package: the hooks that do nothing, by their names; what a program puts in their place does something."""

_installed: tuple[Tracer, ...] = ()


def install(tracer: Tracer) -> None:
    """Have a tracer watch all connections and pools that are made from now on; again, nothing.

    :raises TypeError: it lacks a method, or one is a coroutine function.
    """
    global _installed
    check_tracer(tracer)
    if not any(other is tracer for other in _installed):
        _installed = (*_installed, tracer)


def uninstall(tracer: Tracer) -> None:
    """Have it watch no more of them; those that are there go on being watched.

    :raises ValueError: it was not installed.
    """
    global _installed
    if not any(other is tracer for other in _installed):
        raise ValueError(f"it was not installed: {tracer!r}")
    _installed = tuple(other for other in _installed if other is not tracer)


@contextmanager
def installed(tracer: Tracer) -> Generator[None]:
    """Have a tracer installed while a block lasts."""
    install(tracer)
    try:
        yield
    finally:
        uninstall(tracer)


def check_tracer(tracer: object) -> None:
    """Look whether something can be told what there is to tell.

    :raises TypeError: it cannot.
    """
    missing = [name for name in NOTHING if not callable(getattr(tracer, name, None))]
    if missing or isinstance(tracer, type):
        why = "it is a class" if isinstance(tracer, type) else f"it lacks {', '.join(missing)}"
        raise TypeError(f"a tracer is an object of a subclass of anyq.tracing.Tracer, not {tracer!r:.100}: {why}")
    for name in NOTHING:
        if inspect.iscoroutinefunction(getattr(tracer, name)):
            raise TypeError(f"{name}() of a tracer is called where nothing can be awaited: make it a plain function")


def watching(tracer: Tracer | None) -> tuple[Tracer, ...]:
    """For this package: return those who watch a connection or pool that is made now.

    :param tracer: its own, beside those that are installed.
    :raises TypeError: it is none.
    """
    if tracer is None:
        return _installed
    check_tracer(tracer)
    return _installed if any(other is tracer for other in _installed) else (*_installed, tracer)
