"""Connection strings and connection options.

Knows what libpq's keywords mean, its environment variables and defaults (PostgreSQL manual, "Parameter Key
Words", "Environment Variables"). Must not know sockets, DNS, TLS or the protocol: it opens nothing. Only
`resolve` looks outside: at the user database for the default user, and at three directories for the default
socket.

A value that may be a password, or by mistake a piece of one, is never in an error message.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import ssl
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._connstrings import KEYWORDS, SPACE, Keyword, parse_conninfo, unknown_keyword
from ._tls_options import TlsOptions, resolve_tls
from .errors import NotSupportedError, ProgrammingError

__all__ = [
    "KEYWORDS",
    "ConnectOptions",
    "HostSpec",
    "Keyword",
    "PasswordSource",
    "TlsOptions",
    "conninfo_to_dict",
    "make_conninfo",
    "parse_conninfo",
    "resolve",
]

DEFAULT_PORT = 5432


def make_conninfo(conninfo: str = "", **kwargs: Any) -> str:
    """Return a keyword/value connection string from another one (or a URI) with keywords added or replaced.

    Keywords that are ``None`` are left out, and do not remove one of the string.

    :raises ProgrammingError: the string is badly formed, a keyword is unknown, or a value cannot be text.
    """
    options = {
        keyword: _to_text(keyword, value) for keyword, value in conninfo_to_dict(conninfo, **kwargs).items()
    }
    return " ".join(f"{keyword}={_quote(value)}" for keyword, value in options.items())


def conninfo_to_dict(conninfo: str = "", **kwargs: Any) -> dict[str, Any]:
    """Return the options of a connection string or URI as a dict, with keywords added or replaced.

    Values from the string are text, those from keywords stay what they are; ``None`` is left out.

    :raises ProgrammingError: the string is badly formed or a keyword is unknown.
    """
    options: dict[str, Any] = {**parse_conninfo(conninfo)}
    for keyword, value in kwargs.items():
        if keyword not in KEYWORDS:
            raise unknown_keyword(keyword)
        if value is not None:
            options[keyword] = value
    return options


def _quote(value: str) -> str:
    if value and not re.search(r"[\s'\\]", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _to_text(keyword: str, value: object) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        # str() of these would be "b'...'", silently.
        raise ProgrammingError(
            f"connection option {keyword!r} must be text or a number, not bytes: decode it first"
        )
    # libpq's switches are 0 and 1.
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if "\0" in text:
        raise ProgrammingError(f"connection option {keyword!r} cannot contain NUL characters")
    return text


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


PasswordSource = Callable[[HostSpec], "str | None | Awaitable[str | None]"]
"""What gives the password for a host when the server asks for it."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """Hold everything that is known before connecting; defaults and environment are already in it."""

    hosts: tuple[HostSpec, ...]
    user: str
    dbname: str
    password: str | None = field(default=None, repr=False)
    password_source: PasswordSource | None = field(default=None, repr=False)
    """Where to get the password instead."""
    require_auth: str = ""
    """The authentication methods that the server may ask for, or with "!" those that it may not; empty for all."""
    scram_keys: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """The client key and the server key to use for SCRAM, which need no password."""
    connect_timeout: float | None = None
    """Seconds for each host, or None to wait for ever."""
    options: str | None = None
    application_name: str | None = None
    client_encoding: str = "UTF8"
    tls: TlsOptions = TlsOptions()
    keepalives: bool = True
    keepalives_idle: int | None = None
    """Seconds; None for the system's default, as with the next two."""
    keepalives_interval: int | None = None
    keepalives_count: int | None = None
    tcp_user_timeout: int | None = None
    """Milliseconds, or None for the system's default."""
    session_settings: tuple[tuple[str, str], ...] = ()
    """Names and values of settings that come from the environment: PGDATESTYLE, PGTZ, PGGEQO."""

    def startup_parameters(self) -> dict[str, str]:
        """Return the parameters of the StartupMessage (PostgreSQL manual, "Message Formats")."""
        parameters = {"user": self.user, "database": self.dbname, "client_encoding": self.client_encoding}
        if self.options:
            parameters["options"] = self.options
        if self.application_name:
            parameters["application_name"] = self.application_name
        return {**parameters, **dict(self.session_settings)}


# Settings of the session that libpq takes from the environment, which have no keyword.
_SESSION_VARIABLES = {"PGDATESTYLE": "datestyle", "PGTZ": "timezone", "PGGEQO": "geqo"}


def resolve(
    conninfo: str, kwargs: Mapping[str, Any], environ: Mapping[str, str], ssl_context: ssl.SSLContext | None = None
) -> ConnectOptions:
    """Return the options to connect with: keywords, else the string, else the environment, else defaults.

    An empty value means the default, not the environment, as in libpq. With no user name it looks up the
    operating system's user, and with no host it looks for the server's socket, see `default_host`; both can
    touch files, so call it in a worker thread if that matters.

    :param environ: usually `os.environ`.
    :param ssl_context: the caller's own, instead of one made from files.
    :raises ProgrammingError: the string is badly formed, a keyword is unknown, or a value makes no sense.
    :raises NotSupportedError: an option asks for something that is not there yet.
    """
    given = {
        keyword: _to_text(keyword, value) for keyword, value in conninfo_to_dict(conninfo, **kwargs).items()
    }
    sources = {keyword: f"connection option {keyword!r}" for keyword in given}
    for keyword, spec in KEYWORDS.items():
        if spec.envvar and keyword not in given and spec.envvar in environ:
            given[keyword] = environ[spec.envvar]
            sources[keyword] = f"environment variable {spec.envvar}"
    values = {keyword: value for keyword, value in given.items() if value}

    if "password" in values:
        # A password file is looked into only for want of a password.
        values.pop("passfile", None)
    for keyword, value in values.items():
        spec = KEYWORDS[keyword]
        if not spec.implemented and value not in spec.neutral:
            raise NotSupportedError(f"{sources[keyword]} is not supported yet: leave it out, or unset it")
        _check_encodable(value, sources[keyword])

    def integer(keyword: str) -> int | None:
        if keyword not in values:
            return None
        text = values[keyword].strip(SPACE)
        # int() would also take 1_000, the digits of other scripts, and numbers too big for a socket option.
        number = int(text) if re.fullmatch("[+-]?[0-9]{1,10}", text) else None
        if number is None or not -(2**31) <= number < 2**31:
            raise ProgrammingError(f"{sources[keyword]} must be an integer of 32 bits, not {text!r}")
        return number

    def positive(keyword: str) -> int | None:
        # Zero and less stand for the system's default, as in libpq.
        number = integer(keyword)
        return number if number is not None and number > 0 else None

    hosts = _resolve_hosts(values.get("host", ""), values.get("hostaddr", ""), values.get("port", ""))
    user = values.get("user") or default_user(environ)
    encoding = values.get("client_encoding", "UTF8")
    return ConnectOptions(
        hosts=hosts,
        user=user,
        password=values.get("password"),
        require_auth=values.get("require_auth", ""),
        scram_keys=_scram_keys(values, sources),
        dbname=values.get("dbname") or user,
        connect_timeout=_to_timeout(values.get("connect_timeout", "0"), sources.get("connect_timeout", "")),
        options=values.get("options"),
        application_name=values.get("application_name") or values.get("fallback_application_name"),
        # libpq's "auto" is the encoding of the locale. Text in Python has none, so it is UTF-8.
        client_encoding="UTF8" if encoding == "auto" else encoding,
        tls=resolve_tls(values, sources, environ, ssl_context),
        keepalives=integer("keepalives") != 0,
        keepalives_idle=positive("keepalives_idle"),
        keepalives_interval=positive("keepalives_interval"),
        keepalives_count=positive("keepalives_count"),
        tcp_user_timeout=positive("tcp_user_timeout"),
        session_settings=_session_settings(environ),
    )


# Bytes of a key: those of the hash.
_SCRAM_KEY_LENGTH = 32


def _scram_keys(values: Mapping[str, str], sources: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    keys: list[bytes] = []
    for keyword in ("scram_client_key", "scram_server_key"):
        if keyword in values:
            try:
                key = b64decode(values[keyword], validate=True)
            except ValueError:
                key = b""
            if len(key) != _SCRAM_KEY_LENGTH:
                # Without the value and without the cause: who has it can log in.
                raise ProgrammingError(f"{sources[keyword]} must be {_SCRAM_KEY_LENGTH} bytes in base64") from None
            keys.append(key)
    if not keys:
        return None
    if len(keys) == 1:
        raise ProgrammingError(
            "scram_client_key and scram_server_key must be given together: with one we log in, with the other the "
            "server proves who it is"
        )
    return keys[0], keys[1]


def default_user(environ: Mapping[str, str]) -> str:
    """Return the name of the operating system's user, as libpq does: not ``$LOGNAME``, which anyone can set.

    :raises ProgrammingError: the user has no name.
    """
    if sys.platform == "win32":
        name = environ.get("USERNAME")
    else:
        # This module does not exist on Windows.
        import pwd

        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            name = None
    if not name:
        raise ProgrammingError(
            "no user name given, and the operating system has none for this user: give user=..."
        )
    return name


# libpq has one directory compiled in. This library may meet a server from any package, so it looks at the
# places that they use: Debian's and Fedora's first, then that of PostgreSQL's own sources.
SOCKET_DIRECTORIES = ("/run/postgresql", "/var/run/postgresql", "/tmp")


def default_host(port: int) -> str:
    """Return the first of `SOCKET_DIRECTORIES` that has a socket for the port, else ``"localhost"``."""
    if sys.platform != "win32":
        for directory in SOCKET_DIRECTORIES:
            if os.path.exists(f"{directory}/.s.PGSQL.{port}"):
                return directory
    return "localhost"


def _resolve_hosts(host: str, hostaddr: str, port: str) -> tuple[HostSpec, ...]:
    """Join the three comma-separated lists (PostgreSQL manual, "Specifying Multiple Hosts")."""
    hosts = host.split(",")
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


def _to_timeout(text: str, source: str) -> float | None:
    try:
        # float() would also take 1_000 and the digits of other scripts.
        seconds = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise ProgrammingError(f"{source} must be a number of seconds, not {text!r}")
    return seconds if 0 < seconds < math.inf else None


def _is_socket_dir(host: str) -> bool:
    return host.startswith("@") or (os.path.isabs(host) if sys.platform == "win32" else host.startswith("/"))


def _session_settings(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    settings: list[tuple[str, str]] = []
    for variable, setting in _SESSION_VARIABLES.items():
        value = environ.get(variable, "default")
        if value.lower() != "default":
            _check_encodable(value, f"environment variable {variable}")
            settings.append((setting, value))
    return tuple(settings)


def _check_encodable(text: str, source: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        # Without the cause: it holds the text, which may be a password.
        raise ProgrammingError(f"{source} cannot be encoded as UTF-8: it has lone surrogates") from None
