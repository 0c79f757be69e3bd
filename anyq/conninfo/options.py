"""Connection options: from keywords, a string, the environment and files to one `ConnectOptions`.

Knows what libpq's keywords mean, its environment variables and defaults (PostgreSQL manual, "Parameter Key
Words", "Environment Variables"). Must not know sockets, DNS, TLS or the protocol. Only `resolve` looks outside:
at the user database for the default user, at some directories for the default socket, and into the service file
and the password file.

A value that may be a password, or by mistake a piece of one, is never in an error message.
"""

from __future__ import annotations

import math
import os
import re
import ssl
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import NotSupportedError, ProgrammingError
from ..errors.hiding import hiding
from .hosts import HostSpec, resolve_hosts
from .keywords import KEYWORDS
from .origins import collect
from .passfile import default_passfile, find_passwords
from .strings import SPACE, is_encodable
from .tls import TlsOptions, resolve_tls

# As the protocol writes them: the major version in the upper 16 bits. There is no 3.1.
PROTOCOL_VERSIONS = {"3.0": 3 << 16, "3.2": 3 << 16 | 2, "latest": 3 << 16 | 2}

TARGET_SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_LOAD_BALANCE_HOSTS = ("disable", "random")


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
    host_passwords: tuple[str | None, ...] = field(default=(), repr=False)
    """Passwords from the password file, one for each host; none if there is a password."""
    passfile: str | None = None
    """The file that they come from."""
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
    requirepeer: str | None = None
    """Name of the user that a server at a Unix-domain socket has to run as."""
    min_protocol_version: int = PROTOCOL_VERSIONS["3.0"]
    max_protocol_version: int | None = None
    """None if it was not given: for the newest, if a server that does not know it can be asked again."""
    target_session_attrs: str = "any"
    load_balance_hosts: bool = False
    """Whether to try hosts, and the addresses of each, in random order."""
    session_settings: tuple[tuple[str, str], ...] = ()
    """Names and values of settings that come from the environment: PGDATESTYLE, PGTZ, PGGEQO."""

    def for_host(self, host: HostSpec) -> ConnectOptions:
        """Return the options for one of the hosts: with the password that the password file has for it."""
        if not self.host_passwords:
            return self
        password = dict(zip(self.hosts, self.host_passwords, strict=True))[host]
        return replace(self, password=password or None, host_passwords=())

    def keywords(self) -> dict[str, str]:
        """Return what differs from the defaults as keywords and values, without hosts and passwords."""
        version = {number: name for name, number in PROTOCOL_VERSIONS.items() if name != "latest"}
        values = {
            "require_auth": self.require_auth or None,
            "passfile": self.passfile,
            "connect_timeout": None if self.connect_timeout is None else f"{self.connect_timeout:g}",
            "options": self.options or None,
            "application_name": self.application_name or None,
            "client_encoding": None if self.client_encoding == "UTF8" else self.client_encoding,
            "keepalives": None if self.keepalives else "0",
            "keepalives_idle": _text_of(self.keepalives_idle),
            "keepalives_interval": _text_of(self.keepalives_interval),
            "keepalives_count": _text_of(self.keepalives_count),
            "tcp_user_timeout": _text_of(self.tcp_user_timeout),
            "requirepeer": self.requirepeer,
            "min_protocol_version": version[self.min_protocol_version] if self.min_protocol_version > 3 << 16 else None,
            "max_protocol_version": version.get(self.max_protocol_version or 0),
            "target_session_attrs": None if self.target_session_attrs == "any" else self.target_session_attrs,
            "load_balance_hosts": "random" if self.load_balance_hosts else None,
        }
        given = {keyword: value for keyword, value in values.items() if value is not None}
        return {"user": self.user, "dbname": self.dbname, **given, **self.tls.keywords()}

    def startup_parameters(self) -> dict[str, str]:
        """Return the parameters of the StartupMessage (PostgreSQL manual, "Message Formats")."""
        parameters = {"user": self.user, "database": self.dbname, "client_encoding": self.client_encoding}
        if self.options:
            parameters["options"] = self.options
        if self.application_name:
            parameters["application_name"] = self.application_name
        return {**parameters, **dict(self.session_settings)}


def _text_of(number: int | None) -> str | None:
    return None if number is None else str(number)


# Settings of the session that libpq takes from the environment, which have no keyword.
SESSION_VARIABLES = {"PGDATESTYLE": "datestyle", "PGTZ": "timezone", "PGGEQO": "geqo"}


@hiding
def resolve(
    conninfo: str,
    kwargs: Mapping[str, Any],
    environ: Mapping[str, str],
    ssl_context: ssl.SSLContext | None = None,
    password_source: PasswordSource | None = None,
) -> ConnectOptions:
    """Return the options to connect with: keywords, else the string, the service, the environment, defaults.

    An empty value means the default, not the environment, as in libpq. It may read files: the user database if no
    user is named, the service file if a service is, the password file if there is no password. With no host it
    looks for the server's socket, see `default_host`. So call it in a worker thread if that matters.

    :param environ: usually `os.environ`.
    :param ssl_context: the caller's own, instead of one made from files.
    :param password_source: the caller's own function, instead of a password from anywhere else.
    :raises ProgrammingError: the string is badly formed, a keyword is unknown, or a value makes no sense.
    :raises NotSupportedError: an option asks for something that is not there.
    """
    values, origins = collect(conninfo, kwargs, environ)
    sources = {keyword: str(origin) for keyword, origin in origins.items()}
    for keyword, value in values.items():
        spec = KEYWORDS[keyword]
        if not spec.implemented and value not in spec.neutral:
            raise NotSupportedError(f"{sources[keyword]} {spec.reason}: leave it out, or unset it")
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

    def choice(keyword: str, choices: Collection[str], default: str) -> str:
        value = values.get(keyword, default)
        if value not in choices:
            raise ProgrammingError(f"{sources[keyword]} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def protocol_version(keyword: str) -> int | None:
        return PROTOCOL_VERSIONS[choice(keyword, PROTOCOL_VERSIONS, "")] if keyword in values else None

    hosts = resolve_hosts(values.get("host", ""), values.get("hostaddr", ""), values.get("port", ""))
    user = values.get("user") or default_user(environ)
    dbname = _check_dbname(values.get("dbname") or user)
    encoding = values.get("client_encoding", "UTF8")
    min_version = protocol_version("min_protocol_version") or PROTOCOL_VERSIONS["3.0"]
    max_version = protocol_version("max_protocol_version")
    if max_version is not None and min_version > max_version:
        raise ProgrammingError(f"{sources['min_protocol_version']} must not be greater than max_protocol_version")
    if password_source is not None:
        values.pop("password", None)
    needs_file = password_source is None and "password" not in values
    passfile = values.get("passfile") or default_passfile(environ) if needs_file else None
    host_passwords = _host_passwords(passfile, hosts, dbname, user)
    return ConnectOptions(
        hosts=hosts,
        user=user,
        password=values.get("password"),
        password_source=password_source,
        require_auth=values.get("require_auth", ""),
        scram_keys=_scram_keys(values, sources),
        host_passwords=host_passwords,
        passfile=passfile if host_passwords else None,
        dbname=dbname,
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
        requirepeer=values.get("requirepeer"),
        min_protocol_version=min_version,
        max_protocol_version=max_version,
        target_session_attrs=choice("target_session_attrs", TARGET_SESSION_ATTRS, "any"),
        load_balance_hosts=choice("load_balance_hosts", _LOAD_BALANCE_HOSTS, "disable") == "random",
        session_settings=_session_settings(environ),
    )


def _check_dbname(text: str) -> str:
    if re.match(r"postgres(ql)?(\+\w+)?://", text):
        # It may have a password in it, and would be shown as a name.
        raise ProgrammingError("a connection URI is given as conninfo, and not as dbname")
    return text


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


def _host_passwords(
    passfile: str | None, hosts: tuple[HostSpec, ...], dbname: str, user: str
) -> tuple[str | None, ...]:
    found = find_passwords(passfile, hosts, dbname, user) if passfile else ()
    for password in found:
        _check_encodable(password or "", f'the password in the file "{passfile}"')
        if password and "\0" in password:
            raise ProgrammingError(f'the password in the file "{passfile}" has a NUL character')
    return found if any(found) else ()


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
        raise ProgrammingError("no user name given, and the operating system has none for this user: give user=...")
    return name


def _to_timeout(text: str, source: str) -> float | None:
    try:
        # float() would also take 1_000 and the digits of other scripts.
        seconds = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise ProgrammingError(f"{source} must be a number of seconds, not {text!r}")
    return seconds if 0 < seconds < math.inf else None


def _session_settings(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    settings: list[tuple[str, str]] = []
    for variable, setting in SESSION_VARIABLES.items():
        value = environ.get(variable, "default")
        if value.lower() != "default":
            _check_encodable(value, f"environment variable {variable}")
            settings.append((setting, value))
    return tuple(settings)


def _check_encodable(text: str, source: str) -> None:
    if not is_encodable(text):
        raise ProgrammingError(f"{source} cannot be encoded as UTF-8: it has lone surrogates")
