"""Hosts, addresses, ports and socket directories."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from anyq.conninfo import HostSpec, resolve
from anyq.conninfo import hosts as _hosts
from anyq.errors import ProgrammingError

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Unix-domain sockets in /")


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
    ],
)
def test_bad_values(text: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        resolve(text, {"user": "me"} if "host" in text else {"user": "me", "host": "h"}, {})
