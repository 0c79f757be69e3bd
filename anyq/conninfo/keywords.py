"""The keywords of connection strings: libpq's, and which of them are implemented.

Knows names, environment variables, and what to say about a name that is none. Must not know how strings are written,
nor what the values mean.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ProgrammingError

__all__ = ["ALIASES", "KEYWORDS", "PARAMETERS", "Keyword", "keyword_hint", "unknown_keyword"]


class Keyword(NamedTuple):
    """Describe one libpq keyword: its environment variable, and the values that ask for nothing special."""

    envvar: str | None = None
    neutral: tuple[str, ...] = ()
    """For a keyword that is not implemented, the values that mean what happens anyway."""
    implemented: bool = False
    secret: bool = False
    reason: str = "is not supported yet"
    """For a keyword that is not implemented, why it is refused: the end of a sentence about it."""


def _done(envvar: str | None = None, *, secret: bool = False) -> Keyword:
    return Keyword(envvar, implemented=True, secret=secret)


_GSS = "is about GSSAPI (Kerberos), which anyq does not have"
_OAUTH = "is about OAuth, which anyq does not have"
_REPLICATION = "asks for a replication connection, which anyq does not have"

# Every keyword of PostgreSQL 18's libpq, in the order of its documentation, and "servicefile" of 19's.
KEYWORDS: Mapping[str, Keyword] = {
    "host": _done("PGHOST"),
    "hostaddr": _done("PGHOSTADDR"),
    "port": _done("PGPORT"),
    "dbname": _done("PGDATABASE"),
    "user": _done("PGUSER"),
    "password": _done("PGPASSWORD", secret=True),
    "passfile": _done("PGPASSFILE"),
    "require_auth": _done("PGREQUIREAUTH"),
    "channel_binding": _done("PGCHANNELBINDING"),
    "connect_timeout": _done("PGCONNECT_TIMEOUT"),
    "client_encoding": _done("PGCLIENTENCODING"),
    "options": _done("PGOPTIONS"),
    "application_name": _done("PGAPPNAME"),
    "fallback_application_name": _done(),
    "keepalives": _done(),
    "keepalives_idle": _done(),
    "keepalives_interval": _done(),
    "keepalives_count": _done(),
    "tcp_user_timeout": _done(),
    "replication": Keyword(None, ("false", "off", "no", "0"), reason=_REPLICATION),
    "gssencmode": Keyword("PGGSSENCMODE", ("disable", "prefer"), reason=_GSS),
    "sslmode": _done("PGSSLMODE"),
    "sslnegotiation": _done("PGSSLNEGOTIATION"),
    "sslcompression": _done("PGSSLCOMPRESSION"),
    "sslcert": _done("PGSSLCERT"),
    "sslkey": _done("PGSSLKEY"),
    "sslkeylogfile": _done(),
    "sslpassword": _done(secret=True),
    "sslcertmode": _done("PGSSLCERTMODE"),
    "sslrootcert": _done("PGSSLROOTCERT"),
    "sslcrl": _done("PGSSLCRL"),
    "sslcrldir": _done("PGSSLCRLDIR"),
    "sslsni": _done("PGSSLSNI"),
    "requirepeer": _done("PGREQUIREPEER"),
    "ssl_min_protocol_version": _done("PGSSLMINPROTOCOLVERSION"),
    "ssl_max_protocol_version": _done("PGSSLMAXPROTOCOLVERSION"),
    "min_protocol_version": _done("PGMINPROTOCOLVERSION"),
    "max_protocol_version": _done("PGMAXPROTOCOLVERSION"),
    "krbsrvname": Keyword("PGKRBSRVNAME", ("postgres",), reason=_GSS),
    "gsslib": Keyword("PGGSSLIB", reason=_GSS),
    "gssdelegation": Keyword("PGGSSDELEGATION", ("0",), reason=_GSS),
    "scram_client_key": _done(secret=True),
    "scram_server_key": _done(secret=True),
    "service": _done("PGSERVICE"),
    "servicefile": _done("PGSERVICEFILE"),
    "target_session_attrs": _done("PGTARGETSESSIONATTRS"),
    "load_balance_hosts": _done("PGLOADBALANCEHOSTS"),
    "oauth_issuer": Keyword(reason=_OAUTH),
    "oauth_client_id": Keyword(reason=_OAUTH),
    "oauth_client_secret": Keyword(secret=True, reason=_OAUTH),
    "oauth_scope": Keyword(reason=_OAUTH),
}

# Names that people use for a keyword and that look too different from it to be found by spelling.
ALIASES = {
    "database": "dbname",
    "server": "host",
    "hostname": "host",
    "pwd": "password",
    "uid": "user",
    "db": "dbname",
    "username": "user",
    "passwd": "password",
    "timeout": "connect_timeout",
}

# What connect() takes besides keywords, as those are mistyped too.
PARAMETERS = (
    *("autocommit", "prepare_threshold", "row_factory", "cursor_factory", "context", "grace_period"),
    *("busy_wait", "stream", "dial", "ssl_context", "portal", "tracer"),
)


def unknown_keyword(name: str, *, show: bool = True) -> ProgrammingError:
    """Return the error for a keyword that does not exist.

    :param show: whether the name is certainly not a piece of a password.
    """
    hint = keyword_hint(name)
    if show:
        return ProgrammingError(f"unknown connection option {name!r}: {hint}")
    return ProgrammingError(
        f"unknown connection option after a password: {hint} (It is not shown, as it may be a part of the "
        "password: quote that in a connection string, percent-encode it in a URI.)"
    )


def keyword_hint(name: str) -> str:
    """Return what to say about a keyword that does not exist, without the name itself."""
    if name in PARAMETERS:
        return "it is a parameter of connect() and no part of a connection string"
    similar = ALIASES.get(name.lower())
    if similar is None:
        similar = next(iter(difflib.get_close_matches(name.lower(), (*KEYWORDS, *PARAMETERS), 1)), None)
    return f"did you mean {similar!r}?" if similar else "the keywords are those of libpq"
