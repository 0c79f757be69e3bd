"""The servers that connection options name: hosts, addresses, ports and socket directories.

Knows how the three comma-separated lists are joined (PostgreSQL manual, "Specifying Multiple Hosts"), and where
servers put their sockets. Must not know other options, nor how to reach a server; it only looks whether the default
socket exists.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from dataclasses import dataclass

from ..errors import ProgrammingError
from .strings import SPACE

__all__ = ["DEFAULT_PORT", "SOCKET_DIRECTORIES", "HostSpec", "default_host", "resolve_hosts"]

DEFAULT_PORT = 5432

# libpq has one directory compiled in. This library may meet a server from any package, so it looks at the
# places that they use: Debian's and Fedora's first, then that of PostgreSQL's own sources.
SOCKET_DIRECTORIES = ("/run/postgresql", "/var/run/postgresql", "/tmp")


@dataclass(frozen=True, slots=True)
class HostSpec:
    """Say where one server may be.

    `host` is a name or an address, or the absolute directory of the server's Unix-domain socket (or "@" and a
    name: Linux's abstract sockets). `hostaddr` is the address to use instead of looking `host` up.
    """

    host: str
    hostaddr: str | None
    port: int

    @property
    def socket_path(self) -> str | None:
        """Return the path of the Unix-domain socket (beginning with "@" if abstract), or ``None`` for TCP."""
        if self.hostaddr is None and _is_socket_dir(self.host):
            return f"{self.host}/.s.PGSQL.{self.port}"
        return None


def resolve_hosts(host: str, hostaddr: str, port: str) -> tuple[HostSpec, ...]:
    """Join the three comma-separated lists; touches files where no host is given, see `default_host`.

    :raises ProgrammingError: the lists do not match, or a port or an address is none.
    """
    hosts = [_check_host(name) for name in host.split(",")]
    addresses = hostaddr.split(",") if hostaddr else [""] * len(hosts)
    if not host:
        hosts = [""] * len(addresses)
    if len(hosts) != len(addresses):
        raise ProgrammingError(
            f"{len(hosts)} host names do not match {len(addresses)} hostaddr values: give one for each host"
        )
    ports = [_check_port(text) for text in port.split(",")]
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise ProgrammingError(
            f"{len(ports)} port numbers do not match {len(hosts)} hosts: give one for each, or one for all"
        )
    return tuple(
        HostSpec(name or address or default_host(number), _check_address(address), number)
        for name, address, number in zip(hosts, addresses, ports, strict=True)
    )


def default_host(port: int) -> str:
    """Return the first of `SOCKET_DIRECTORIES` that has a socket for the port, else ``"localhost"``."""
    if sys.platform != "win32":
        for directory in SOCKET_DIRECTORIES:
            if os.path.exists(f"{directory}/.s.PGSQL.{port}"):
                return directory
    return "localhost"


def _check_host(text: str) -> str:
    # A whole URI, or the password that comes before the host in one, would be shown as the name of a host.
    if not _is_socket_dir(text) and re.search(r"[@;?&=\s]|://", text):
        raise ProgrammingError(
            "a host has a character that no host name has (not shown, as it may be a part of a password): give a "
            "connection URI or string as conninfo, and not as host"
        )
    return text


def _check_port(text: str) -> int:
    text = text.strip(SPACE)
    if not text:
        return DEFAULT_PORT
    port = int(text) if re.fullmatch(r"[+-]?[0-9]{1,10}", text) else None
    if port is None or not 0 < port < 65536:
        raise ProgrammingError(
            "a port is not a number from 1 to 65535 (not shown: in a URI it may be a part of the password, "
            'where "/" must be written as %2F, and "@" as %40)'
        )
    return port


def _check_address(text: str) -> str | None:
    if not text:
        return None
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ProgrammingError(f"hostaddr {text!r} is not a numeric IP address: use host for names") from None
    return text


def _is_socket_dir(host: str) -> bool:
    return host.startswith("@") or (os.path.isabs(host) if sys.platform == "win32" else host.startswith("/"))
