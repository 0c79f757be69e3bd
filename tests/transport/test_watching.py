"""What is told of the steps of connecting, in which order; nothing of it changes what happens."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import anyq
from anyq.startup.opening import open_session
from anyq.startup.parameters import ConnectParameters
from anyq.transport.watching import ConnectWatcher
from tests.support import frontend_messages as fm
from tests.support.certificates import Certificates
from tests.support.fakeserver import FakeClient, fake_server
from tests.support.scripts import session
from tests.support.server import Server
from tests.support.tlsproxies import Proxy, home, proxy

__all__ = ["home", "proxy"]

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop, pytest.mark.usefixtures("home")]


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.given: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def tell(*args: Any) -> None:
            self.steps.append(name)
            self.given[name] = args

        return tell


async def told(dsn: str, **kwargs: Any) -> Told:
    """Make a session, close it, and return what was told."""
    watcher: Any = Told()
    listening: ConnectWatcher = watcher
    defaults = {name: each.default for name, each in signature(anyq.AsyncConnection.connect).parameters.items()}
    given = ConnectParameters.of({**defaults, "conninfo": dsn, "kwargs": kwargs})
    try:
        opened = await open_session(given, listening)
    except anyq.Error as error:
        watcher.error = error
    else:
        await opened.wire.aclose()
    found: Told = watcher
    return found


def test_every_step_is_one_of_the_watchers() -> None:
    steps = {"resolving", "resolved", "dialing", "dialed", "securing", "secured", "logging_in", "logged_in", "failed"}
    assert steps | {"authenticating"} == {name for name in vars(ConnectWatcher) if not name.startswith("_")}


async def test_a_unix_socket(embedded_server: Server) -> None:
    found = await told(embedded_server.dsn)
    assert found.steps == ["resolving", "resolved", "dialing", "dialed", "logging_in", "logged_in"]
    (address, error) = found.given["dialed"]
    assert (str(address[1]), error) == (f"{embedded_server.socket_dir}/.s.PGSQL.{embedded_server.port}", None)


@pytest.mark.parametrize(
    ("method", "name"),
    [("scram-sha-256", "SCRAM-SHA-256"), ("md5", "a password hashed by MD5"), ("password", "a password in clear")],
)
async def test_a_method(embedded_server: Server, method: str, name: str) -> None:
    found = await told(embedded_server.role_dsn(method), sslmode="disable")
    assert found.steps[4:] == ["logging_in", "authenticating", "logged_in"]
    assert found.given["authenticating"] == (name,)


async def test_tls(proxy: Proxy, embedded_server: Server) -> None:
    dsn = embedded_server.role_dsn("trust")
    found = await told(dsn, port=proxy().port)
    assert found.steps[4:] == ["securing", "secured", "logging_in", "logged_in"]
    assert found.given["secured"][0].attributes["protocol"] == "TLSv1.3"
    # The server itself has none.
    found = await told(dsn)
    assert found.steps[4:] == ["securing", "secured", "logging_in", "logged_in"]
    assert found.given["secured"] == (None,)


async def test_what_is_tried_after_tls(proxy: Proxy, embedded_server: Server, certificates: Certificates) -> None:
    dsn = embedded_server.role_dsn("trust")
    found = await told(dsn, port=proxy("expired").port, sslmode="prefer", sslrootcert=str(certificates.root))
    assert found.steps[4:] == ["securing", "failed", "dialing", "dialed", "logging_in", "logged_in"]


async def test_an_address_that_refuses() -> None:
    found = await told("host=127.0.0.1 port=1")
    assert found.steps == ["resolving", "resolved", "dialing", "dialed", "failed"]
    assert isinstance(found.given["dialed"][1], ConnectionRefusedError)


async def test_a_host_after_another(embedded_server: Server, tmp_path: Path) -> None:
    found = await told(embedded_server.dsn, host=f"{tmp_path},{embedded_server.socket_dir}")
    assert found.steps[:5] == ["resolving", "resolved", "dialing", "dialed", "failed"]
    assert found.steps[5:] == ["resolving", "resolved", "dialing", "dialed", "logging_in", "logged_in"]


async def test_an_older_version_of_the_protocol() -> None:
    async def refuse(client: FakeClient) -> None:
        await client.expect(fm.Startup)

    async with fake_server(refuse, session({})) as server:
        found = await told(server.conninfo, sslmode="disable")
    assert found.steps[4:] == ["logging_in", "failed", "logging_in", "logged_in"]
    assert found.given["logging_in"] == (3 << 16,)


async def test_a_session_that_does_not_suit(embedded_server: Server) -> None:
    found = await told(embedded_server.dsn, target_session_attrs="standby")
    assert found.steps[4:] == ["logging_in", "logged_in", "failed"]
