"""What the wire needs of a connection: `Channel`.

A channel never blocks in `try_send()` and `try_receive()`, and has one place to sleep, `wait()`. That order
(try first, wait only if it would block) is what makes a short query cost little more than two system calls.

Knows: bytes in, bytes out. Must not know: sockets, event loops, the wire protocol.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Buffer", "Channel", "TlsState"]

Buffer: TypeAlias = "bytes | bytearray | memoryview"


@dataclass(frozen=True, slots=True)
class TlsState:
    """What was negotiated with the server."""

    attributes: Mapping[str, str]
    """The facts by the names that libpq's PQsslAttribute() has for them."""
    certificate: bytes | None
    """The server's, in DER."""
    verified: bool
    """Whether the certificate was checked against trusted ones."""
    certificate_requested: bool
    """Whether the server asked for ours, where that is watched."""
    certificate_sent: bool = False
    """Whether it was asked for, and there was one."""


class Channel(ABC):
    """A two-way stream of bytes that can be tried without blocking. One task at a time may `wait()`."""

    closes_at_once = True
    """Whether `close_now()` is all there is to do; otherwise `aclose()` must be awaited, sooner or later."""

    tls: TlsState | None = None
    """What TLS has negotiated; None in clear. Of TLS in a stream of the caller's nothing is known."""

    @abstractmethod
    def try_send(self, data: Buffer) -> int:
        """Send as much of `data` as is possible without blocking.

        :returns: the number of bytes taken; 0 means that it would block.
        :raises anyio.BrokenResourceError: the connection is lost; its `__cause__` tells why.
        :raises anyio.ClosedResourceError: the channel was closed on this side.
        """

    @abstractmethod
    def try_receive(self, max_bytes: int) -> bytes | None:
        """Return up to `max_bytes` bytes that have arrived, None if it would block, b"" at end of file.

        :raises anyio.BrokenResourceError: the connection is lost; its `__cause__` tells why.
        :raises anyio.ClosedResourceError: the channel was closed on this side.
        """

    @abstractmethod
    def try_receive_into(self, view: memoryview) -> int | None:
        """Fill `view`, which must not be empty, with bytes that have arrived.

        :returns: the number of bytes written to `view`, None if it would block, 0 at end of file.
        :raises anyio.BrokenResourceError: the connection is lost; its `__cause__` tells why.
        :raises anyio.ClosedResourceError: the channel was closed on this side.
        """

    def readable_within(self, seconds: float) -> bool:
        """Return whether something has arrived within that time, which this thread spends looking for it.

        To be called when `try_receive()` has just returned None; that may do so once more, for half a record of TLS.
        A channel that cannot tell returns False at once.
        """
        return False

    # Not a coroutine function, so that an implementation may just hand on what is to be awaited at once.
    @abstractmethod
    def wait(self, readable: bool, writable: bool) -> Awaitable[None]:
        """Wait until the channel is in any of the states asked for.

        May also return for no reason: try the operation, and wait again if it would still block. A lost
        connection counts as both states, and the attempt then raises. Always a checkpoint. What a
        cancellation leaves behind is told by each kind of channel.

        :param readable: wait for data, end of file or an error.
        :param writable: wait until more can be sent, or for an error.
        :raises anyio.BusyResourceError: another task is waiting here.
        :raises anyio.ClosedResourceError: the channel was closed on this side, before or meanwhile.
        :raises ValueError: neither state was asked for.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make the wait of the moment return; does nothing if nobody waits. No data is lost."""

    @abstractmethod
    def fileno(self) -> int:
        """Return a file descriptor that is readable whenever the connection is, for the user to wait on.

        It is a duplicate: registering it with `selectors`, `loop.add_reader()` or trio does not clash with
        what the event loop has registered for this channel. The channel owns it and closes it.

        :raises anyio.ClosedResourceError: the channel was closed on this side.
        :raises OSError: there is no socket below this channel.
        """

    @abstractmethod
    def close_now(self) -> None:
        """Close the channel without blocking, idempotent. A waiting task gets ClosedResourceError."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the channel, idempotent; always a checkpoint. Cancelled or not, it is closed afterwards."""
