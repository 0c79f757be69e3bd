"""What failed in which attempt to reach a server, and the one error that tells of all.

Knows hosts, addresses, and what operating systems say and what to check then. Must not know how a server is dialled.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..conninfo import HostSpec
from ..errors import ConnectionTimeout, Error, OperationalError
from .socket import Address, SocketStream

__all__ = ["DialError", "Failure", "combine_errors", "explain", "failure_at", "numeric_address", "show_address"]


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
        return f"{_show(self.host, self.address)}: {self.reason}"


def _show(host: HostSpec, address: str | None) -> str:
    path = host.socket_path
    if path is not None:
        return f'socket "{path}"'
    numeric = f" ({address})" if address not in (None, host.host) else ""
    return f'host "{host.host}"{numeric}, port {host.port}'


def place(host: HostSpec, stream: SocketStream | None) -> str:
    """Return how messages name a server.

    :param stream: what `open_host()` returned, for its address.
    """
    return _show(host, _peer_address(stream))


def _peer_address(stream: SocketStream | None) -> str | None:
    peer = None if stream is None else stream.known_peer
    return None if peer is None else numeric_address(peer)


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


def failure_at(host: HostSpec, stream: SocketStream | None, error: Error) -> DialError:
    """Return a failure to log in at a host that was reached, for `combine_errors()`.

    :param stream: what `open_host()` returned, for its address.
    """
    address = _peer_address(stream)
    wrapped = DialError.of([Failure(host, address, str(error), isinstance(error, ConnectionTimeout))])
    wrapped.__cause__ = error
    return wrapped


def combine_errors(errors: Sequence[Error], who: str = "") -> OperationalError:
    """Return the one error to raise when every host failed.

    Its message has each attempt. It is a ConnectionTimeout if none of them got an answer in time. A single
    error that is no DialError is returned as it is. The cause is what the last attempt failed with.

    :param who: how the message names the user and the database.
    """
    if not errors:
        return OperationalError(failed_to_connect("there is no host to connect to", who))
    last = errors[-1]
    if len(errors) == 1 and isinstance(last, OperationalError) and not isinstance(last, DialError):
        return last
    lines: list[Failure | Error] = []
    for error in errors:
        lines += error.failures if isinstance(error, DialError) else (error,)
    all_timed_out = all(
        line.timed_out if isinstance(line, Failure) else isinstance(line, ConnectionTimeout) for line in lines
    )
    combined = (ConnectionTimeout if all_timed_out else OperationalError)(failed_to_connect(_message(lines), who))
    combined.__cause__ = last.__cause__ if isinstance(last, DialError) else last
    return combined


_FAILED = "connection failed"


def _message(failures: Sequence[Failure | Error]) -> str:
    if len(failures) == 1:
        return f"{_FAILED}: {failures[0]}"
    return "\n- ".join([f"{_FAILED}, all {len(failures)} attempts:", *map(str, failures)])


def failed_to_connect(text: str, who: str, where: str = "") -> str:
    """Return the message of a connection that failed.

    :param text: the reason; or a message of several attempts, which says where each was.
    :param who: names the user and the database.
    :param where: names the server.
    """
    head = f"{_FAILED} for {who}" if who else _FAILED
    if text.startswith(_FAILED):
        return head + text.removeprefix(_FAILED)
    return ": ".join(filter(None, (head, where, text)))


def numeric_address(address: Address) -> str | None:
    """Return an address without its port; None for a Unix socket."""
    return str(address[1][0]) if isinstance(address[1], tuple) else None


def show_address(address: Address) -> str:
    """Return an address as messages name it."""
    target = address[1]
    if isinstance(target, tuple):
        return f'address "{target[0]}", port {target[1]}'
    text = target if isinstance(target, str) else os.fsdecode(target)
    return f'socket "{"@" + text[1:] if text.startswith(chr(0)) else text}"'


def explain(error: Exception, family: int | None) -> str:
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
