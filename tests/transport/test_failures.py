"""What failed in which attempt, and the one error that tells of all."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from anyq.errors import ConnectionTimeout, InterfaceError, OperationalError
from anyq.transport import dialing
from anyq.transport.dialing import open_host
from anyq.transport.failures import DialError, Failure, combine_errors, failure_at
from tests.support.listeners import LOCALHOST, dial, listen, listen_unix, options, resolve_to, tcp
from tests.support.loops import ALL_LOOPS

pytestmark = [
    pytest.mark.anyio,
    # Full queues, abstract sockets and 127.0.0.2 behave in their own ways elsewhere.
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's sockets"),
]


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_every_attempt_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.3")
    with pytest.raises(OperationalError) as caught:
        await dial(options(tcp(str(tmp_path), 5433), tcp("db.example", 1), tcp(LOCALHOST, 1)))
    first, *lines = str(caught.value).splitlines()
    assert first == "connection failed, all 4 attempts:"
    assert lines[0].startswith(f'- socket "{tmp_path}/.s.PGSQL.5433": No such file or directory; ')
    assert lines[1].startswith('- host "db.example" (127.0.0.2), port 1: Connection refused; ')
    assert lines[2].startswith('- host "db.example" (127.0.0.3), port 1: Connection refused; ')
    assert lines[3].startswith(f'- host "{LOCALHOST}", port 1: Connection refused; ')
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_refused_tcp() -> None:
    with pytest.raises(OperationalError, match=r"connection failed: host .* refused; .*running.*listen_addresses"):
        await dial(options(tcp(LOCALHOST, 1)))


async def test_missing_socket_file(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match=r"no such socket file.*unix_socket_directories"):
        await dial(options(tcp(str(tmp_path), 5432)))


async def test_abandoned_socket_file(tmp_path: Path) -> None:
    with ExitStack() as resources:
        listen_unix(resources, tmp_path)
    with pytest.raises(OperationalError, match="nobody listens at this socket"):
        await dial(options(tcp(str(tmp_path), 5432)))


async def test_long_socket_path() -> None:
    with pytest.raises(OperationalError, match="too long; .*shorter directory"):
        await dial(options(tcp("/tmp/" + "x" * 200, 5432)))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EACCES, "Permission denied; check the permissions of the directory"),
        (errno.ENOTSOCK, "Socket operation on non-socket$"),
    ],
)
async def test_other_socket_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, expected: str) -> None:
    def connect(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(OperationalError, match=expected):
        await dial(options(tcp(str(tmp_path), 5432)))


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.ENETUNREACH, "unreachable; check the address"), (errno.EHOSTUNREACH, "No route to host; check the")],
)
async def test_unreachable_address(monkeypatch: pytest.MonkeyPatch, code: int, expected: str) -> None:
    async def connect(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(dialing, "connect", connect)
    with pytest.raises(OperationalError, match=expected):
        await dial(options(tcp("192.0.2.1", 5432)))


async def test_system_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*args: Any) -> None:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(dialing, "connect", connect)
    with pytest.raises(ConnectionTimeout, match="timed out; check the address.*firewall"):
        await dial(options(tcp("192.0.2.1", 5432)))


async def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(OperationalError, match=r'host "nowhere", port 1: Name or .*; check the spelling') as caught:
        await dial(options(tcp("nowhere", 1)))
    assert isinstance(caught.value.__cause__, socket.gaierror)


@pytest.mark.parametrize("name", ["a..b", "x" * 300, "\xad", "a\ud800b"])
async def test_impossible_name(name: str) -> None:
    with pytest.raises(OperationalError):
        await dial(options(tcp(name, 1)))


def test_combine_nothing() -> None:
    assert "no host" in str(combine_errors([]))


def test_combine_one_that_is_complete() -> None:
    error = OperationalError("password authentication failed")
    assert combine_errors([error]) is error


def test_combine_becomes_operational() -> None:
    error = InterfaceError("odd")
    combined = combine_errors([error])
    assert type(combined) is OperationalError
    assert combined.__cause__ is error
    assert str(combined) == "connection failed: odd"


def test_combine_timeouts() -> None:
    host = tcp("name", 1)
    slow = DialError.of([Failure(host, LOCALHOST, "slow", True)])
    refused = DialError.of([Failure(host, None, "refused")])
    login = failure_at(host, None, ConnectionTimeout("no answer to the start-up"))
    assert type(combine_errors([slow, login])) is ConnectionTimeout
    assert type(combine_errors([slow, refused])) is OperationalError


async def test_failure_to_log_in(resources: ExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    resolve_to(monkeypatch, LOCALHOST)
    host = tcp("name", listen(resources).getsockname()[1])
    error = OperationalError("wrong password")
    stream = await open_host(host, options(host))
    failure = failure_at(host, stream, error)
    assert str(failure) == f'connection failed: host "name" ({LOCALHOST}), port {host.port}: wrong password'
    combined = combine_errors([failure])
    assert combined.__cause__ is error
    stream.close_now()


def test_errors_pickle() -> None:
    error = DialError.of([Failure(tcp("name", 1), LOCALHOST, "refused")])
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.failures == error.failures
