"""A tracer that keeps what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from anyq.tracing import (
    TracedCancellation,
    TracedCheckout,
    TracedConnect,
    TracedCopy,
    TracedNotification,
    TracedQuery,
    Tracer,
)

whose: ContextVar[str] = ContextVar("whose", default="nobody's")
"""What a recorder notes of the context that it is called in."""


class Told(NamedTuple):
    """One call of a hook."""

    hook: str
    what: Any
    error: BaseException | None = None
    whose: str = ""


class Recorder(Tracer):
    """Keeps what it is told, in order, and asserts that each end belongs to its beginning."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._open: list[object] = []

    # -- for tests

    def clear(self) -> None:
        self.told.clear()

    def ended(self, *what: str) -> list[Any]:
        """Return what has come to an end, well or not, in the order of the ends."""
        names = what or ("query", "copy")
        return [told.what for told in self.told if told.hook in [f"{n}_{p}" for n in names for p in ("end", "error")]]

    def texts(self, *, without: Sequence[str] = ("command",)) -> list[str]:
        """Return the texts of what has come to an end."""
        return [query.sql for query in self.ended() if query.kind not in without]

    def only(self, hook: str) -> Told:
        """Return what a hook was told, once."""
        (told,) = [told for told in self.told if told.hook == hook]
        return told

    def check_closed(self) -> None:
        """Assert that whatever was begun has come to its end."""
        assert self._open == []

    # -- the hooks

    def _begin(self, hook: str, what: Any) -> object:
        state = object()
        self._open.append(state)
        self.told.append(Told(hook, what, None, whose.get()))
        return state

    def _end(self, hook: str, what: Any, state: object, error: BaseException | None = None) -> None:
        self._open.remove(state)
        self.told.append(Told(hook, what, error, whose.get()))

    def on_connect_start(self, connect: TracedConnect, /) -> Any:
        return self._begin("connect_start", connect)

    def on_connect_end(self, connect: TracedConnect, state: Any, /) -> None:
        self._end("connect_end", connect, state)

    def on_connect_error(self, connect: TracedConnect, state: Any, error: BaseException, /) -> None:
        self._end("connect_error", connect, state, error)

    def on_query_start(self, query: TracedQuery, /) -> Any:
        return self._begin("query_start", query)

    def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
        self._end("query_end", query, state)

    def on_query_error(self, query: TracedQuery, state: Any, error: BaseException, /) -> None:
        self._end("query_error", query, state, error)

    def on_copy_start(self, copy: TracedCopy, /) -> Any:
        return self._begin("copy_start", copy)

    def on_copy_end(self, copy: TracedCopy, state: Any, /) -> None:
        self._end("copy_end", copy, state)

    def on_copy_error(self, copy: TracedCopy, state: Any, error: BaseException, /) -> None:
        self._end("copy_error", copy, state, error)

    def on_checkout_start(self, checkout: TracedCheckout, /) -> Any:
        return self._begin("checkout_start", checkout)

    def on_checkout_end(self, checkout: TracedCheckout, state: Any, /) -> None:
        self._end("checkout_end", checkout, state)

    def on_checkout_error(self, checkout: TracedCheckout, state: Any, error: BaseException, /) -> None:
        self._end("checkout_error", checkout, state, error)

    def on_checkin(self, checkout: TracedCheckout, /) -> None:
        self.told.append(Told("checkin", checkout, None, whose.get()))

    def on_notification(self, notification: TracedNotification, /) -> None:
        self.told.append(Told("notification", notification, None, whose.get()))

    def on_cancellation(self, cancellation: TracedCancellation, /) -> None:
        self.told.append(Told("cancellation", cancellation, None, whose.get()))
