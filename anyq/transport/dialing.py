"""From connection options to an open stream: hosts in order, name resolution, all addresses, time limits.

A host is one attempt as far as `connect_timeout` is concerned, and may have many addresses: they are raced as
in RFC 8305 ("Happy Eyeballs"). Whoever logs in over the stream goes on to the next host if that fails, so
there is a function for each step: `attempts()` gives the hosts, `open_host()` a stream to one of them, and
`combine_errors()` the one error that tells of all that failed. `dial()` is those three, for whoever needs no
more than a stream.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from ..backends import Backend, current_backend
from ..conninfo import ConnectOptions, HostSpec
from ..errors import ConnectionTimeout, Error, OperationalError
from .peer_credentials import check_peer
from .socket import Address, SocketStream

__all__ = [
    "DialError",
    "Failure",
    "attempts",
    "combine_errors",
    "dial",
    "failure_at",
    "host_deadline",
    "open_host",
    "open_same",
]

_STAGGER = 0.25
"""Seconds until the next address is tried beside those that have not answered (RFC 8305, section 5)."""

_FULL_BACKLOG_DELAYS = (0.01, 0.25)
"""Seconds between attempts at a Unix socket whose queue is full: at first, and at most."""

_CONNECTING = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)
"""What connect() says of a TCP connection that is under way; the last is Windows' first answer."""

_INT_MAX = 2**31 - 1
"""The greatest value that a socket option can have."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed."""

    host: HostSpec
    address: str | None
    """The numeric address; None for a Unix socket, and if it did not come that far."""
    reason: str
    """What happened, and what to check."""
    timed_out: bool = False

    def __str__(self) -> str:
        path = self.host.socket_path
        if path is not None:
            return f'socket "{path}": {self.reason}'
        address = f" ({self.address})" if self.address not in (None, self.host.host) else ""
        return f'host "{self.host.host}"{address}, port {self.host.port}: {self.reason}'


class DialError(OperationalError):
    """Report that one host could not be reached; `failures` has each attempt."""

    failures: tuple[Failure, ...] = ()

    @classmethod
    def of(cls, failures: Iterable[Failure]) -> DialError:
        """Return the error for these failures."""
        failures = tuple(failures)
        error = cls(_message(failures))
        error.failures = failures
        return error


def attempts(options: ConnectOptions) -> list[HostSpec]:
    """Return the hosts in the order in which to try them, which is a random one with load_balance_hosts."""
    hosts = list(options.hosts)
    if options.load_balance_hosts:
        random.shuffle(hosts)
    return hosts


def host_deadline(options: ConnectOptions) -> float:
    """Return until when a host that is tried now must be connected, on anyio.current_time()'s clock."""
    return math.inf if options.connect_timeout is None else anyio.current_time() + options.connect_timeout


async def dial(options: ConnectOptions, *, backend: Backend | None = None) -> SocketStream:
    """Return a stream to the first host that can be reached; always a checkpoint.

    A cancellation leaves no socket behind.

    :raises ConnectionTimeout: no host answered in time.
    :raises OperationalError: no host could be reached; the message has each attempt and its reason.
    """
    errors: list[Error] = []
    for host in attempts(options):
        try:
            return await open_host(host, options, backend=backend)
        except DialError as error:
            errors.append(error)
    raise combine_errors(errors)


async def open_host(
    host: HostSpec,
    options: ConnectOptions,
    *,
    backend: Backend | None = None,
    deadline: float | None = None,
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
    dialer = _HostDialer(host, options, backend)
    with anyio.CancelScope(deadline=host_deadline(options) if deadline is None else deadline):
        return await dialer.run()
    raise dialer.timed_out()


async def open_same(
    peer: Address, options: ConnectOptions | None = None, *, backend: Backend | None = None
) -> SocketStream:
    """Return a new stream to the address of another one (its `peer`), as a CancelRequest needs.

    Never another server that the same name leads to. Always a checkpoint, and without a time limit: that is
    the caller's. A cancellation leaves no socket behind.

    :raises OperationalError: the address could not be reached.
    """
    backend = backend or current_backend()
    await backend.checkpoint()
    try:
        return await _connect(peer, options, backend)
    except OSError as error:
        raise OperationalError(f"connection to {_show(peer)} failed: {_explain(error, peer[0])}") from error


def failure_at(host: HostSpec, stream: SocketStream | None, error: Error) -> DialError:
    """Return a failure to log in at a host that was reached, for `combine_errors()`.

    :param stream: what `open_host()` returned, for its address.
    """
    address = None
    if stream is not None and isinstance(stream.peer[1], tuple):
        address = str(stream.peer[1][0])
    wrapped = DialError.of([Failure(host, address, str(error), isinstance(error, ConnectionTimeout))])
    wrapped.__cause__ = error
    return wrapped


def combine_errors(errors: Sequence[Error]) -> OperationalError:
    """Return the one error to raise when every host failed.

    Its message has each attempt. It is a ConnectionTimeout if none of them got an answer in time. A single
    error that is no DialError is returned as it is. The cause is what the last attempt failed with.
    """
    if not errors:
        return OperationalError("connection failed: there is no host to connect to")
    last = errors[-1]
    if len(errors) == 1 and isinstance(last, OperationalError) and not isinstance(last, DialError):
        return last
    lines: list[Failure | Error] = []
    for error in errors:
        lines += error.failures if isinstance(error, DialError) else (error,)
    all_timed_out = all(
        line.timed_out if isinstance(line, Failure) else isinstance(line, ConnectionTimeout) for line in lines
    )
    combined = (ConnectionTimeout if all_timed_out else OperationalError)(_message(lines))
    combined.__cause__ = last.__cause__ if isinstance(last, DialError) else last
    return combined


def _message(failures: Sequence[Failure | Error]) -> str:
    if len(failures) == 1:
        return f"connection failed: {failures[0]}"
    return "\n- ".join([f"connection failed, all {len(failures)} attempts:", *map(str, failures)])


class _HostDialer:
    """The attempt at one host: what is being tried, what has failed, who has won."""

    def __init__(self, host: HostSpec, options: ConnectOptions, backend: Backend) -> None:
        self._host = host
        self._options = options
        self._backend = backend
        self._failures: list[Failure] = []
        self._last_error: OSError | None = None
        self._resolving = False
        self._trying: dict[Address, None] = {}
        self._winner: SocketStream | None = None

    async def run(self) -> SocketStream:
        try:
            addresses = await self._addresses()
        except (OSError, ValueError) as error:  # ValueError: what cannot be a host name, such as "a..b"
            self._resolving = False
            raise self._failed(None, error) from error
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
        unfinished = [_numeric_address(address) for address in self._trying] or [None]
        return DialError.of([*self._failures, *(Failure(self._host, address, reason, True) for address in unfinished)])

    def _failed(self, address: Address | None, error: Exception) -> DialError:
        family = None if address is None else address[0]
        numeric = None if address is None else _numeric_address(address)
        timed_out = isinstance(error, TimeoutError)  # the system's own patience, ETIMEDOUT
        self._failures.append(Failure(self._host, numeric, _explain(error, family), timed_out))
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
        return _interleave(addresses)

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
        try:
            stream = await _connect(address, self._options, self._backend)
        except OSError as error:
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
        if race is not None:
            race.cancel()


async def _connect(address: Address, options: ConnectOptions | None, backend: Backend) -> SocketStream:
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


def _interleave(addresses: list[Address]) -> list[Address]:
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


def _numeric_address(address: Address) -> str | None:
    return str(address[1][0]) if isinstance(address[1], tuple) else None


def _show(address: Address) -> str:
    target = address[1]
    if isinstance(target, tuple):
        return f'address "{target[0]}", port {target[1]}'
    text = target if isinstance(target, str) else os.fsdecode(target)
    return f'socket "{"@" + text[1:] if text.startswith(chr(0)) else text}"'


def _explain(error: Exception, family: int | None) -> str:
    """Return what happened, and what to check.

    :param family: that of the address; None if it failed before there was one.
    """
    what = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    advice = _advice(error, family)
    return f"{what}; {advice}" if advice else what


def _advice(error: Exception, family: int | None) -> str | None:
    if isinstance(error, socket.gaierror):
        return "check the spelling of the host name, and that the name servers can be reached"
    if not isinstance(error, OSError):
        return "this cannot be a host name"
    if family is not None and family == getattr(socket, "AF_UNIX", None):
        if error.errno == errno.ENOENT:
            return (
                "there is no such socket file: check that the server is running, that its "
                "unix_socket_directories has this directory, and the port"
            )
        if error.errno == errno.ECONNREFUSED:
            return "nobody listens at this socket: check that the server is running"
        if error.errno in (errno.EACCES, errno.EPERM):
            return "check the permissions of the directory, and the server's unix_socket_permissions"
        if error.errno is None and "AF_UNIX" in str(error):
            return "a socket's path has room for about 100 bytes: use a shorter directory, or host=localhost"
        return None
    if error.errno == errno.ECONNREFUSED:
        return (
            "nobody listens at this address and port: check that the server is running, that its "
            "listen_addresses has this address, and the port"
        )
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "check the address, the network connection and firewalls"
    if error.errno == errno.ETIMEDOUT:
        return "check the address, and whether a firewall drops the packets"
    return None
