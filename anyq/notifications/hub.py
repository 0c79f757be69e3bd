"""Notifications: who listens to which channel, and how each notification gets to every one of them.

Knows channels, LISTEN and UNLISTEN, and what transactions do to them. It reads from the connection only through
``Wire.attend``, so that there is no task behind it: a subscriber that waits reads for everyone. Must not know how a
subscriber takes what it is given.

Manual: "LISTEN", "NOTIFY", "Asynchronous Operations" (protocol-flow).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Protocol

from ..adapt.encodings import python_codec
from ..adapt.quoting import identifier_bytes
from ..backends import uninterrupted
from ..errors import Error, OperationalError
from ..protocol import frontend
from ..protocol.request import SimpleRequest
from ..session.cancelling import was_victim
from ..session.link import SMALL_CHUNK
from ..session.session import Session
from .generators import Generators
from .subscription import Notify, Receiver

logger = logging.getLogger("anyq")

CATCH_UP_PATIENCE = 4
"""Turns of the event loop without a notification taken after which a subscriber is not waited for."""


class Disconnection(Receiver):
    """One who waits for the end of the connection, which is an interruption to everyone else."""

    __slots__ = ()

    def is_satisfied(self) -> bool:
        return False


class Sink(Protocol):
    """What takes the notifications of channels: a subscription."""

    channels: Sequence[str]

    @property
    def surplus(self) -> int: ...

    def put(self, event: Notify, /) -> bool: ...

    def end(self, error: Callable[[], Exception] | None, /) -> None: ...


class _Listening(Enum):
    NOT_YET = "LISTEN has not been run, or its reply has not come"
    TENTATIVE = "LISTEN was run in a transaction, and is undone if that is rolled back"
    CERTAIN = "nothing but UNLISTEN ends it"


class _Channel:
    """A channel that somebody subscribes to."""

    __slots__ = ("listening", "sinks")

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.listening = _Listening.NOT_YET


class _ChannelRequest(SimpleRequest):
    """LISTEN and UNLISTEN; keeps the account of channels whoever reads the reply."""

    __slots__ = ("_hub", "in_transaction", "listens", "settles", "unlistens")

    def __init__(
        self, hub: NotificationHub, listens: dict[str, _Channel], unlistens: list[str], *, settles: bool
    ) -> None:
        # They take no time, so there is nothing to gain by cancelling them.
        super().__init__(cancellable=False)
        self._hub = hub
        self.listens = listens
        self.unlistens = unlistens
        self.settles = settles
        """Whether it is on behalf of subscribers that do not wait for it, so that they are to be told of an error."""
        self.in_transaction = False

    def finish(self) -> None:
        super().finish()
        self._hub.answered(self)

    def fresh_error(self) -> Error:
        """Return a new error like the server's: tasks must not share one and its traceback."""
        assert self.error is not None
        return type(self.error)(*self.error.args, fields=self.error.diag.fields)


@uninterrupted
class NotificationHub:
    """All that listens on one connection.

    LISTEN and UNLISTEN are part of the transaction that they are run in. So a channel that was listened to in one is
    listened to once more when it has ended, whichever way: there is no telling whether it was rolled back, to a
    savepoint or as a whole, and it costs one round trip. And a channel that nobody subscribes to any more is *stale*
    until no transaction is open, when UNLISTEN is run. Both is settled by whoever comes by: the task that ends the
    transaction, one that executes a statement, or one that waits for notifications.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        """The session that it listens on."""
        self._channels: dict[str, _Channel] = {}
        self._stale: set[str] = set()
        self.generators = Generators()
        self.handlers: list[Callable[[Notify], None]] = []

    @property
    def unsettled(self) -> bool:
        """Whether there is something to do when no transaction is open; who executes a statement looks."""
        return self.session.settle is not None

    @unsettled.setter
    def unsettled(self, value: bool) -> None:
        self.session.settle = self.settle if value else None

    @property
    def has_users(self) -> bool:
        """Whether anybody takes the notifications of a channel, or all."""
        return bool(self._channels or self.generators.running)

    # -- delivering

    def deliver(self, notify: Notify) -> None:
        """Give a notification to everyone who should have it."""
        if self.session.tracing is not None:
            self.session.tracing.tell_notification(*notify)
        channel = self._channels.get(notify.channel)
        if channel is not None:
            for sink in channel.sinks:
                if sink.put(notify):
                    self.session.wire.back_pressure = self._let_catch_up
        if self.handlers:
            for handler in tuple(self.handlers):
                try:
                    handler(notify)
                except Exception:
                    logger.exception("a notify handler failed: %r", handler)
        elif channel is None and notify.channel not in self._stale:
            # Only what nobody else takes is kept for a later notifies(), and nothing of what was left just now.
            self.generators.keep(notify)
        if self.generators.running:
            self.generators.put(notify)

    async def _let_catch_up(self) -> None:
        """Give subscribers that are taking the time to take their surplus before more is read.

        One that has taken nothing for some turns of the event loop does something else, and is not waited for: it must
        not hold up the others, nor the reply that the task that reads is waiting for.
        """
        wire = self.session.wire
        idle = 0
        surplus = self._surplus()
        while surplus and idle < CATCH_UP_PATIENCE and not wire.closed:
            await wire.backend.checkpoint()
            before, surplus = surplus, self._surplus()
            idle = 0 if surplus < before else idle + 1
        wire.back_pressure = None

    def _surplus(self) -> int:
        sinks = {id(sink): sink for channel in self._channels.values() for sink in channel.sinks}
        return sum(max(0, sink.surplus) for sink in sinks.values())

    def end(self) -> None:
        """Tell everyone that the connection is closed."""
        lost_error = self.session.wire.protocol.lost_error
        for channel in self._channels.values():
            for sink in channel.sinks:
                sink.end(lost_error)
        self.unsettled = False

    async def attend(self, receiver: Receiver) -> None:
        """Wait until a receiver has what it waits for or the connection is closed; settle channels meanwhile."""
        wire = self.session.wire
        receiver.is_interrupted = self._is_interrupted
        if self.session.transactions.pipelines:
            # Perhaps the NOTIFY that is waited for.
            with suppress(OperationalError):
                await self.session.transactions.flush_pipeline()
        while True:
            if self._is_due():
                await self.settle()
            await wire.attend(receiver)
            if receiver.is_satisfied() or wire.closed:
                return

    def _is_interrupted(self) -> bool:
        return self.session.closed or self._is_due()

    # -- subscriptions

    def add(self, sink: Sink) -> None:
        """Deliver to a subscription from now on; the server is to be told by :meth:`listen`."""
        self.session.wire.chunk = SMALL_CHUNK
        for name in sink.channels:
            self._channels.setdefault(name, _Channel()).sinks.append(sink)

    async def listen(self, names: Sequence[str]) -> None:
        """Have the server send the notifications of these channels, in the transaction that is open if one is."""
        wire = self.session.wire
        while True:
            await wire.turn()
            self._stale.difference_update(names)
            listens = {
                name: channel
                for name, channel in self._channels.items()
                if name in names and channel.listening is not _Listening.CERTAIN
            }
            if not listens:
                await wire.backend.checkpoint()
                return
            request = _ChannelRequest(self, listens, [], settles=False)
            request.in_transaction = wire.protocol.expects_transaction()
            await self._send(request, wire.run)
            if request.error is None:
                return
            if not was_victim(request):
                raise request.error

    async def leave(self, sink: Sink, *, wait: bool) -> None:
        """Deliver to a subscription no longer, and leave the channels that it was the last one of.

        :param wait: False on the way out of an error or a cancellation: then it waits no longer than a cancelled
            statement would, within the grace time.
        """
        self.forget(sink)
        wire = self.session.wire
        try:
            if wait:
                if self._is_due():
                    await self.settle()
                else:
                    await wire.backend.checkpoint()
        finally:
            # Where others are sending piece by piece, it is left to who comes by after that.
            if self._is_due() and not wire.sending:
                await self._settle_by(partial(wire.carry_out, wait=False))

    def forget(self, sink: Sink) -> None:
        """Do the same without telling the server; who comes by does that."""
        for name in sink.channels:
            channel = self._channels.get(name)
            if channel is None:
                continue
            # Whatever is not to be done any more has been done when this was interrupted.
            if sink in channel.sinks:
                channel.sinks.remove(sink)
            if not channel.sinks:
                self._stale.add(name)
                self.unsettled = True
                del self._channels[name]

    def _is_due(self) -> bool:
        wire = self.session.wire
        return self.unsettled and not wire.closed and not wire.protocol.expects_transaction()

    async def settle(self) -> None:
        """Make the server listen to what is subscribed to and nothing else, if no transaction is open.

        Raises no error: a subscription that the server does not listen for any more is told.
        """
        wire = self.session.wire
        # A closed connection is the end of it, and everybody has been told.
        with suppress(OperationalError):
            while self._is_due():
                await wire.turn()
                if self._is_due():
                    await self._settle_by(wire.run)

    async def _settle_by(self, run: Callable[[_ChannelRequest, bytearray], Awaitable[None]]) -> None:
        stale = set(self._stale)
        tentative = [c for c in self._channels.values() if c.listening is _Listening.TENTATIVE]
        try:
            request = self._settlement()
            await self._send(request, run)
        except (Exception, self.session.wire.backend.cancelled_exc_class):
            raise
        except BaseException:
            # Interrupted: it is not known whether it was sent, and it does no harm twice.
            self._stale |= stale.difference(self._channels)
            for channel in tentative:
                channel.listening = _Listening.TENTATIVE
            self.unsettled = not self.session.closed
            raise

    def _settlement(self) -> _ChannelRequest:
        tentative = {n: c for n, c in self._channels.items() if c.listening is _Listening.TENTATIVE}
        for channel in tentative.values():
            channel.listening = _Listening.NOT_YET
        stale = sorted(self._stale)
        self._stale.clear()
        self.unsettled = False
        return _ChannelRequest(self, tentative, stale, settles=True)

    async def _send(
        self, request: _ChannelRequest, run: Callable[[_ChannelRequest, bytearray], Awaitable[None]]
    ) -> None:
        text = b";".join(
            command + identifier_bytes(self.session.encoding, name)
            for command, names in ((b"LISTEN ", request.listens), (b"UNLISTEN ", request.unlistens))
            for name in names
        )
        data = bytearray()
        frontend.query(data, text)
        tracing = self.session.query_tracing
        if tracing is None:
            await run(request, data)
        else:

            async def sent() -> _ChannelRequest:
                await run(request, data)
                return request

            await tracing.observe("command", text, None, sent)

    def answered(self, request: _ChannelRequest) -> None:
        """Take note of the server's answer to LISTEN and UNLISTEN."""
        if request.error is None:
            in_transaction = request.in_transaction or self.session.wire.protocol.expects_transaction()
            for channel in request.listens.values():
                if not in_transaction:
                    channel.listening = _Listening.CERTAIN
                elif channel.listening is not _Listening.CERTAIN:
                    channel.listening = _Listening.TENTATIVE
                    self.unsettled = True
        elif request.settles and not self.session.closed:
            victim = was_victim(request)
            # One that was left meanwhile has no subscribers; who has entered it again is those of another one.
            for channel in request.listens.values():
                if victim:
                    channel.listening = _Listening.TENTATIVE
                else:
                    for sink in channel.sinks:
                        sink.end(request.fresh_error)
            self._stale.update(name for name in request.unlistens if name not in self._channels)
            self.unsettled = self.unsettled or victim

    # -- what can be sent

    def encodings(self) -> tuple[str, str]:
        """Return the Python codecs of the client's and of the server's encoding; limits count in the latter."""
        server = self.session.wire.protocol.parameters.get("server_encoding", "UTF8")
        return self.session.encoding, python_codec(server)
