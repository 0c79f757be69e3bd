"""From connection options to an open stream: hosts in order, name resolution, all addresses, time limits.

A host is one attempt as far as `connect_timeout` is concerned, and may have many addresses: they are raced as
in RFC 8305 ("Happy Eyeballs"). Whoever logs in over the stream goes on to the next host if that fails, so
there is a function for each step: `attempts()` gives the hosts, `open_host()` a stream to one of them, and
`failures.combine_errors()` the one error that tells of all that failed.

Knows: sockets, the options of a connection. Must not know: the wire protocol, passwords.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import random
import socket
import sys
from collections.abc import Sequence
from typing import Any

import anyio

from ..backends import Backend, current_backend
from ..conninfo import ConnectOptions, HostSpec
from ..errors import OperationalError
from .failures import DialError, Failure, explain, numeric_address, show_address
from .peer_credentials import check_peer
from .socket import Address, SocketStream
from .watching import ConnectWatcher

__all__ = ["attempts", "connect", "host_deadline", "interleave", "open_host", "open_same"]

_STAGGER = 0.25
"""Seconds until the next address is tried beside those that have not answered (RFC 8305, section 5)."""

_FULL_BACKLOG_DELAYS = (0.01, 0.25)
"""Seconds between attempts at a Unix socket whose queue is full: at first, and at most."""

_CONNECTING = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)
"""What connect() says of a TCP connection that is under way; the last is Windows' first answer."""

_INT_MAX = 2**31 - 1
"""The greatest value that a socket option can have."""


def attempts(options: ConnectOptions) -> list[HostSpec]:
    """Return the hosts in the order in which to try them, which is a random one with load_balance_hosts."""
    hosts = list(options.hosts)
    if options.load_balance_hosts:
        random.shuffle(hosts)
    return hosts


def host_deadline(options: ConnectOptions) -> float:
    """Return until when a host that is tried now must be connected, on anyio.current_time()'s clock."""
    return math.inf if options.connect_timeout is None else anyio.current_time() + options.connect_timeout


async def open_host(
    host: HostSpec,
    options: ConnectOptions,
    *,
    backend: Backend | None = None,
    deadline: float | None = None,
    watcher: ConnectWatcher | None = None,
) -> SocketStream:
    """Return a stream to one host: to its Unix socket, or the first of its addresses that accepts.

    Always a checkpoint. A cancellation leaves no socket behind. A name resolution that is under way goes on
    in its worker thread, and its result is dropped.

    :param deadline: on anyio.current_time()'s clock, for a caller whose own time limit goes beyond this
        step; `host_deadline(options)` if left out.
    :raises DialError: the host could not be reached.
    """
    backend = backend or current_backend()
    await backend.checkpoint()
    dialer = _HostDialer(host, options, backend, watcher)
    with anyio.CancelScope(deadline=host_deadline(options) if deadline is None else deadline):
        return await dialer.run()
    raise dialer.timed_out()


async def open_same(
    peer: Address,
    options: ConnectOptions | None = None,
    *,
    backend: Backend | None = None,
    watcher: ConnectWatcher | None = None,
) -> SocketStream:
    """Return a new stream to the address of another one (its `peer`), as a CancelRequest needs.

    Never another server that the same name leads to. Always a checkpoint, and without a time limit: that is
    the caller's. A cancellation leaves no socket behind.

    :raises OperationalError: the address could not be reached.
    """
    backend = backend or current_backend()
    await backend.checkpoint()
    if watcher is not None:
        watcher.dialing(peer)
    try:
        stream = await connect(peer, options, backend)
    except OSError as error:
        if watcher is not None:
            watcher.dialed(peer, error)
        raise OperationalError(f"connection to {show_address(peer)} failed: {explain(error, peer[0])}") from error
    if watcher is not None:
        watcher.dialed(peer, None)
    return stream


class _HostDialer:
    """The attempt at one host: what is being tried, what has failed, who has won."""

    def __init__(
        self, host: HostSpec, options: ConnectOptions, backend: Backend, watcher: ConnectWatcher | None
    ) -> None:
        self._host = host
        self._options = options
        self._backend = backend
        self._watcher = watcher
        self._failures: list[Failure] = []
        self._last_error: OSError | None = None
        self._resolving = False
        self._trying: dict[Address, None] = {}
        self._winner: SocketStream | None = None

    async def run(self) -> SocketStream:
        if self._watcher is not None:
            self._watcher.resolving(self._host)
        try:
            addresses = await self._addresses()
        except (OSError, ValueError) as error:  # ValueError: what cannot be a host name, such as "a..b"
            self._resolving = False
            raise self._failed(None, error) from error
        if self._watcher is not None:
            self._watcher.resolved(self._host, addresses)
        if len(addresses) == 1:
            await self._try(addresses[0])
        else:
            await self._race(addresses)
        if self._winner is None:
            raise DialError.of(self._failures) from self._last_error
        return self._winner

    def timed_out(self) -> DialError:
        """Return the error for a deadline that passed, with what was under way."""
        limit = self._options.connect_timeout
        reason = "no answer in time" if limit is None else f"no answer within {limit:g} s (connect_timeout)"
        if self._resolving:
            reason += " from name resolution; check the name servers"
        else:
            reason += "; check the address, and whether a firewall drops the packets"
        # Nothing was under way if the deadline had passed before.
        unfinished = [numeric_address(address) for address in self._trying] or [None]
        return DialError.of([*self._failures, *(Failure(self._host, address, reason, True) for address in unfinished)])

    def _failed(self, address: Address | None, error: Exception) -> DialError:
        family = None if address is None else address[0]
        numeric = None if address is None else numeric_address(address)
        timed_out = isinstance(error, TimeoutError)  # the system's own patience, ETIMEDOUT
        self._failures.append(Failure(self._host, numeric, explain(error, family), timed_out))
        return DialError.of(self._failures)

    async def _addresses(self) -> list[Address]:
        path = self._host.socket_path
        if path is not None:
            if not hasattr(socket, "AF_UNIX"):
                raise OSError("Python has no Unix sockets on this platform: use host=localhost")
            return [(socket.AF_UNIX, "\0" + path[1:] if path.startswith("@") else path)]
        name = self._host.hostaddr or self._host.host
        if _is_numeric(name):
            # Looks nothing up, so it does not block.
            found: Sequence[tuple[Any, ...]] = socket.getaddrinfo(
                name, self._host.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        else:
            self._resolving = True
            found = await anyio.getaddrinfo(name, self._host.port, type=socket.SOCK_STREAM)
            self._resolving = False
        # Duplicates come from a hosts file with several lines for a name.
        addresses: list[Address] = list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
        if self._options.load_balance_hosts:
            random.shuffle(addresses)
            return addresses
        return interleave(addresses)

    async def _race(self, addresses: list[Address]) -> None:
        """Try one address after the other, without waiting for long: the first that accepts wins."""
        try:
            async with anyio.create_task_group() as group:
                for address in addresses:
                    failed = anyio.Event()
                    group.start_soon(self._try, address, failed, group.cancel_scope)
                    with anyio.move_on_after(_STAGGER):
                        await failed.wait()
        except BaseException:
            if self._winner is not None:
                self._winner.close_now()
            raise

    async def _try(
        self, address: Address, failed: anyio.Event | None = None, race: anyio.CancelScope | None = None
    ) -> None:
        self._trying[address] = None
        if self._watcher is not None:
            self._watcher.dialing(address)
        try:
            stream = await connect(address, self._options, self._backend)
        except OSError as error:
            if self._watcher is not None:
                self._watcher.dialed(address, error)
            del self._trying[address]
            self._last_error = error
            self._failed(address, error)
            if failed is not None:
                failed.set()
            return
        if self._winner is not None:
            # Two connections were made in the same turn of the event loop.
            stream.close_now()
            return
        self._winner = stream
        if self._watcher is not None:
            self._watcher.dialed(address, None)
        if race is not None:
            race.cancel()


async def connect(address: Address, options: ConnectOptions | None, backend: Backend) -> SocketStream:
    """Connect to one address; raises OSError. A cancellation closes the socket."""
    family, target = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if options is not None and isinstance(target, tuple):
            _set_tcp_options(sock, options)
        stream = SocketStream(sock, backend=backend, peer=address)
    except BaseException:
        sock.close()
        raise
    try:
        if isinstance(target, tuple):
            code = sock.connect_ex(target)
            while code in _CONNECTING:
                await stream.wait(False, True)
                # Asking to connect again tells whether it is connected, as the wait may end for no reason.
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or sock.connect_ex(target)
            if code not in (0, errno.EISCONN):
                raise OSError(code, os.strerror(code))
        else:
            await _connect_unix(sock, target)
            if options is not None and options.requirepeer is not None:
                await check_peer(sock, options.requirepeer)
    except BaseException:
        stream.close_now()
        raise
    return stream


async def _connect_unix(sock: socket.socket, path: str | bytes) -> None:
    delay, longest = _FULL_BACKLOG_DELAYS
    while True:
        try:
            # Connects at once or not at all: there is no connecting in the background as with TCP.
            sock.connect(path)
            return
        except BlockingIOError:
            # EAGAIN: the server has not accepted so many yet (Linux, connect(2)). Nothing tells when it has.
            await anyio.sleep(delay)
            delay = min(delay * 2, longest)


def _set_tcp_options(sock: socket.socket, options: ConnectOptions) -> None:
    """Set what the PostgreSQL manual, "Parameter Key Words", has for TCP; leave out what the system lacks."""
    if options.keepalives:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        idle = "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE"
        _set_tcp_option(sock, idle, "keepalives_idle", options.keepalives_idle)
        _set_tcp_option(sock, "TCP_KEEPINTVL", "keepalives_interval", options.keepalives_interval)
        _set_tcp_option(sock, "TCP_KEEPCNT", "keepalives_count", options.keepalives_count)
    _set_tcp_option(sock, "TCP_USER_TIMEOUT", "tcp_user_timeout", options.tcp_user_timeout)


def _set_tcp_option(sock: socket.socket, option: str, keyword: str, value: int | None) -> None:
    number: int | None = getattr(socket, option, None)
    if value and number is not None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, number, min(value, _INT_MAX))
        except OSError as error:
            raise OSError(f"the system refuses {keyword}={value}: {error}") from error


def interleave(addresses: list[Address]) -> list[Address]:
    """Let the families take turns, beginning with the first one's (RFC 8305, section 4)."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    longest = max(map(len, families.values()), default=0)
    return [family[turn] for turn in range(longest) for family in families.values() if turn < len(family)]


def _is_numeric(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
