"""The password file."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import anyq
from anyq.conninfo import HostSpec, resolve
from anyq.conninfo import hosts as _hosts
from anyq.conninfo.passfile import find_passwords
from anyq.errors import ProgrammingError
from tests.support.server import Server

SECRET = "s3cr3t"

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="permissions and socket directories of Unix")


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(mode)
    return str(path)


def find(text: str, tmp_path: Path, *hosts: HostSpec, dbname: str = "d", user: str = "u") -> tuple[str | None, ...]:
    return find_passwords(write(tmp_path / "pass", text), hosts or (HostSpec("h", None, 1),), dbname, user)


# --- the format ---


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("h:1:d:u:p", "p"),
        ("h:1:d:u:p\n", "p"),
        ("h:1:d:u:p\r\n", "p"),
        ("*:*:*:*:p", "p"),
        ("*:1:*:u:p", "p"),
        # The first entry that matches counts.
        ("x:1:d:u:no\n\n*:*:*:*:p\nh:1:d:u:no\n", "p"),
        ("#h:1:d:u:no\nh:1:d:u:p", "p"),
        # A password ends at a colon, and may have spaces and anything else.
        ("h:1:d:u: p :x", " p "),
        (r"h:1:d:u:a\:b\\c\d", r"a:b\cd"),
        ("h:1:d:u:a\\", "a\\"),
        (r"\h:1:\d:u:p", "p"),
        ("h:1:d:u:", ""),
        ("h:1:d:u:é", "é"),
        ("h:1:d:u:*", "*"),
        ("", None),
        ("h:1:d:u", None),
        ("h:1:d:x:p", None),
        ("h:1:x:u:p", None),
        ("h:2:d:u:p", None),
        ("hh:1:d:u:p", None),
        (" h:1:d:u:p", None),
        ("H:1:d:u:p", None),
        (r"\*:*:*:*:p", None),
        ("**:*:*:*:p", None),
        ("h:1:d:u\\:p", None),
    ],
)
def test_format(text: str, password: str | None, tmp_path: Path) -> None:
    assert find(text, tmp_path) == (password,)


def test_names_with_colons_and_backslashes(tmp_path: Path) -> None:
    text = "\\:\\:1:1:a\\\\b:c\\:d:p"
    assert find(text, tmp_path, HostSpec("::1", None, 1), dbname="a\\b", user="c:d") == ("p",)


def test_a_password_for_each_host(tmp_path: Path) -> None:
    hosts = (HostSpec("a", None, 1), HostSpec("b", "127.0.0.1", 2), HostSpec("127.0.0.1", "127.0.0.1", 2))
    assert find("b:*:d:u:pb\n127.0.0.1:2:d:u:pc\n", tmp_path, *hosts) == (None, "pb", "pc")


@unix_only
@pytest.mark.parametrize("directory", _hosts.SOCKET_DIRECTORIES)
def test_the_default_sockets_are_localhost(directory: str, tmp_path: Path) -> None:
    hosts = (HostSpec(directory, None, 1), HostSpec("/other", None, 1), HostSpec("localhost", None, 1))
    assert find("localhost:1:d:u:p", tmp_path, *hosts) == ("p", None, "p")
    assert find(f"{directory}:1:d:u:p", tmp_path, *hosts) == ("p", None, None)
    # An address makes it a connection by TCP.
    assert find("localhost:1:d:u:p", tmp_path, HostSpec(directory, "127.0.0.1", 1)) == (None,)


ENTRIES = st.lists(
    st.lists(st.sampled_from(["h", "1", "d", "u", "*", ":", ":", "\\", "#", " ", "x"]), max_size=14).map("".join)
)


@given(ENTRIES, st.sampled_from(["\n", "\r\n", "\r\r\n"]))
@example(["*:*:*:*:\\\\\\"], "\n")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_same_as_libpq(psycopg: Any, tmp_path_factory: pytest.TempPathFactory, lines: list[str], newline: str) -> None:
    pq = psycopg.pq
    # Half of the random lines would match nothing at all.
    text = newline.join(f"h:1:d:u:{line}" if number % 2 else line for number, line in enumerate(lines))
    file = write(tmp_path_factory.mktemp("pass") / "pass", text)
    # Nobody is at this address; what counts is what it would connect with.
    libpq = pq.PGconn.connect_start(f"host=h hostaddr=127.0.0.1 port=1 dbname=d user=u passfile={file}".encode())
    expected = libpq.password.decode()
    libpq.finish()
    (found,) = find_passwords(file, (HostSpec("h", "127.0.0.1", 1),), "d", "u")
    assert (found or "") == expected


# --- who may read it ---


@unix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_can_read(mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "pass", f"*:*:*:*:{SECRET}", mode)
    assert find_passwords(path, (HostSpec("h", None, 1),), "d", "u") == (None,)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f'"{path}" is not used: group or others have access' in record.getMessage()


@pytest.mark.parametrize("mode", [0o600, 0o400])
@unix_only
def test_a_file_of_our_own(mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "pass", "*:*:*:*:p", mode)
    assert find_passwords(path, (HostSpec("h", None, 1),), "d", "u") == ("p",)
    assert not caplog.records


@unix_only
def test_what_is_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (str(tmp_path), str(fifo), os.devnull):
        caplog.clear()
        assert find_passwords(path, (HostSpec("h", None, 1),), "d", "u") == (None,)
        assert f'"{path}" is not used: it is not a plain file' in caplog.text


def test_a_file_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "file", "")
    for path in (tmp_path / "none", tmp_path / "no" / "folder", f"{file}/x"):
        assert find_passwords(str(path), (HostSpec("h", None, 1),), "d", "u") == (None,)
    assert not caplog.records


@unix_only
def test_a_file_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert find_passwords(str(loop), (HostSpec("h", None, 1),), "d", "u") == (None,)
    assert f'"{loop}" cannot be read: Too many levels' in caplog.text


# --- in the options ---


def test_where_it_is(tmp_path: Path) -> None:
    name = "postgresql/pgpass.conf" if sys.platform == "win32" else ".pgpass"
    path = write(tmp_path / name, "h:*:*:*:home")
    other, third = write(tmp_path / "other", "h:*:*:*:other"), write(tmp_path / "third", "h:*:*:*:third")
    env = {"HOME": str(tmp_path), "APPDATA": str(tmp_path), "PGUSER": "u"}
    options = resolve("host=h", {}, env)
    assert (options.host_passwords, options.passfile) == (("home",), path)
    assert resolve("host=h", {}, {**env, "PGPASSFILE": other}).host_passwords == ("other",)
    assert resolve("host=h", {"passfile": third}, {**env, "PGPASSFILE": other}).host_passwords == ("third",)
    # Empty means the default, as everywhere.
    assert resolve("host=h passfile=''", {}, {**env, "PGPASSFILE": other}).host_passwords == ("home",)


def test_only_for_want_of_a_password(tmp_path: Path) -> None:
    path = write(tmp_path / "pass", "*:*:*:*:file")
    env = {"PGUSER": "u", "PGPASSFILE": path}
    for text, variables in [("password=p", {}), ("", {"PGPASSWORD": "p"})]:
        options = resolve(f"host=h {text}", {}, {**env, **variables})
        assert (options.password, options.host_passwords, options.passfile) == ("p", (), None)
    options = resolve("host=h password=''", {}, env)
    assert (options.password, options.host_passwords) == (None, ("file",))


def test_each_host_has_its_options(tmp_path: Path) -> None:
    path = write(tmp_path / "pass", "a:*:*:*:pa\nb:*:*:*:\n")
    options = resolve("host=a,b,c", {"user": "u", "passfile": path}, {})
    assert [options.for_host(host).password for host in options.hosts] == ["pa", None, None]
    assert "pa'" not in repr(options)
    same = resolve("host=b,c", {"user": "u", "passfile": path}, {})
    assert same.for_host(same.hosts[0]) is same


def test_a_password_that_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "pass", f"h:*:*:*:{SECRET}\udcff\n*:*:*:*:\udcff")
    with pytest.raises(ProgrammingError, match='the password in the file ".*pass" cannot be encoded') as caught:
        resolve("host=h", {"user": "u", "passfile": path}, {})
    assert SECRET not in str(caught.value)
    # Entries for others do not matter.
    path = write(tmp_path / "pass", "\udcff:*:*:*:\udcff\nh:*:*:*:p")
    assert resolve("host=h", {"user": "u", "passfile": path}, {}).host_passwords == ("p",)


# --- with a server ---


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
async def test_a_login(embedded_server: Server, tmp_path: Path, method: str) -> None:
    role = embedded_server.roles[method]
    path = write(
        tmp_path / "pass", f"/no/such:*:*:*:wrong\n127.0.0.1:{embedded_server.port}:*:{role.user}:{role.password}"
    )
    async with anyq.AsyncConnection.connect(
        f"host=/no/such,127.0.0.1 port={embedded_server.port} user={role.user} dbname=postgres", passfile=path
    ) as conn:
        assert conn.info.password == role.password
        assert conn.info.user == role.user


@pytest.mark.anyio
async def test_a_wrong_password_says_where_it_is_from(embedded_server: Server, tmp_path: Path) -> None:
    role = embedded_server.roles["scram-sha-256"]
    path = write(tmp_path / "pass", f"*:*:*:*:{SECRET}")
    conninfo = f"host=127.0.0.1 port={embedded_server.port} user={role.user} dbname=postgres"
    text = r'\(the password was the one in the file ".*pass"\)'
    with pytest.raises(anyq.errors.InvalidPassword, match=text) as caught:
        await anyq.AsyncConnection.connect(conninfo, passfile=path)
    assert SECRET not in str(caught.value)
    assert caught.value.diag.sqlstate == "28P01"
    with pytest.raises(anyq.errors.InvalidPassword) as caught:
        await anyq.AsyncConnection.connect(conninfo, passfile=path, password="wrong")
    assert "in the file" not in str(caught.value)
