"""Proxies that have the TLS of the embedded server, as fixtures: a folder's conftest imports those that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from anyq import AsyncConnection
from tests.support.certificates import Certificates
from tests.support.server import Server
from tests.support.tlsproxy import TlsProxy, tls_proxy

PATIENCE = 30.0


Proxy = Callable[..., TlsProxy]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without any files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def proxy(embedded_server: Server, tls_portal: BlockingPortal, certificates: Certificates) -> Iterator[Proxy]:
    """Starts proxies, each with the named certificate."""
    with ExitStack() as stack:

        def start(name: str = "right", *, verify: bool = False, alpn: bool = True, **kwargs: Any) -> TlsProxy:
            context = certificates.server_context(name, verify=verify, alpn=alpn)
            return stack.enter_context(tls_proxy(tls_portal, embedded_server.port, context, **kwargs))

        yield start


@pytest.fixture
def connect(embedded_server: Server) -> Callable[..., Any]:
    """Connects by a proxy; keywords are those of connect()."""

    def connect(proxy: TlsProxy, **kwargs: Any) -> Any:
        target: dict[str, Any] = {
            "host": "localhost",
            "hostaddr": "127.0.0.1",
            "port": proxy.port,
            "connect_timeout": PATIENCE,
        }
        return AsyncConnection.connect(embedded_server.role_dsn("scram-sha-256"), **{**target, **kwargs})

    return connect


REASONS = {
    "wrong-host": "is for another host name",
    "expired": "has expired",
    "early": "is not valid yet",
    "self-signed": "is signed by itself",
    "stranger": "authority that is not trusted",
    "revoked": "was revoked",
}
