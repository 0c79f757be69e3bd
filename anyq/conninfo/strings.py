"""Connection strings and URIs to keywords and values.

Knows the grammar of libpq's two kinds of connection strings (PostgreSQL manual, "Connection Strings"), in both
directions. Must not know what the values mean, nor the environment or any default: every function is pure.

Nothing here puts text into an error message when it might be a piece of a password, and no frame that has seen one is
in a traceback. An unquoted space or an unencoded "/" or "@" in a password makes the rest of it look like a keyword, a
host or a database.
"""

from __future__ import annotations

import re
import string
from typing import Any

from ..errors import ProgrammingError
from ..errors.hiding import hiding
from .keywords import ALIASES, KEYWORDS, unknown_keyword

__all__ = ["SPACE", "conninfo_to_dict", "is_encodable", "make_conninfo", "option_text", "parse_conninfo"]


@hiding
def parse_conninfo(conninfo: str) -> dict[str, str]:
    """Return the keywords and values of a connection string or a ``postgresql://`` URI, without any defaults.

    The rules are libpq's, with one exception: an unencoded "@" in the host or database part of a URI is
    refused. It comes from an unencoded character in the password, the rest of which would be shown as a name.
    See the PostgreSQL manual, "Connection Strings".

    :raises ProgrammingError: the string is badly formed or has an unknown keyword.
    """
    if not isinstance(conninfo, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"conninfo must be a str, a connection string or a URI, not {type(conninfo).__name__}")
    if "\0" in conninfo:
        raise ProgrammingError("a connection string cannot contain NUL characters")
    for prefix in ("postgresql://", "postgres://"):
        if conninfo.startswith(prefix):
            return _parse_uri(conninfo[len(prefix) :])
    _refuse_mistaken(conninfo)
    return _parse_pairs(conninfo)


@hiding
def make_conninfo(conninfo: str = "", **kwargs: Any) -> str:
    """Return a keyword/value connection string from another one (or a URI) with keywords added or replaced.

    Keywords that are ``None`` are left out, and do not remove one of the string.

    :raises ProgrammingError: the string is badly formed, a keyword is unknown, or a value cannot be text.
    """
    options = {keyword: option_text(keyword, value) for keyword, value in conninfo_to_dict(conninfo, **kwargs).items()}
    return " ".join(f"{keyword}={_quote(value)}" for keyword, value in options.items())


@hiding
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


def option_text(keyword: str, value: object) -> str:
    """Return the value of a keyword as text.

    :raises ProgrammingError: there is no text for it.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        # str() of these would be "b'...'", silently.
        raise ProgrammingError(f"connection option {keyword!r} must be text or a number, not bytes: decode it first")
    # libpq's switches are 0 and 1.
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if "\0" in text:
        raise ProgrammingError(f"connection option {keyword!r} cannot contain NUL characters")
    return text


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


# --- what is neither ---

_SCHEME = r"""[\s"']*(?:jdbc:)?([A-Za-z][A-Za-z0-9+.-]*):/"""
_POSTGRES = r"(?i)postgres|postgis|pgsql|psql|^pg|asyncpg|psycopg"
_OTHERS = frozenset(
    [
        "mysql",
        "mariadb",
        "sqlite",
        "sqlite3",
        "oracle",
        "mssql",
        "mongodb",
        "redis",
        "http",
        "https",
        "file",
        "unix",
        "tcp",
    ]
)


def _refuse_mistaken(conninfo: str) -> None:
    """Refuse what is nearly a URI, and would be read as keywords, with what to write instead."""
    found = re.match(_SCHEME, conninfo)
    if found is None:
        name, equals, value = conninfo.partition("=")
        if equals and name.strip(SPACE) not in KEYWORDS and "://" in value and re.match(_SCHEME, value):
            raise ProgrammingError("a connection URI stands alone, with no name and no = before postgresql://")
        return
    scheme = found[1]
    if scheme in ("postgresql", "postgres"):
        if conninfo.startswith("jdbc:"):
            raise ProgrammingError(
                "this is a URL for JDBC: leave jdbc: out, and write user and password as postgresql://user:password@host"
            )
        if conninfo.startswith(scheme):
            raise ProgrammingError(f"a connection URI begins with {scheme}:// (two slashes)")
        raise ProgrammingError("the connection URI has a space or a quote before postgresql://: take it away")
    # Anything else may be a piece of a password.
    known = re.search(_POSTGRES, scheme) or scheme.lower() in _OTHERS
    shown = f", not {scheme}://" if known else ""
    why = ""
    if "+" in scheme and known:
        why = f": the name of a driver, {scheme[scheme.index('+') :]}, is for SQLAlchemy"
    elif scheme.lower() in ("postgresql", "postgres"):
        why = ", in small letters"
    raise ProgrammingError(f"a connection URI begins with postgresql:// or postgres://{shown}{why}")


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
_SHOWN = ("host", "hostaddr", "port", "user", "dbname")
_SEPARATED = rf"(?i)[;,&](?:{'|'.join((*KEYWORDS, *ALIASES))})="


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
        if match["plain"] and match["keyword"] in _SHOWN and re.search(_SEPARATED, value):
            # It would be a host or a user with all the rest in it, and be shown as such.
            raise ProgrammingError(
                "the options of a connection string are separated by spaces, not by ; or , (a value that has such a "
                f"character is quoted: {match['keyword']}='...')"
            )
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
