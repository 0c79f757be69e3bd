"""Connection strings against libpq's rules, and the resolution of options."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import os
import pickle
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import anyq
from anyq.conninfo import (
    KEYWORDS,
    ConnectOptions,
    HostSpec,
    TlsOptions,
    conninfo_to_dict,
    make_conninfo,
    parse_conninfo,
    resolve,
)
from anyq.conninfo import hosts as _hosts
from anyq.conninfo import strings as _connstrings
from anyq.errors import NotSupportedError, ProgrammingError

SECRET = "s3cr3t"

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Unix-domain sockets in /")

# --- parse_conninfo ---

PAIRS = [
    ("", {}),
    (" \t\n", {}),
    ("host=a  port = 5 ", {"host": "a", "port": "5"}),
    ("host=a\nport=1", {"host": "a", "port": "1"}),
    ("host\t=\x0ba", {"host": "a"}),
    (r"host='a\'b' user=x\ y", {"host": "a'b", "user": "x y"}),
    (r"password='a \\ b\c'", {"password": r"a \ bc"}),
    (r"password=a\\b\'c", {"password": r"a\b'c"}),
    ("host=", {"host": ""}),
    ("host='' port=1", {"host": "", "port": "1"}),
    ("host='a'port=5", {"host": "a", "port": "5"}),
    ("host=a=b", {"host": "a=b"}),
    ("host=ab'c", {"host": "ab'c"}),
    ("dbname='a=b'", {"dbname": "a=b"}),
    ("host=a host=b", {"host": "b"}),
    ("host=a\\", {"host": "a"}),
    ("password=a\u00a0b", {"password": "a\u00a0b"}),
    ("password='é\n'", {"password": "é\n"}),
    ("requiressl=1", {"sslmode": "require"}),
    ("requiressl=0", {"sslmode": "prefer"}),
    ("dbname=postgresql://h/d", {"dbname": "postgresql://h/d"}),
]

URIS = [
    ("postgresql://", {}),
    ("postgres://", {}),
    ("postgresql:///?", {}),
    ("postgresql://localhost", {"host": "localhost"}),
    ("postgresql://localhost:5433", {"host": "localhost", "port": "5433"}),
    ("postgresql://localhost/mydb", {"host": "localhost", "dbname": "mydb"}),
    ("postgresql://user@localhost", {"user": "user", "host": "localhost"}),
    ("postgresql://user:secret@localhost", {"user": "user", "password": "secret", "host": "localhost"}),
    (
        "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
        {
            "user": "other",
            "host": "localhost",
            "dbname": "otherdb",
            "connect_timeout": "10",
            "application_name": "myapp",
        },
    ),
    (
        "postgresql://host1:123,host2:456/somedb?target_session_attrs=any",
        {"host": "host1,host2", "port": "123,456", "dbname": "somedb", "target_session_attrs": "any"},
    ),
    ("postgresql://h1,h2:5,/d", {"host": "h1,h2,", "port": ",5,", "dbname": "d"}),
    ("postgresql://,/", {"host": ",", "port": ","}),
    ("postgresql:///mydb?host=localhost&port=5433", {"dbname": "mydb", "host": "localhost", "port": "5433"}),
    ("postgresql:///dbname?host=/var/lib/postgresql", {"dbname": "dbname", "host": "/var/lib/postgresql"}),
    ("postgresql://%2Fvar%2Flib%2Fpg:5/db", {"host": "/var/lib/pg", "port": "5", "dbname": "db"}),
    ("postgresql://[2001:db8::1234]/database", {"host": "2001:db8::1234", "dbname": "database"}),
    ("postgresql://[::1]:5,[::2]?user=u", {"host": "::1,::2", "port": "5,", "user": "u"}),
    (
        "postgresql://user@localhost:5433/mydb?options=-c%20synchronous_commit%3Doff",
        {
            "user": "user",
            "host": "localhost",
            "port": "5433",
            "dbname": "mydb",
            "options": "-c synchronous_commit=off",
        },
    ),
    ("postgresql://@h", {"host": "h"}),
    ("postgresql://u:@h", {"user": "u", "host": "h"}),
    ("postgresql://:p@h", {"password": "p", "host": "h"}),
    ("postgresql://u%40:p%3A%2F@h", {"user": "u@", "password": "p:/", "host": "h"}),
    ("postgresql://u:p:q?r#s@h", {"user": "u", "password": "p:q?r#s", "host": "h"}),
    ("postgresql://h:/d", {"host": "h", "dbname": "d"}),
    ("postgresql://h/", {"host": "h"}),
    ("postgresql://h/d/e", {"host": "h", "dbname": "d/e"}),
    ("postgresql://h/%C3%A9", {"host": "h", "dbname": "é"}),
    ("postgresql://h?dbname=x&", {"host": "h", "dbname": "x"}),
    ("postgresql://h?user=", {"host": "h", "user": ""}),
    ("postgresql://h/?application_name=a+b@c", {"host": "h", "application_name": "a+b@c"}),
    ("postgresql://h?sslmode=a&sslmode=b", {"host": "h", "sslmode": "b"}),
    ("postgresql://h?ssl=true", {"host": "h", "sslmode": "require"}),
    ("postgresql://u@h:1/d?host=x&port=&dbname=e", {"user": "u", "host": "x", "port": "", "dbname": "e"}),
]


@pytest.mark.parametrize(("text", "expected"), PAIRS + URIS)
def test_parse(text: str, expected: dict[str, str]) -> None:
    assert parse_conninfo(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host", 'missing "=" after the keyword at character 1 '),
        ("host=x user me", 'missing "=" after the keyword at character 8 '),
        ("Postgresql://h", 'missing "="'),
        ("=a", "unknown connection option ''"),
        ("host='a", "starts at character 6 .* no closing quote"),
        ("host='a\\'", "no closing quote"),
        ("host='a\\", "no closing quote"),
        ("hots=1", "unknown connection option 'hots': did you mean 'host'"),
        ("database=x", "did you mean 'dbname'"),
        ("qqqqqq=x", "'qqqqqq': the keywords are those of libpq"),
        ("host=a\0b", "NUL"),
        ("postgresql://h?jdbc=1", "unknown connection option 'jdbc'"),
        ("postgresql://h?ssl=false", "unknown connection option 'ssl'"),
        ("postgresql://h?a", "keyword=value"),
        ("postgresql://h?user=b=c", "keyword=value"),
        ("postgresql://h?&host=x", "keyword=value"),
        ("postgresql://h?host=x&&", "keyword=value"),
        ("postgresql://%zz", 'host part of the connection URI has a "%" without two'),
        ("postgresql://h?user=%", "value of 'user' of the connection URI has a \"%\""),
        ("postgresql://h/%00", "dbname part of the connection URI has a %00"),
        ("postgresql://h/%ff", "dbname part of the connection URI is not UTF-8"),
        ("postgresql://a b/d", "host part of the connection URI has a space"),
        ("postgresql://[::1/d", 'no closing "]"'),
        ("postgresql://[]/d", "IPv6 address in the connection URI is empty"),
        ("postgresql://[::1]x/d", "IPv6 address in the connection URI is followed"),
        ("postgresql://u@h@z/d", 'host part of the connection URI has an "@"'),
        ("postgresql://h/d@e", 'database part of the connection URI has an "@"'),
    ],
)
def test_parse_error(text: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        parse_conninfo(text)


# What the parser is made of, so that random strings get somewhere.
FRAGMENTS = st.sampled_from(
    [
        "postgresql://",
        "postgres://",
        "host",
        "user=",
        "password",
        "port=",
        "=",
        "'",
        "\\",
        " ",
        "\t",
        "\0",
        "a",
        "é",
    ]
    + [
        "1",
        ",",
        ":",
        "/",
        "@",
        "?",
        "&",
        "[",
        "]",
        "%20",
        "%",
        "%ff",
        "%00",
        "?host=",
        "ssl=true",
        "requiressl=",
    ]
)
STRINGS = st.one_of(
    st.text(), st.lists(FRAGMENTS).map("".join), st.lists(FRAGMENTS).map(lambda x: "postgres://" + "".join(x))
)


@given(STRINGS)
@example("\ud800=1")
@example("postgresql://\udcff%41")
def test_parse_raises_only_programming_error(text: str) -> None:
    try:
        options = parse_conninfo(text)
    except ProgrammingError:
        return
    assert set(options) <= set(KEYWORDS)


@pytest.fixture(scope="module")
def libpq_18(psycopg: Any) -> Any:
    """The keywords and the grammar are those of PostgreSQL 18's libpq."""
    if psycopg.pq.version() // 10000 != 18:
        pytest.skip("libpq is not that of PostgreSQL 18")
    return psycopg


@given(STRINGS)
def test_parse_like_libpq(libpq_18: Any, text: str) -> None:
    if "\0" in text:
        return
    try:
        expected: dict[str, str] | None = libpq_18.conninfo.conninfo_to_dict(text)
    except (libpq_18.ProgrammingError, UnicodeError):
        expected = None
    try:
        options = parse_conninfo(text)
    except ProgrammingError as error:
        # libpq takes what is not UTF-8, or has an "@" too many, when a later value replaces it.
        assert expected is None or "@" in str(error) or "UTF-8" in str(error)
    else:
        assert options == expected


def test_keywords_are_those_of_libpq(libpq_18: Any) -> None:
    defaults = libpq_18.pq.Conninfo.get_defaults()
    variables = {option.keyword.decode(): option.envvar and option.envvar.decode() for option in defaults}
    # This one is of 19.
    variables["servicefile"] = "PGSERVICEFILE"
    assert {keyword: spec.envvar for keyword, spec in KEYWORDS.items()} == variables


@pytest.mark.parametrize(
    "text",
    [
        f"password=x {SECRET}",
        f"password=x {SECRET} host=y",
        f"password=x {SECRET}=1",
        f"password='x {SECRET}",
        f"password='x'{SECRET}=2",
        f"postgresql://u:%{SECRET}@h",
        f"postgresql://u:%ff{SECRET}@h",
        f"postgresql://u:%00{SECRET}@h",
        f"postgresql://u: {SECRET} x@h",
        f"postgresql://u:x@{SECRET}@h",
        f"postgresql://u:x/{SECRET}@h",
        f"postgresql://u:{SECRET}/x@h",
        f"postgresql://u:{SECRET}/d",
        f"postgresql://u:x@?{SECRET}",
        f"postgresql://u:x@?{SECRET}=y",
        f"postgresql://h?password={SECRET}=",
        f"postgresql://h?password=a&{SECRET}=b",
        f"postgresql://h?password=%zz{SECRET}",
        f"postgresql://u:x@[{SECRET}@h",
        f"password={SECRET}\udcff",
        f"password={SECRET} port=x",
        f"password={SECRET} sslpassword={SECRET} sslmode=x",
    ],
)
def test_password_is_in_no_message(text: str) -> None:
    with pytest.raises((ProgrammingError, NotSupportedError)) as caught:
        resolve(text, {}, {})
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_typo_after_a_password_still_gets_the_hint() -> None:
    with pytest.raises(ProgrammingError, match="did you mean 'dbname'"):
        parse_conninfo("password=x dbnam=y")


# --- make_conninfo, conninfo_to_dict ---


@pytest.mark.parametrize(
    ("text", "kwargs", "expected"),
    [
        ("", {}, ""),
        ("host=a", {"port": 5}, "host=a port=5"),
        ("host=a", {"host": "b"}, "host=b"),
        ("host=a", {"host": None}, "host=a"),
        ("", {"host": None}, ""),
        ("host=a", {"host": ""}, "host=''"),
        ("", {"dbname": "a b", "password": "it's \\"}, r"dbname='a b' password='it\'s \\'"),
        ("", {"connect_timeout": 2.5, "keepalives": True}, "connect_timeout=2.5 keepalives=1"),
        ("", {"host": PurePosixPath("/run/pg")}, "host=/run/pg"),
        ("postgresql://u@h/d", {"user": "x"}, "user=x host=h dbname=d"),
    ],
)
def test_make_conninfo(text: str, kwargs: dict[str, Any], expected: str) -> None:
    assert make_conninfo(text, **kwargs) == expected


@pytest.mark.parametrize("function", [make_conninfo, conninfo_to_dict])
@pytest.mark.parametrize("value", ["x", None])
def test_unknown_keyword_argument(function: Any, value: str | None) -> None:
    with pytest.raises(ProgrammingError, match="'pasword': did you mean 'password'"):
        function(pasword=value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("autocomit=1", "did you mean 'autocommit'"),
        ("autocommit=1", "it is a parameter of connect"),
        ("sslcontext=x", "did you mean 'ssl_context'"),
    ],
)
def test_a_parameter_of_connect_for_a_keyword(text: str, hint: str) -> None:
    with pytest.raises(ProgrammingError, match=hint):
        conninfo_to_dict(text)


def test_parameters_of_connect() -> None:
    parameters = inspect.signature(anyq.Connection.connect).parameters
    assert set(_connstrings.PARAMETERS) == set(parameters) - {"conninfo", "password", "kwargs"}


def test_make_conninfo_refuses_bytes() -> None:
    with pytest.raises(ProgrammingError, match="'dbname' must be text or a number, not bytes"):
        make_conninfo(dbname=b"x")


def test_make_conninfo_refuses_nul() -> None:
    with pytest.raises(ProgrammingError, match="'password' cannot contain NUL") as caught:
        make_conninfo(password=f"{SECRET}\0")
    assert SECRET not in str(caught.value)


def test_conninfo_to_dict() -> None:
    assert conninfo_to_dict("host=a port=5", port=7, user=None) == {"host": "a", "port": 7}
    assert conninfo_to_dict("postgresql://h/d") == {"host": "h", "dbname": "d"}
    assert conninfo_to_dict() == {}


OPTIONS = st.dictionaries(st.sampled_from(sorted(KEYWORDS)), st.text().map(lambda text: text.replace("\0", "")))


@given(OPTIONS)
def test_made_string_parses_to_the_same(options: dict[str, str]) -> None:
    assert parse_conninfo(make_conninfo("", **options)) == options


@given(OPTIONS, OPTIONS)
def test_merged_string_parses_to_the_same(first: dict[str, str], second: dict[str, str]) -> None:
    assert parse_conninfo(make_conninfo(make_conninfo("", **first), **second)) == {**first, **second}


# --- resolve ---

NOWHERE = {"user": "me", "host": "h"}


def test_precedence() -> None:
    environ = {"PGHOST": "environment", "PGUSER": "environment", "PGDATABASE": "environment", "PGPORT": "1"}
    options = resolve("host=string user=string dbname=string", {"host": "keyword", "user": None}, environ)
    assert options.hosts == (HostSpec("keyword", None, 1),)
    assert options.user == "string"
    assert options.dbname == "string"
    assert resolve("", {}, environ).dbname == "environment"


def test_the_obsolete_variable_for_tls() -> None:
    unix = {"user": "u", "host": "@x"}
    assert resolve("", unix, {"PGREQUIRESSL": "1"}).tls.mode == "require"
    assert resolve("", unix, {"PGREQUIRESSL": "0"}).tls.mode == "prefer"
    assert resolve("", unix, {"PGREQUIRESSL": "1", "PGSSLMODE": "disable"}).tls.mode == "disable"
    assert resolve("sslmode=allow", unix, {"PGREQUIRESSL": "1"}).tls.mode == "allow"


def test_every_environment_variable() -> None:
    options = resolve(
        "",
        {},
        {
            "PGHOST": "a,b",
            "PGHOSTADDR": "127.0.0.1,::1",
            "PGPORT": "1,2",
            "PGDATABASE": "d",
            "PGUSER": "u",
            "PGPASSWORD": "p",
            "PGCONNECT_TIMEOUT": "3",
            "PGCLIENTENCODING": "LATIN1",
            "PGOPTIONS": "-c x.y=z",
            "PGAPPNAME": "app",
            "PGSSLMODE": "allow",
            "PGREQUIREPEER": "postgres",
            "PGMINPROTOCOLVERSION": "3.0",
            "PGMAXPROTOCOLVERSION": "3.2",
            "PGTARGETSESSIONATTRS": "primary",
            "PGLOADBALANCEHOSTS": "random",
            "PGTZ": "Europe/Rome",
            "PGDATESTYLE": "default",
            "PGGEQO": "off",
        },
    )
    assert options == ConnectOptions(
        hosts=(HostSpec("a", "127.0.0.1", 1), HostSpec("b", "::1", 2)),
        user="u",
        dbname="d",
        password="p",
        connect_timeout=3,
        options="-c x.y=z",
        application_name="app",
        client_encoding="LATIN1",
        tls=TlsOptions(mode="allow", folder=options.tls.folder),
        requirepeer="postgres",
        min_protocol_version=0x30000,
        max_protocol_version=0x30002,
        target_session_attrs="primary",
        load_balance_hosts=True,
        session_settings=(("timezone", "Europe/Rome"), ("geqo", "off")),
    )
    assert options.startup_parameters() == {
        "user": "u",
        "database": "d",
        "client_encoding": "LATIN1",
        "options": "-c x.y=z",
        "application_name": "app",
        "timezone": "Europe/Rome",
        "geqo": "off",
    }


def test_defaults() -> None:
    options = resolve("", NOWHERE, {})
    # Where the default files for TLS are depends on whose home directory it is.
    tls = TlsOptions(folder=options.tls.folder)
    assert options == ConnectOptions(hosts=(HostSpec("h", None, 5432),), user="me", dbname="me", tls=tls)
    assert options.connect_timeout is None
    assert options.startup_parameters() == {"user": "me", "database": "me", "client_encoding": "UTF8"}


@unix_only
def test_default_user_is_the_effective_user() -> None:
    import pwd

    expected = pwd.getpwuid(os.geteuid()).pw_name
    assert resolve("host=h", {}, {"USER": "no", "LOGNAME": "no", "USERNAME": "no"}).user == expected
    assert resolve("host=h user=''", {}, {"PGUSER": "no"}).user == expected


@unix_only
def test_default_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    with pytest.raises(ProgrammingError, match="give user="):
        resolve("host=h", {}, {})


@unix_only
def test_default_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.setattr(_hosts, "SOCKET_DIRECTORIES", (str(tmp_path / "none"), str(first), str(second)))
    assert resolve("user=u", {}, {}).hosts[0].host == "localhost"
    (second / ".s.PGSQL.5432").touch()
    assert resolve("user=u", {}, {}).hosts[0].host == str(second)
    assert resolve("user=u port=5433", {}, {}).hosts[0].host == "localhost"
    # An empty host means the default, and does not look into the environment.
    assert resolve("user=u host=''", {}, {"PGHOST": "x"}).hosts[0].host == str(second)
    hosts = resolve("user=u host=,h port=5433,5432", {}, {}).hosts
    assert [host.host for host in hosts] == ["localhost", "h"]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("host=a", [HostSpec("a", None, 5432)]),
        ("host=a port=''", [HostSpec("a", None, 5432)]),
        ("host=a port=' 7 '", [HostSpec("a", None, 7)]),
        ("host=a,b", [HostSpec("a", None, 5432), HostSpec("b", None, 5432)]),
        ("host=a,b port=7", [HostSpec("a", None, 7), HostSpec("b", None, 7)]),
        ("host=a,b port=7,", [HostSpec("a", None, 7), HostSpec("b", None, 5432)]),
        ("hostaddr=127.0.0.1", [HostSpec("127.0.0.1", "127.0.0.1", 5432)]),
        ("hostaddr=fe80::1%eth0", [HostSpec("fe80::1%eth0", "fe80::1%eth0", 5432)]),
        ("host=a,b hostaddr=,::1", [HostSpec("a", None, 5432), HostSpec("b", "::1", 5432)]),
        (
            "postgresql://a:1,[::1]:2,%2Frun/",
            [HostSpec("a", None, 1), HostSpec("::1", None, 2), HostSpec("/run", None, 5432)],
        ),
    ],
)
def test_hosts(text: str, hosts: list[HostSpec]) -> None:
    assert resolve(text, {"user": "u"}, {}).hosts == tuple(hosts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port=x", "a port is not a number"),
        ("port=0", "a port is not a number"),
        ("port=65536", "a port is not a number"),
        ("port=-1", "a port is not a number"),
        ("port=1_0", "a port is not a number"),
        ("port=٣", "a port is not a number"),
        ("host=a,b port=1,2,3", "3 port numbers do not match 2 hosts"),
        ("host=a port=1,2", "2 port numbers do not match 1 hosts"),
        ("host=a,b hostaddr=::1", "2 host names do not match 1 hostaddr"),
        ("hostaddr=localhost", "hostaddr 'localhost' is not a numeric IP address"),
        ("connect_timeout=soon", "'connect_timeout' must be a number of seconds, not 'soon'"),
        ("connect_timeout=nan", "must be a number of seconds"),
        ("connect_timeout=1_0", "must be a number of seconds"),
        ("keepalives=yes", "'keepalives' must be an integer"),
        ("tcp_user_timeout=1.5", "'tcp_user_timeout' must be an integer"),
        ("keepalives_idle=9999999999", "'keepalives_idle' must be an integer of 32 bits"),
        ("sslmode=on", "must be one of disable, allow, prefer, require"),
        ("target_session_attrs=master", "must be one of any, read-write, read-only, primary, standby, prefer-standby"),
        ("load_balance_hosts=1", "'load_balance_hosts' must be one of disable, random, not '1'"),
        ("min_protocol_version=3.1", "'min_protocol_version' must be one of 3.0, 3.2, latest, not '3.1'"),
        ("max_protocol_version=4", "must be one of 3.0, 3.2, latest"),
        ("min_protocol_version=latest max_protocol_version=3.0", "'min_protocol_version' must not be greater"),
        ("dbname='\udcff'", "'dbname' cannot be encoded as UTF-8"),
    ],
)
def test_bad_values(text: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        resolve(text, {} if "host" in text else NOWHERE, {})


def test_bad_value_of_the_environment_names_the_variable() -> None:
    with pytest.raises(ProgrammingError, match="environment variable PGCONNECT_TIMEOUT must be"):
        resolve("", NOWHERE, {"PGCONNECT_TIMEOUT": "x"})
    with pytest.raises(ProgrammingError, match="environment variable PGTZ cannot be encoded"):
        resolve("", NOWHERE, {"PGTZ": "\udcff"})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(3, 3.0), (0.25, 0.25), ("1.5", 1.5), (" 2 ", 2.0), (0, None), (-1, None), ("", None), ("inf", None)],
)
def test_connect_timeout(value: object, seconds: float | None) -> None:
    assert resolve("", {**NOWHERE, "connect_timeout": value}, {}).connect_timeout == seconds


def test_keepalives() -> None:
    assert resolve("", NOWHERE, {}).keepalives is True
    options = resolve(
        "keepalives=0 keepalives_idle=1 keepalives_interval=2 keepalives_count=3 tcp_user_timeout=4",
        NOWHERE,
        {},
    )
    assert options.keepalives is False
    assert (options.keepalives_idle, options.keepalives_interval, options.keepalives_count) == (1, 2, 3)
    assert options.tcp_user_timeout == 4
    assert resolve("keepalives_idle=0 tcp_user_timeout=-1", {**NOWHERE, "keepalives": True}, {}) == resolve(
        "", NOWHERE, {}
    )


def test_application_name() -> None:
    assert resolve("fallback_application_name=f", NOWHERE, {}).application_name == "f"
    assert resolve("fallback_application_name=f", NOWHERE, {"PGAPPNAME": "e"}).application_name == "e"


def test_client_encoding() -> None:
    assert resolve("client_encoding=auto", NOWHERE, {}).client_encoding == "UTF8"
    assert resolve("client_encoding=SQL_ASCII", NOWHERE, {}).client_encoding == "SQL_ASCII"


@pytest.mark.parametrize("keyword", [keyword for keyword, spec in KEYWORDS.items() if not spec.implemented])
def test_not_implemented_yet(keyword: str) -> None:
    reason = re.escape(KEYWORDS[keyword].reason)
    with pytest.raises(NotSupportedError, match=f"connection option '{keyword}' {reason}: leave it out"):
        resolve("", {**NOWHERE, keyword: "something"}, {})
    assert resolve("", {**NOWHERE, keyword: ""}, {}) == resolve("", NOWHERE, {})
    for value in KEYWORDS[keyword].neutral:
        assert resolve("", {**NOWHERE, keyword: value}, {}) == resolve("", NOWHERE, {})
    variable = KEYWORDS[keyword].envvar
    if variable:
        with pytest.raises(NotSupportedError, match=f"environment variable {variable} {reason}: leave it out"):
            resolve("", NOWHERE, {variable: "something"})


@pytest.mark.parametrize(
    ("host", "path"),
    [
        (HostSpec("h", None, 1), None),
        (HostSpec("h", "::1", 1), None),
        (HostSpec("@x", None, 1), "@x/.s.PGSQL.1"),
        pytest.param(HostSpec("/run", None, 5), "/run/.s.PGSQL.5", marks=unix_only),
        pytest.param(HostSpec("/run", "::1", 5), None, marks=unix_only),
    ],
)
def test_socket_path(host: HostSpec, path: str | None) -> None:
    assert host.socket_path == path


def test_options_are_values() -> None:
    options = resolve("password=" + SECRET, NOWHERE, {})
    assert SECRET not in repr(options)
    assert options.password == SECRET
    assert hash(options) == hash(copy.copy(options))
    assert pickle.loads(pickle.dumps(options)) == options
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.user = "x"  # type: ignore[misc]


@given(STRINGS)
def test_resolve_raises_only_the_documented_errors(text: str) -> None:
    with contextlib.suppress(ProgrammingError, NotSupportedError):
        resolve(text, {}, {"PGUSER": "u"})
