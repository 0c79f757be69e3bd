"""Connection strings and URIs to keywords and values.

Knows libpq's keywords and the grammar of its two kinds of connection strings (PostgreSQL manual, "Connection
Strings"). Must not know what the values mean, nor the environment or any default: every function is pure.

Nothing here puts text into an error message when it might be a piece of a password. An unquoted space or an
unencoded "/" or "@" in a password makes the rest of it look like a keyword, a host or a database.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ProgrammingError

__all__ = ["KEYWORDS", "SPACE", "Keyword", "is_encodable", "keyword_hint", "parse_conninfo", "unknown_keyword"]


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
_ALIASES = {
    "database": "dbname",
    "db": "dbname",
    "username": "user",
    "passwd": "password",
    "timeout": "connect_timeout",
}


def parse_conninfo(conninfo: str) -> dict[str, str]:
    """Return the keywords and values of a connection string or a ``postgresql://`` URI, without any defaults.

    The rules are libpq's, with one exception: an unencoded "@" in the host or database part of a URI is
    refused. It comes from an unencoded character in the password, the rest of which would be shown as a name.
    See the PostgreSQL manual, "Connection Strings".

    :raises ProgrammingError: the string is badly formed or has an unknown keyword.
    """
    if "\0" in conninfo:
        raise ProgrammingError("a connection string cannot contain NUL characters")
    for prefix in ("postgresql://", "postgres://"):
        if conninfo.startswith(prefix):
            return _parse_uri(conninfo[len(prefix) :])
    return _parse_pairs(conninfo)


# What connect() takes besides keywords, as those are mistyped too.
PARAMETERS = (
    *("autocommit", "prepare_threshold", "row_factory", "cursor_factory", "context", "grace_period"),
    *("busy_wait", "stream", "dial", "ssl_context", "portal"),
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
    similar = _ALIASES.get(name) or next(iter(difflib.get_close_matches(name, (*KEYWORDS, *PARAMETERS), 1)), None)
    return f"did you mean {similar!r}?" if similar else "the keywords are those of libpq"


def _add(options: dict[str, str], keyword: str, value: str) -> None:
    """Add a parsed pair, translating libpq's one obsolete keyword.

    :raises ProgrammingError: the keyword is unknown.
    """
    if keyword == "requiressl":
        keyword, value = "sslmode", "require" if value.startswith("1") else "prefer"
    if keyword not in KEYWORDS:
        # Whatever follows a password without quotes may be the rest of it.
        raise unknown_keyword(keyword, show=not any(KEYWORDS[name].secret for name in options))
    options[keyword] = value


# --- keyword/value strings ---

# C's isspace(): str.isspace() would also split at a no-break space, and a password may have one.
SPACE = string.whitespace
_PAIR = re.compile(
    rf"""
    [{SPACE}]*
    (?P<keyword> [^={SPACE}]* ) [{SPACE}]*
    (?: (?P<equals> = ) [{SPACE}]*
        (?: ' (?P<quoted> (?: [^'\\] | \\. )* ) (?P<end> ' )?
          | (?P<plain> (?: [^'\\{SPACE}] | \\. ) (?: [^\\{SPACE}] | \\. )* )?
        )
        \\?  # a backslash with nothing to escape at the end of the string means nothing
    )?
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _parse_pairs(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position = 0
    end = len(text.rstrip(SPACE))
    while position < end:
        match = _PAIR.match(text, position)
        # Every part of the pattern is optional, so it always matches.
        assert match is not None
        if not match["equals"]:
            raise ProgrammingError(
                f'missing "=" after the keyword at character {match.start("keyword") + 1} of the connection '
                "string: "
                "write keyword=value, and quote a value that has spaces: keyword='a value'"
            )
        if match["quoted"] is not None and not match["end"]:
            raise ProgrammingError(
                f"the quoted value that starts at character {match.start('quoted')} of the connection string "
                r"has no closing quote: write \' for a quote inside it"
            )
        value = match["quoted"] if match["quoted"] is not None else match["plain"] or ""
        _add(options, match["keyword"], _ESCAPED.sub(r"\1", value))
        position = match.end()
    return options


# --- URIs ---


def _parse_uri(rest: str) -> dict[str, str]:
    """Parse what follows the scheme: ``[user[:password]@][host[:port],...][/dbname][?name=value&...]``."""
    options: dict[str, str] = {}

    # The authority would end at "?" too, but libpq, like everybody, lets a password contain one.
    userinfo = re.match(r"([^@/]*)@", rest)
    if userinfo:
        rest = rest[userinfo.end() :]
        user, _, password = userinfo[1].partition(":")
        _add_decoded(options, "user", user)
        _add_decoded(options, "password", password)

    hosts: list[str] = []
    ports: list[str] = []
    while True:
        host, rest = _split_host(rest)
        port = ""
        if rest.startswith(":"):
            port, rest = _split_before("/?,", rest[1:])
        hosts.append(host)
        ports.append(port)
        if not rest.startswith(","):
            break
        rest = rest[1:]
    _add_decoded(options, "host", ",".join(hosts))
    _add_decoded(options, "port", ",".join(ports))

    if rest.startswith("/"):
        dbname, rest = _split_before("?", rest[1:])
        _refuse_at(dbname, "database")
        _add_decoded(options, "dbname", dbname)
    if rest.startswith("?"):
        _parse_query(options, rest[1:])
    return options


def _split_before(stops: str, text: str) -> tuple[str, str]:
    """Split the text before the first of some characters, or at its end."""
    match = re.search(f"[{stops}]", text)
    return (text[: match.start()], text[match.start() :]) if match else (text, "")


def _split_host(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ProgrammingError('an IPv6 address in the connection URI has no closing "]"')
        if not host:
            raise ProgrammingError(
                'an IPv6 address in the connection URI is empty: write an address between "[" and "]"'
            )
        if rest and rest[0] not in ":/?,":
            raise ProgrammingError(
                'an IPv6 address in the connection URI is followed by something else than ":port", "," or "/"'
            )
    else:
        host, rest = _split_before(":/?,", text)
    _refuse_at(host, "host")
    return host, rest


def _refuse_at(text: str, what: str) -> None:
    if "@" in text:
        raise ProgrammingError(
            f'the {what} part of the connection URI has an "@" in it: '
            'write "@" as %40 (and "/" as %2F, ":" as %3A) in the user name and the password'
        )


def _parse_query(options: dict[str, str], query: str) -> None:
    for parameter in query.removesuffix("&").split("&") if query else ():
        name, equals, value = parameter.partition("=")
        if not equals or "=" in value:
            raise ProgrammingError(
                "every parameter after the ? of a connection URI must be written as keyword=value; "
                'in a value, write "&" as %26 and "=" as %3D'
            )
        keyword = _percent_decode(name, "a keyword")
        decoded = _percent_decode(value, f"the value of {keyword!r}" if keyword in KEYWORDS else "a value")
        if (keyword, decoded) == ("ssl", "true"):
            # How JDBC says it; libpq takes exactly this one.
            keyword, decoded = "sslmode", "require"
        _add(options, keyword, decoded)


def _add_decoded(options: dict[str, str], keyword: str, encoded: str) -> None:
    """Add a part of a URI, unless it is empty: an empty part means the same as no part."""
    if encoded:
        options[keyword] = _percent_decode(encoded, f"the {keyword} part")


def _percent_decode(text: str, what: str) -> str:
    text = text.strip(" ")
    if " " in text:
        raise ProgrammingError(f"{what} of the connection URI has a space in it: write it as %20")
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        raise ProgrammingError(
            f'{what} of the connection URI has a "%" without two hexadecimal digits: write it as %25'
        )
    if "%" not in text:
        return text
    # A lone surrogate cannot be encoded, but may stand for a byte of an environment variable.
    raw = re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode()), text.encode("utf-8", "surrogatepass"))
    if b"\0" in raw:
        raise ProgrammingError(f"{what} of the connection URI has a %00 in it: NUL characters are not possible")
    decoded = _decode(raw)
    if decoded is None:
        raise ProgrammingError(f"{what} of the connection URI is not UTF-8 after percent-decoding")
    return decoded


# Not where it is needed: an error that is raised in an except block keeps the first one, and so the password.
def _decode(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def is_encodable(text: str) -> bool:
    """Return whether a text has no lone surrogates, which PostgreSQL would not take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
