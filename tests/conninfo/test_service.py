"""The connection service file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anyq.conninfo import resolve
from anyq.conninfo import service as _service
from anyq.errors import NotSupportedError, ProgrammingError

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def no_system_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service, "SYSTEM_DIRECTORIES", ())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def environ(home: Path, **variables: str) -> dict[str, str]:
    return {"HOME": str(home), "APPDATA": str(home), "PGUSER": "u", "PGPASSFILE": str(home / "none"), **variables}


def users_file(home: Path) -> Path:
    return home / ("postgresql/.pg_service.conf" if sys.platform == "win32" else ".pg_service.conf")


def read(text: str, tmp_path: Path, name: str = "x") -> dict[str, str]:
    file = write(tmp_path / "services", text)
    path, options = _service.find_service(name, str(file), {})
    assert path == str(file)
    return options


# --- the format ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x]", {}),
        ("[x]\nhost=h\nport=5433\n", {"host": "h", "port": "5433"}),
        ("[x]\r\nhost=h\r\n", {"host": "h"}),
        ("# c\n\n  \t# c\n  [x]  \n#c\n  host=h  \n\n", {"host": "h"}),
        ("[a]\nhost=no\n[x]\nhost=h\n[b]\nhost=no\n", {"host": "h"}),
        # Only the first section of a name counts, and the first value of a keyword.
        ("[x]\nhost=h\n[x]\nport=1\n", {"host": "h"}),
        ("[x]\nhost=h\nhost=i\n", {"host": "h"}),
        ("[x]\nhost=\n", {"host": ""}),
        ("[x]\npassword=a=b #c 'd' \\\n", {"password": "a=b #c 'd' \\"}),
        ("[x]\npassword= a", {"password": " a"}),
        ("[x] trailing\nhost=h", {"host": "h"}),
        # What is in other sections is not looked at.
        ("[a]\nnonsense\n[x]\nhost=h\n[b]\nldap://x\n", {"host": "h"}),
        ("nonsense\n[x]\nhost=h\n", {"host": "h"}),
        ("[x]\ndbname=é\n", {"dbname": "é"}),
    ],
)
def test_format(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    assert read(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("nonsense", "line 3 of the service file .* is not written as keyword=value"),
        ("hots=h", "line 3 .* unknown connection option: did you mean 'host'"),
        ("host = h", r"line 3 .* did you mean 'host'\? \(write no spaces around the \"=\"\)"),
        ("service=y", "line 3 .* a service cannot be made of others"),
        ("servicefile=y", "line 3 .* a service cannot be made of others"),
        ("host=a\0b", "line 3 .* NUL"),
    ],
)
def test_wrong_lines(line: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError, match=text):
        read(f"[x]\npassword={SECRET}\n{line}\n", tmp_path)


@pytest.mark.parametrize("line", [SECRET, f"{SECRET}=", f"x {SECRET}=1", f"password={SECRET}\0"])
def test_no_line_is_in_a_message(line: str, tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError) as caught:
        read(f"[x]\n{line}\n", tmp_path)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_ldap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match="line 2 .* LDAP"):
        read("[x]\nldap://ldap.example.com/dc=example?description?one?(cn=x)\n", tmp_path)


# --- where it is looked for ---


def test_the_users_file_goes_before_the_systems(home: Path) -> None:
    write(users_file(home), "[x]\nhost=user\n[y]\nhost=y\n")
    write(home / "etc/pg_service.conf", "[x]\nhost=system\n[z]\nhost=z\n")
    env = environ(home, PGSYSCONFDIR=str(home / "etc"))
    assert resolve("service=x", {}, env).hosts[0].host == "user"
    assert resolve("service=z", {}, env).hosts[0].host == "z"
    assert resolve("", {"service": "y"}, env).hosts[0].host == "y"
    assert resolve("", {}, {**env, "PGSERVICE": "y"}).hosts[0].host == "y"
    assert resolve("postgresql://?service=y", {}, env).hosts[0].host == "y"


def test_the_systems_directories(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service, "SYSTEM_DIRECTORIES", (str(home / "no"), str(home / "etc")))
    write(home / "etc/pg_service.conf", "[x]\nhost=system\n")
    assert resolve("service=x", {}, environ(home)).hosts[0].host == "system"


def test_another_file(home: Path) -> None:
    write(users_file(home), "[x]\nhost=user\n")
    first, second = write(home / "a", "[x]\nhost=a\n"), write(home / "b", "[x]\nhost=b\n")
    env = environ(home, PGSERVICEFILE=str(first))
    assert resolve("service=x", {}, env).hosts[0].host == "a"
    assert resolve("service=x", {"servicefile": str(second)}, env).hosts[0].host == "b"
    # Without a service nobody looks.
    assert resolve("host=h servicefile=/no/such/file", {}, env).hosts[0].host == "h"


def test_a_file_that_is_named_must_exist(home: Path) -> None:
    with pytest.raises(ProgrammingError, match='the service file ".*none" does not exist'):
        resolve("service=x", {}, environ(home, PGSERVICEFILE=str(home / "none")))
    with pytest.raises(ProgrammingError, match='the service file ".*" cannot be read'):
        resolve("service=x", {}, environ(home, PGSERVICEFILE=str(home)))


def test_a_service_that_is_nowhere(home: Path) -> None:
    with pytest.raises(ProgrammingError, match='the service "x" has no definition: there is no service file'):
        resolve("service=x", {}, environ(home))
    write(users_file(home), "[xx]\n")
    write(home / "etc/pg_service.conf", "")
    with pytest.raises(ProgrammingError, match=r'no definition: it is not in ".*\.pg_service\.conf" or ".*etc'):
        resolve("service=x", {}, environ(home, PGSYSCONFDIR=str(home / "etc")))


# --- precedence ---


def test_precedence(home: Path) -> None:
    write(users_file(home), "[x]\nhost=service\nuser=service\ndbname=service\nport=1\napplication_name=\n")
    env = environ(home, PGSERVICE="x", PGPORT="2", PGDATABASE="environment", PGAPPNAME="environment")
    options = resolve("user=string", {"host": "keyword"}, env)
    assert [options.hosts[0].host, options.user, options.dbname] == ["keyword", "string", "service"]
    assert options.hosts[0].port == 1
    # Empty means the default, whoever says so.
    assert options.application_name is None
    assert resolve("service='' host=h", {}, env).dbname == "environment"


def test_sources_are_in_messages(home: Path) -> None:
    write(users_file(home), "[x]\nkeepalives=maybe\n[y]\ngsslib=x\n[z]\ndbname=\udcff\n")
    with pytest.raises(ProgrammingError, match="option 'keepalives' of the service 'x' must be an integer"):
        resolve("service=x", {}, environ(home))
    with pytest.raises(NotSupportedError, match="option 'gsslib' of the service 'y' is about GSSAPI"):
        resolve("service=y", {}, environ(home))
    with pytest.raises(ProgrammingError, match="option 'dbname' of the service 'z' cannot be encoded"):
        resolve("service=z host=h", {}, environ(home))


# --- against libpq ---

LINES = st.lists(
    st.sampled_from(
        [
            *("[x]", "[y]", "[x", "[]", "[xx]", "[x]]", " [x] ", "# [x]", "", " ", "#", "host", "=", "=a"),
            *("host=a", "host=b", "host=", "port=5 ", " port=6", "dbname=a=b", "user = a", "service=x", "hots=a"),
            *("password='a'", "application_name=a b", "requiressl=1", "options=#x", "servicefiles=x"),
        ]
    )
)


@given(LINES, st.sampled_from(["x", "y"]), st.sampled_from(["\n", "\r\n"]))
@example(["[x]", "host=a", "[x]", "port=1"], "x", "\n")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_same_as_libpq(
    psycopg: Any, tmp_path_factory: pytest.TempPathFactory, lines: list[str], name: str, newline: str
) -> None:
    pq = psycopg.pq
    folder = tmp_path_factory.mktemp("services")
    file = write(folder / "services", newline.join(lines))
    before = dict(os.environ)
    os.environ.update(PGSERVICEFILE=str(file), PGSYSCONFDIR=str(folder))
    try:
        # Nobody is at this address; what counts is what it would connect with.
        libpq = pq.PGconn.connect_start(f"service={name} hostaddr=127.0.0.1 port=1".encode())
        given = {option.keyword.decode(): option.val for option in libpq.info}
        message = libpq.error_message
        libpq.finish()
    finally:
        os.environ.clear()
        os.environ.update(before)
    failed = any(text in message for text in (b"service file", b"definition of service"))
    try:
        _, options = _service.find_service(name, str(file), {"PGSYSCONFDIR": str(folder)})
    except ProgrammingError:
        assert failed
    else:
        assert not failed
        # The others have defaults, or are given.
        for keyword in ("host", "password", "application_name"):
            value = given[keyword]
            assert options.get(keyword) == (None if value is None else value.decode())
