"""ConnectWatcher: what is told, step by step, to whoever wants to know how a connection is made.

Knows the names of the steps. Must not know what is made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..conninfo import HostSpec
from .channel import TlsState
from .socket import Address

__all__ = ["ConnectWatcher"]


class ConnectWatcher(Protocol):
    """Is called in the event loop that connects, at the beginning of a step and at its end. It must not wait nor raise.

    A step that has no end was cancelled, by a time limit, or because another address was faster; or it has failed, and
    :meth:`failed` tells why.
    """

    def resolving(self, host: HostSpec) -> None:
        """The addresses of a host are to be found; nothing is looked up for numbers and Unix sockets."""

    def resolved(self, host: HostSpec, addresses: Sequence[Address]) -> None:
        """Tell the addresses of a host, in the order in which they are tried."""

    def dialing(self, address: Address) -> None:
        """An address is tried; several may be at a time."""

    def dialed(self, address: Address, error: OSError | None) -> None:
        """An address has accepted, or not."""

    def securing(self) -> None:
        """TLS is to be begun on the address that has accepted."""

    def secured(self, tls: TlsState | None) -> None:
        """TLS is there; or the server has none, and none is needed."""

    def logging_in(self, version: int) -> None:
        """A session is to be begun, in a version of the protocol."""

    def authenticating(self, method: str) -> None:
        """The server wants a proof by a method, which is about to be given. For some methods it asks for nothing."""

    def logged_in(self) -> None:
        """A session has begun; whether it suits is still to be seen."""

    def failed(self, error: Exception) -> None:
        """A step has failed, and what comes next is another attempt, or the end."""
