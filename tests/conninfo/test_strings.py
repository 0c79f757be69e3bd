"""Connection strings and URIs against libpq's rules, read and made."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.conninfo import KEYWORDS, conninfo_to_dict, make_conninfo, parse_conninfo, resolve
from anyq.conninfo.keywords import ALIASES
from anyq.errors import NotSupportedError, ProgrammingError

SECRET = "s3cr3t"


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
        ("Postgresql://h", "not Postgresql://, in small letters"),
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


def has_other_separators(text: str) -> bool:
    """Return whether options look as if they were separated by something else than spaces, which libpq takes."""
    return any(f"{separator}{name}=" in text.lower() for separator in ";,&" for name in (*KEYWORDS, *ALIASES))


@given(STRINGS)
@example("user=&USER=")
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
        told = "@" in str(error) or "UTF-8" in str(error)
        assert expected is None or told or has_other_separators(text)
    else:
        assert options == expected


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


@given(STRINGS)
def test_resolve_raises_only_the_documented_errors(text: str) -> None:
    with contextlib.suppress(ProgrammingError, NotSupportedError):
        resolve(text, {}, {"PGUSER": "u"})


# -- what is meant for somebody else


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("postgresql+psycopg://u:hunter2@h/d", "not postgresql\\+psycopg://: the name of a driver, \\+psycopg,"),
        ("postgres+asyncpg://u:hunter2@h/d", "\\+asyncpg, is for SQLAlchemy"),
        ("postgresql+psycopg2://h", "SQLAlchemy"),
        ("POSTGRESQL://u:hunter2@h", "in small letters"),
        ("pgsql://u:hunter2@h", "begins with postgresql:// or postgres://, not pgsql://"),
        ("psycopg://h", "not psycopg://"),
        ("mysql://u:hunter2@h", "not mysql://"),
        ("mysql+pymysql://u:hunter2@h", "begins with postgresql://"),
        ("https://h", "not https://"),
        ("hunter2://h", "begins with postgresql:// or postgres://$"),
        ("hunter2+hunter2://h", "begins with postgresql:// or postgres://$"),
        (" postgresql://u:hunter2@h", "a space or a quote before"),
        ("\\n\\tpostgres://u:hunter2@h", "a space or a quote before"),
        ('"postgresql://u:hunter2@h"', "a space or a quote before"),
        ("'postgresql://u:hunter2@h'", "a space or a quote before"),
        ("jdbc:postgresql://h/d?user=u&password=hunter2", "JDBC"),
        ("postgresql:/h", "two slashes"),
        ("DATABASE_URL=postgresql://u:hunter2@h", "stands alone"),
        ("url = 'postgresql+psycopg://u:hunter2@h'", "stands alone"),
        ("Server=h;Database=d;User Id=u;Password=hunter2", "'Server': did you mean 'host'"),
        ("Host=h;Username=u;Password=hunter2", "'Host': did you mean 'host'"),
        ("host=h;user=u;password=hunter2", "separated by spaces, not by ;"),
        ("host=h,port=5432,password=hunter2", "separated by spaces, not by ; or ,"),
        ("dbname=d user=u;Password=hunter2", "quoted: user='...'"),
        ("host=h&password=hunter2", "separated by spaces"),
    ],
)
def test_strings_for_others(text: str, part: str) -> None:
    with pytest.raises(ProgrammingError, match=part) as caught:
        parse_conninfo(text.encode().decode("unicode_escape"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("host='h;port=1'", {"host": "h;port=1"}),
        ("password=a;host=b", {"password": "a;host=b"}),
        ("host=a,b port=1,2", {"host": "a,b", "port": "1,2"}),
        ("dbname=a;b", {"dbname": "a;b"}),
        ("options=-cx=postgres://", {"options": "-cx=postgres://"}),
        ("password=postgres://x", {"password": "postgres://x"}),
        ("passfile=file:///x", {"passfile": "file:///x"}),
    ],
)
def test_strings_that_only_look_like_them(text: str, options: dict[str, str]) -> None:
    assert parse_conninfo(text) == options


@pytest.mark.parametrize(
    "host",
    [
        "postgresql://u:hunter2@h",
        "u:hunter2@h",
        "h;password=hunter2",
        "h?password=hunter2",
        "h password=hunter2",
        "a=hunter2",
    ],
)
def test_a_host_that_is_more_than_a_host(host: str) -> None:
    with pytest.raises(ProgrammingError, match="no host name has") as caught:
        resolve("", {"host": host, "user": "u"}, {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("dbname", ["postgresql://u:hunter2@h", "postgres+asyncpg://u:hunter2@h"])
def test_a_database_that_is_a_uri(dbname: str) -> None:
    with pytest.raises(ProgrammingError, match="given as conninfo") as caught:
        resolve("", {"dbname": dbname, "user": "u"}, {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["h", "/a b@c;d=e", "@abstract=x", "::1", "fe80::1%eth0", "h.example", "ünï"])
def test_a_host_that_is_one(host: str) -> None:
    assert resolve("", {"host": host, "user": "u"}, {}).hosts[0].host == host


@pytest.mark.parametrize("wrong", [None, 3, b"host=a"])
def test_no_text(wrong: Any) -> None:
    """As of an environment variable that is not set: os.environ.get("DSN")."""
    for read in (parse_conninfo, conninfo_to_dict, make_conninfo):
        with pytest.raises(TypeError, match=f"conninfo must be a str, .*, not {type(wrong).__name__}"):
            read(wrong)
