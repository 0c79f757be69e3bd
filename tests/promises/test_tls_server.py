"""PostgreSQL's own TLS: what it binds logins to, which certificates it asks for, what pg_hba.conf tells apart.

Skipped where there is no PostgreSQL with OpenSSL, see tests/support/tls_server.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq import errors as e
from tests.support.certificates import PASS_PHRASE, SIGNATURES, Certificates
from tests.support.tls_server import TlsServer

pytestmark = pytest.mark.anyio

REFUSED = e.InvalidAuthorizationSpecification


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def right(tls_server: TlsServer) -> TlsServer:
    """The server with its right certificate."""
    tls_server.serve("right")
    return tls_server


async def connect(server: TlsServer, role: str, **kwargs: Any) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(server.dsn(role), connect_timeout=30, **kwargs)


async def uses_tls(conn: AsyncConnection[Any]) -> bool:
    cursor = await conn.execute("SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    row = await cursor.fetchone()
    assert row is not None
    # The server sees the same as this side.
    assert row == (conn.info.ssl_in_use, conn.info.ssl_attribute("protocol"), conn.info.ssl_attribute("cipher"))
    return bool(row[0])


@pytest.mark.parametrize(
    ("mode", "role", "tls"),
    [
        ("disable", "anyq_scram", False),
        ("disable", "anyq_only_tls", None),
        ("disable", "anyq_only_clear", False),
        ("allow", "anyq_scram", False),
        ("allow", "anyq_only_tls", True),
        ("allow", "anyq_only_clear", False),
        ("prefer", "anyq_scram", True),
        ("prefer", "anyq_only_tls", True),
        ("prefer", "anyq_only_clear", False),
        ("require", "anyq_scram", True),
        ("require", "anyq_only_tls", True),
        ("require", "anyq_only_clear", None),
        ("verify-full", "anyq_scram", True),
        ("verify-full", "anyq_only_clear", None),
    ],
)
async def test_sslmode(mode: str, role: str, tls: bool | None, right: TlsServer, certificates: Certificates) -> None:
    if tls is None:
        with pytest.raises(REFUSED, match="no encryption" if mode == "disable" else "SSL encryption"):
            await connect(right, role, sslmode=mode, sslrootcert=certificates.root)
        return
    async with await connect(right, role, sslmode=mode, sslrootcert=certificates.root) as conn:
        assert await uses_tls(conn) is tls


async def test_wrong_password(right: TlsServer) -> None:
    with pytest.raises(e.InvalidPassword) as caught:
        await connect(right, "anyq_scram", password="wr0ng", sslmode="prefer")
    assert "with TLS: password authentication failed" in str(caught.value)
    assert "without TLS: password authentication failed" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name != "ed25519"])
async def test_binding(name: str, tls_server: TlsServer, certificates: Certificates) -> None:
    tls_server.serve(name)
    root = str(certificates.certificate(name))
    for options in ({"sslmode": "require"}, {"sslmode": "verify-full", "sslrootcert": root}):
        async with await connect(tls_server, "anyq_scram", channel_binding="require", **options) as conn:
            assert await uses_tls(conn)


async def test_certificate_without_a_hash(tls_server: TlsServer, certificates: Certificates) -> None:
    tls_server.serve("ed25519")
    root = str(certificates.certificate("ed25519"))
    verified = {"sslmode": "verify-full", "sslrootcert": root}
    for options in ({"sslmode": "require"}, {**verified, "channel_binding": "require"}):
        with pytest.raises(e.OperationalError, match="has no hash to bind to"):
            await connect(tls_server, "anyq_scram", **options)
    for options in (verified, {"sslmode": "require", "channel_binding": "disable"}):
        async with await connect(tls_server, "anyq_scram", **options) as conn:
            assert await uses_tls(conn)


@pytest.mark.parametrize("policy", ["disable", "prefer", "require"])
async def test_policies(policy: str, right: TlsServer) -> None:
    async with await connect(right, "anyq_scram", sslmode="require", channel_binding=policy) as conn:
        assert await uses_tls(conn)


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("anyq_md5", "another authentication than SCRAM"),
        ("anyq_password", "another authentication than SCRAM"),
        ("anyq_trust", "let us in without binding"),
    ],
)
async def test_methods_that_cannot_bind(role: str, reason: str, right: TlsServer) -> None:
    with pytest.raises(e.OperationalError, match=reason):
        await connect(right, role, sslmode="require", channel_binding="require")
    async with await connect(right, role, sslmode="require") as conn:
        assert await uses_tls(conn)


async def test_a_taken_offer_is_noticed(right: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client says that it would have bound; the server knows that it has offered to."""
    from anyq.startup import channel_binding as _binding

    real = _binding.ChannelBinding.choose
    monkeypatch.setattr(_binding.ChannelBinding, "choose", lambda self, offered: real(self, ["SCRAM-SHA-256"]))
    with pytest.raises(e.OperationalError, match="channel binding"):
        await connect(right, "anyq_scram", sslmode="require")


@pytest.mark.parametrize("key", ["client", "client-encrypted"])
async def test_login_by_certificate(key: str, right: TlsServer, certificates: Certificates) -> None:
    options = {
        "sslmode": "verify-full",
        "sslrootcert": certificates.root,
        "sslcert": certificates.certificate("client"),
        "sslkey": certificates.key(key),
        "sslpassword": PASS_PHRASE,
        "sslcertmode": "require",
    }
    async with await connect(right, "anyq_cert", **options) as conn:
        cursor = await conn.execute("SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        row = await cursor.fetchone()
        assert row is not None and "CN=anyq" in row[0]  # as much as 63 bytes have room for
    del options["sslcert"], options["sslkey"]
    with pytest.raises(e.OperationalError, match="connection requires a valid client certificate"):
        await connect(right, "anyq_cert", **{**options, "sslcertmode": "allow"})
    with pytest.raises(e.OperationalError, match="let us in without a client certificate"):
        await connect(right, "anyq_scram", **options)


async def test_certificate_of_a_stranger(right: TlsServer, certificates: Certificates) -> None:
    options = {
        "sslcert": certificates.certificate("strange-client"),
        "sslkey": certificates.key("strange-client"),
    }
    # With TLS 1.3 the server looks at it when this side is through, and its alert may be lost with the connection.
    with pytest.raises(e.OperationalError, match="does not know the authority that signed this client's certificate"):
        await connect(right, "anyq_scram", sslmode="require", ssl_max_protocol_version="TLSv1.2", **options)
    with pytest.raises(e.OperationalError):
        await connect(right, "anyq_scram", sslmode="require", **options)


async def test_cancel(right: TlsServer) -> None:
    async with await connect(right, "anyq_only_tls", sslmode="require", autocommit=True) as conn:
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, "SELECT pg_sleep(60)")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert await uses_tls(conn)


async def test_direct(right: TlsServer, certificates: Certificates) -> None:
    options = {"sslmode": "verify-full", "sslrootcert": certificates.root, "sslnegotiation": "direct"}
    if right.version < 170000:
        with pytest.raises(e.OperationalError, match="sslnegotiation=direct needs PostgreSQL 17 or newer"):
            await connect(right, "anyq_scram", **options)
        return
    async with await connect(right, "anyq_scram", autocommit=True, channel_binding="require", **options) as conn:
        assert await uses_tls(conn)
        assert conn.info.ssl_attribute("alpn") == "postgresql"
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, "SELECT pg_sleep(60)")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert await uses_tls(conn)
