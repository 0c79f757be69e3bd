"""Opening: how a pool gets a connection, and goes on trying while a server cannot be reached.

Where an attempt fails one task tries again, after pauses that get longer, and no other begins to. After
`reconnect_timeout` it gives up: those who wait are told, and the next one who asks has it tried again.

Knows connections and callbacks. Must not know clients.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any
from weakref import ref

import anyio

from ..backends import Finalizer, uninterrupted
from ..connection import GRACE_PERIOD, AsyncConnection
from ..errors import ProgrammingError
from ..protocol.constants import TransactionStatus
from ..session.link import SOMETHING
from ..session.wire import Wire
from ..tracing.telling import opening_pool
from .bookkeeping import Place
from .cleaning import Settings
from .engine import Engine
from .errors import PoolTimeout, told_by
from .following import followed
from .options import Hooks, Options

logger = logging.getLogger("anyq.pool")

FIRST_PAUSE = 0.05
"""Seconds before the second attempt; then twice as long each time."""
LONGEST_PAUSE = 0.5
"""Seconds, so that a pool has connections within a second of the server's return."""
JITTER = 0.05
"""By which part a connection lives shorter than `max_lifetime`, at most: those of one moment do not end at one."""
MOST_CHUNKS = 10
"""How much of what has arrived is looked at; what a server says at the end of a session is one, and its end another."""


@uninterrupted
class Opener:
    """How one pool opens connections.

    :param make_place: makes the place of a connection, which knows it.
    """

    def __init__(
        self, pool: object, engine: Engine, hooks: Hooks, options: Options, make_place: Callable[..., Any]
    ) -> None:
        self._pool = ref(pool)
        self._engine = engine
        self._hooks = hooks
        self._options = options
        self._make_place = make_place
        self._name = options.name
        self._outage_since: float | None = None
        self._last_tried = float("-inf")
        self._failures = 0  # attempts in a row that have failed; those that have begun at the same time are one
        self._last_error: BaseException | None = None
        self.unfit: str | None = None  # why the last connection that was checked did not pass; None if it did
        self._if_dropped = partial(_dropped, ref(engine))

    def timed_out(self, what: str, timeout: float) -> PoolTimeout:
        """Return the error for one who has waited in vain; it tells why, if that is known."""
        books = self._engine.books
        held = f"; clients have {len(books.out)} of {books.size}" if books.out else ""
        reason = "" if self.unfit is None else f"; one did not pass its check: {self.unfit}"
        if self._last_error is not None:
            reason = f"; opening one has failed: {told_by(self._last_error)}"
        error = PoolTimeout(f"the pool {self._name!r} {what} within {timeout:g} s{held}{reason}")
        error.__cause__ = self._last_error
        return error

    async def open_one(self) -> None:
        """Open a connection, and try again while that fails and one is wanted.

        A cancellation leaves that to others.
        """
        books = self._engine.books
        place: Place | None = None
        mine = False  # whether it is this task that tries again
        pause: float | None = 0.0
        try:
            await self._engine.here().checkpoint_if_cancelled()
            if books.opening == 1 and monotonic() - self._last_tried > 2 * LONGEST_PAUSE:
                self._outage_since = None  # nobody has tried for a while
            while place is None and books.is_open:
                try:
                    place = await self._open()
                except Exception as error:
                    self._has_failed(error)
                    if books.retrying and not mine:
                        return
                    books.retrying = mine = True
                    pause = self._next_pause()
                    if pause is None:
                        break
                    await anyio.sleep(pause)
                    if not books.wants_more():
                        return
        finally:
            if mine:
                books.retrying = False
            if place is None:
                books.opening -= 1
            else:
                self._outage_since = self._last_error = None
                books.opened(place, monotonic())
            if mine and pause is None:
                self._give_up()
            self._last_tried = monotonic()
            self._engine.settle()
        if mine and pause is None:
            await self._tell_failed()

    async def _open(self) -> Place:
        options = self._options
        counters = self._engine.books.counters
        counters.connections_num += 1
        began = monotonic()
        token = opening_pool.set(self._name)
        try:
            with anyio.fail_after(options.timeout):
                connection = await self._hooks.connect(options)
        finally:
            opening_pool.reset(token)
        inner = self._hooks.inner(connection)
        try:
            with anyio.fail_after(options.timeout):
                asked = monotonic()
                await inner.session.wire.catch_up()
                self._engine.round_trip = min(self._engine.round_trip, monotonic() - asked)
                await self.configure(connection)
            if not is_alive(inner):
                raise inner.session.wire.protocol.closed_error()
            target = await followed(inner)
        except BaseException:
            inner.session.wire.close()
            raise
        now = monotonic()
        counters.connections_time += now - began
        lifetime = options.max_lifetime * random.uniform(1 - JITTER, 1)
        inner.pooled = place = self._make_place(connection, now, now + lifetime)
        assert isinstance(place, Place)
        place.settings = Settings(inner, connection)
        place.followed = target
        inner.session.composer.statements.changes_session = False
        inner.if_forgotten.call_off()  # this one says it
        Finalizer(connection, self._if_dropped, place.key, ref(inner.session.wire))
        return place

    async def configure(self, connection: Any) -> None:
        """Have the user's `configure` called with a connection.

        :raises ProgrammingError: it has left a transaction open.
        """
        configure = self._options.configure
        if configure is not None:
            await self._hooks.call(configure, connection)
            check_idle("configure", self._hooks.inner(connection))

    def _has_failed(self, error: Exception) -> None:
        self._engine.books.counters.connections_errors += 1
        logger.warning("%r could not open a connection: %s", self._name, told_by(error))
        self._last_error = error

    def _next_pause(self) -> float | None:
        """Return how long the one who tries again is to wait before that, None to give up."""
        now = monotonic()
        if self._outage_since is None:
            self._outage_since = now
            self._failures = 0
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE) * random.uniform(0.8, 1.0)
        self._failures = min(self._failures + 1, 16)
        return None if now + pause - self._outage_since > self._options.reconnect_timeout else pause

    def _give_up(self) -> None:
        seconds = self._options.reconnect_timeout
        logger.error("%r gives up reaching a server after %g s", self._name, seconds)
        for ticket in self._engine.books.given_up():
            ticket.fail(self.timed_out("could not reach a server", seconds))
        self._outage_since = None

    async def _tell_failed(self) -> None:
        failed = self._options.reconnect_failed
        if failed is not None:
            # Without a block this is the task of a client, which goes on as it has been told.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GRACE_PERIOD):
                try:
                    await self._hooks.call(failed, self._pool())
                except Exception:
                    logger.exception("reconnect_failed of %r has failed", self._name)


@uninterrupted
def is_alive(inner: AsyncConnection[Any]) -> bool:
    """Return whether a connection is not known to be lost, having looked at what has arrived."""
    wire = inner.session.wire
    for _ in range(MOST_CHUNKS):
        if wire.poll() is not SOMETHING:
            break
    return not wire.closed


def check_idle(what: str, inner: AsyncConnection[Any]) -> None:
    """Check that a callback has left a connection as it has to be.

    :raises ProgrammingError: it has left a transaction open.
    """
    status = inner.session.transaction_status
    if not inner.closed and status is not TransactionStatus.IDLE:
        raise ProgrammingError(
            f"{what} has left a transaction open ({status.name}): end it there, or use autocommit for the connection"
        )


def _dropped(engine: ref[Engine], key: object, wire: ref[Wire]) -> None:
    """Take note that a connection was dropped, maybe by a client; in any thread."""
    owner = engine()
    if owner is None or key not in owner.books.out:
        return
    owner.here().call_there(partial(_lost, owner, key, wire))
    text = f"a connection of the pool {owner.name!r} was dropped and not returned"
    warnings.warn(f"{text}; use a block of its connection(), or putconn()", ResourceWarning, stacklevel=2)


def _lost(engine: Engine, key: object, wire: ref[Wire]) -> None:
    if engine.books.lost(key):
        logger.warning("a connection of %r was dropped and not returned", engine.name)
        left = wire()
        if left is not None:
            left.close()
        engine.settle_from_outside()
