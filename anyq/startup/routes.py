"""Routes: how a stream to a host is opened, and how one more to the same server.

Knows our own sockets with TLS on them, functions of the caller's that open streams, and streams that the caller has
opened. Must not know in which order hosts are tried, nor what is said over a stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.abc

from ..backends import Backend
from ..conninfo import ConnectOptions, HostSpec
from ..errors import OperationalError
from ..transport.channel import Channel
from ..transport.dialing import attempts, open_host, open_same
from ..transport.failures import DialError, Failure, place
from ..transport.socket import SocketStream, as_channel
from ..transport.watching import ConnectWatcher
from .cancel_request import Reopen
from .encryption import Encryption, start_encrypted

__all__ = ["CallersStream", "Dial", "DialRoute", "Route", "SocketRoute"]

T = TypeVar("T")

Dial = Callable[[HostSpec], Awaitable[anyio.abc.ByteStream]]
"""What opens a stream to a host, in place of our own sockets."""


class Route(ABC):
    """How to get to the servers of one `connect()`."""

    def hosts(self, options: ConnectOptions) -> list[HostSpec]:
        """Return the hosts to try, in order."""
        return attempts(options)

    def where(self, host: HostSpec, stream: SocketStream | None) -> str:
        """Return how messages name the server at the end of a stream; empty if that is not known."""
        return place(host, stream)

    @abstractmethod
    async def open(self, host: HostSpec, deadline: float) -> Channel:
        """Return a stream to a host.

        :param deadline: on anyio.current_time()'s clock.
        :raises Error: there is none.
        """

    @abstractmethod
    def reopener(self, host: HostSpec, channel: Channel) -> Reopen | None:
        """Return what opens one more stream to the same server, with TLS if `channel` has it; None if nothing can."""

    async def log_in(self, host: HostSpec, channel: Channel, log_in: Callable[[Channel], Awaitable[T]]) -> T:
        """Return what `log_in` does over a stream that was opened, which may be given TLS first.

        :param log_in: closes the stream that it is given if it fails.
        :raises LoginFailed: what `log_in` raises, or the reason of several attempts.
        :raises Error: it did not come that far.
        """
        return await log_in(channel)


class SocketRoute(Route):
    """Sockets of our own."""

    def __init__(
        self,
        options: ConnectOptions,
        backend: Backend,
        encryption: Encryption,
        watcher: ConnectWatcher | None = None,
    ) -> None:
        self._options = options
        self._backend = backend
        self._encryption = encryption
        self._watcher = watcher

    async def open(self, host: HostSpec, deadline: float) -> Channel:
        return await open_host(host, self._options, backend=self._backend, deadline=deadline, watcher=self._watcher)

    def reopener(self, host: HostSpec, channel: Channel) -> Reopen:
        assert isinstance(channel, SocketStream)
        peer = channel.peer

        async def reopen() -> Channel:
            stream = await open_same(peer, self._options, backend=self._backend)
            return stream if channel.tls is None else await self._encryption.start(stream, host, required=True)

        return reopen

    async def log_in(self, host: HostSpec, channel: Channel, log_in: Callable[[Channel], Awaitable[T]]) -> T:
        assert isinstance(channel, SocketStream)
        return await start_encrypted(
            channel, host, self._options, self._encryption, self._backend, log_in, self._watcher
        )


class DialRoute(Route):
    """Streams that a function of the caller's opens."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def open(self, host: HostSpec, deadline: float) -> Channel:
        with anyio.CancelScope(deadline=deadline):
            try:
                return as_channel(await self._dial(host))
            except OSError as error:
                raise DialError.of([Failure(host, None, str(error) or type(error).__name__)]) from error
        raise DialError.of([Failure(host, None, "dial() did not open a stream within connect_timeout", True)])

    def reopener(self, host: HostSpec, channel: Channel) -> Reopen:
        async def reopen() -> Channel:
            try:
                return as_channel(await self._dial(host))
            except Exception as error:
                # Whoever cancels a statement cannot know what the caller's function may raise.
                raise OperationalError(f"dial() could not open another stream: {error!r}") from error

        return reopen


class CallersStream(Route):
    """One stream that the caller has opened."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    def hosts(self, options: ConnectOptions) -> list[HostSpec]:
        # It leads to one server, whichever that is.
        return list(options.hosts[:1])

    def where(self, host: HostSpec, stream: SocketStream | None) -> str:
        return ""

    async def open(self, host: HostSpec, deadline: float) -> Channel:
        return as_channel(self._stream)

    def reopener(self, host: HostSpec, channel: Channel) -> None:
        return None
