"""Connections over TLS to the embedded server, by way of a proxy that has the TLS (see tests/support/tlsproxy.py)."""

from __future__ import annotations

import logging
import os
import ssl
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from anyq.transport import tls_context
from tests.support.certificates import PASS_PHRASE, Certificates
from tests.support.server import Server
from tests.support.stepping import cancel_at_each_wait
from tests.support.tlsproxy import TlsProxy, tls_proxy

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
MEGABYTE = 1 << 20

Proxy = Callable[..., TlsProxy]


@pytest.fixture(autouse=True)
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


# --- sslmode by certificates

NAMES = ["right", "wrong-host", "expired", "early", "self-signed", "stranger", "revoked"]
MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
REASONS = {
    "wrong-host": "is for another host name",
    "expired": "has expired",
    "early": "is not valid yet",
    "self-signed": "is signed by itself",
    "stranger": "authority that is not trusted",
    "revoked": "was revoked",
}


def outcome(mode: str, name: str, trusts: bool) -> str:
    """Return what libpq does: "tls", "clear" or "error"."""
    if mode in ("disable", "allow"):
        return "clear"
    if not trusts:
        # Without root certificates there is nothing to verify with.
        return "error" if mode.startswith("verify") else "tls"
    if name == "right" or name == "wrong-host" and mode != "verify-full":
        return "tls"
    return "clear" if mode == "prefer" else "error"


@pytest.mark.parametrize("trusts", [False, True], ids=["blind", "trusting"])
@pytest.mark.parametrize("mode", MODES)
async def test_sslmode(
    mode: str, trusts: bool, proxy: Proxy, connect: Any, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"sslmode": mode}
    if trusts:
        options |= {"sslrootcert": certificates.root, "sslcrl": certificates.crl}
    for name in NAMES:
        running = proxy(name)
        caplog.clear()
        expected = outcome(mode, name, trusts)
        if expected == "error":
            with pytest.raises(e.OperationalError) as caught:
                await connect(running, **options)
            message = str(caught.value)
            if trusts:
                assert 'host "localhost" (127.0.0.1), port' in message
                assert REASONS[name] in message
                assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
                assert await anyio.to_thread.run_sync(lambda: running.closed.acquire(timeout=10))  # noqa: B023
                assert running.log == ["handshake failed"]
            else:
                assert "needs a root certificate file" in message
            continue
        async with connect(running, **options) as conn:
            cursor = await conn.execute("SELECT 42")
            assert await cursor.fetchone() == (42,)
            assert conn.info.ssl_in_use is (expected == "tls")
        fell_back = expected == "clear" and mode == "prefer"
        assert running.log == (["handshake failed", "clear"] if fell_back else [expected])
        # That others can read the connection is told.
        assert ("trying without TLS" in caplog.text) is fell_back


@pytest.mark.parametrize("mode", MODES)
async def test_server_without_tls(
    mode: str, embedded_server: Server, connect: Any, certificates: Certificates, tls_portal: BlockingPortal
) -> None:
    with tls_proxy(tls_portal, embedded_server.port, None) as running:
        options = {"sslmode": mode, "sslrootcert": certificates.root}
        if mode in ("disable", "allow", "prefer"):
            async with connect(running, **options) as conn:
                assert not conn.info.ssl_in_use
            # On one connection, asked or not.
            assert running.log == (["refused"] if mode == "prefer" else ["clear"])
        else:
            with pytest.raises(e.OperationalError, match="does not support TLS, and it is required"):
                await connect(running, **options)


@pytest.mark.parametrize("mode", MODES)
async def test_unix_sockets_have_no_tls(mode: str, embedded_server: Server) -> None:
    async with AsyncConnection.connect(embedded_server.dsn, sslmode=mode) as conn:
        assert not conn.info.ssl_in_use


async def test_default_is_prefer(proxy: Proxy, connect: Any) -> None:
    running = proxy()
    async with connect(running) as conn:
        assert conn.info.ssl_in_use
    assert running.log == ["tls"]


# --- names


@pytest.mark.parametrize("sni", ["0", "1"])
@pytest.mark.parametrize(
    ("name", "host", "right"),
    [
        ("right", "localhost", True),
        ("right", "LOCALHOST", True),
        ("right", "127.0.0.1", True),
        ("wrong-host", "db.example.com", True),
        ("wrong-host", "localhost", False),
        ("wrong-host", "127.0.0.1", False),
        ("wildcard", "db.example.com", True),
        ("wildcard", "a.db.example.com", False),
        ("wildcard", "example.com", False),
        ("common-name", "localhost", True),
        ("common-name", "example.com", False),
        ("common-name", "127.0.0.1", False),
    ],
)
async def test_host_names(
    name: str, host: str, right: bool, sni: str, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    running = proxy(name)
    root = certificates.certificate(name) if name == "common-name" else certificates.root
    options = {"host": host, "sslmode": "verify-full", "sslrootcert": root, "sslsni": sni}
    if right:
        async with connect(running, **options):
            pass
    else:
        with pytest.raises(e.OperationalError, match="is for another host name|is not for this IP address"):
            await connect(running, **options)
    is_address = host[0].isdigit()
    assert running.names == [None if is_address or sni == "0" else host]


@pytest.mark.parametrize("host", ["a..b", "x" * 100])
async def test_name_that_tls_cannot_have(host: str, proxy: Proxy, connect: Any) -> None:
    with pytest.raises(e.OperationalError, match="cannot be used with TLS"):
        await connect(proxy(), host=host, sslmode="require")


# --- files


def install(home: Path, **files: Path) -> None:
    folder = home / ".postgresql"
    folder.mkdir()
    for name, source in files.items():
        target = folder / name.replace("_", ".")
        target.write_bytes(source.read_bytes())
        target.chmod(0o600)


async def test_default_files(home: Path, proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    install(
        home,
        root_crt=certificates.root,
        root_crl=certificates.crl,
        postgresql_crt=certificates.certificate("client"),
        postgresql_key=certificates.key("client"),
    )
    async with connect(proxy(verify=True), sslmode="verify-full") as conn:
        assert conn.info.ssl_in_use
    # "require" verifies as well where there is something to verify with.
    for name, reason in (("stranger", "not trusted"), ("revoked", "revoked")):
        with pytest.raises(e.OperationalError, match=reason):
            await connect(proxy(name), sslmode="require")
    with pytest.raises(e.OperationalError, match="the server wants a client certificate"):
        await connect(proxy(verify=True), sslmode="require", sslcertmode="disable")


async def test_environment(
    proxy: Proxy, connect: Any, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": certificates.root,
        "PGSSLCERT": certificates.certificate("client"),
        "PGSSLKEY": certificates.key("client"),
        "PGSSLMINPROTOCOLVERSION": "TLSv1.2",
        "PGSSLMAXPROTOCOLVERSION": "tlsv1.2",
        "PGSSLNEGOTIATION": "direct",
        "PGSSLSNI": "0",
    }.items():
        monkeypatch.setenv(name, str(value))
    running = proxy(verify=True)
    async with connect(running) as conn:
        assert conn.info.ssl_attribute("protocol") == "TLSv1.2"
    assert running.log == ["direct"]
    assert running.names == [None]


async def test_files_that_come_later(home: Path, proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    """A context is shared only as long as its files are the same."""
    running = proxy("revoked")
    folder = home / ".postgresql"
    async with connect(running, sslmode="require"):
        pass
    install(home, root_crt=certificates.other_root)
    with pytest.raises(e.OperationalError, match="not trusted"):
        await connect(running, sslmode="require")
    (folder / "root.crt").write_bytes(certificates.root.read_bytes())
    async with connect(running, sslmode="require"):
        pass
    (folder / "root.crl").write_bytes(certificates.crl.read_bytes())
    with pytest.raises(e.OperationalError, match="revoked"):
        await connect(running, sslmode="require")
    (folder / "root.crt").unlink()
    async with connect(running, sslmode="require"):
        pass


def test_what_is_shared(home: Path, certificates: Certificates) -> None:
    """Nothing that holds a private key."""
    from anyq.conninfo import TlsOptions
    from anyq.transport.tls_context import build_context

    def is_shared(**kwargs: Any) -> bool:
        options = TlsOptions(folder=str(home / ".postgresql"), **kwargs)
        return build_context(options) is build_context(options)

    root = str(certificates.root)
    certificate, key = str(certificates.certificate("client")), str(certificates.key("client"))
    assert is_shared()
    assert is_shared(rootcert=root, mode="verify-full")
    assert not is_shared(rootcert=root, cert=certificate, key=key)
    assert not is_shared(rootcert="/nonexistent")
    assert not is_shared(password="x")
    install(home, postgresql_crt=certificates.certificate("client"), postgresql_key=certificates.key("client"))
    assert not is_shared()
    assert is_shared(certmode="disable")


@pytest.mark.parametrize("by_folder", [False, True])
async def test_revoked(by_folder: bool, tmp_path: Path, proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    options: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": certificates.root}
    if by_folder:
        # Named by a hash of the issuer, as `openssl rehash` does; which hash it is does not matter here.
        (tmp_path / "crls").mkdir()
        (tmp_path / "crls" / "0123abcd.r0").write_bytes(certificates.crl.read_bytes())
        (tmp_path / "crls" / "README").write_text("not a list")
        options["sslcrldir"] = tmp_path / "crls"
    else:
        options["sslcrl"] = certificates.crl
    async with connect(proxy("right"), **options):
        pass
    with pytest.raises(e.OperationalError, match="revoked"):
        await connect(proxy("revoked"), **options)
    async with connect(proxy("revoked"), sslmode="verify-full", sslrootcert=certificates.root):
        pass


@pytest.mark.parametrize("keyword", ["sslcrl", "sslcrldir"])
async def test_missing_revocations(
    keyword: str, proxy: Proxy, connect: Any, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """libpq passes over them; who asks for verification would not want that."""
    options = {"sslrootcert": certificates.root, keyword: "/nonexistent"}
    with pytest.raises(e.OperationalError, match=f"{keyword}.*cannot be found, so revoked certificates would"):
        await connect(proxy(), sslmode="verify-ca", **options)
    async with connect(proxy(), sslmode="require", **options):
        assert f"revoked certificates are not refused: {keyword}" in caplog.text


async def test_missing_root_certificate(proxy: Proxy, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    options = {"sslrootcert": "/nonexistent"}
    async with connect(proxy(), sslmode="require", **options):
        assert 'not verified: sslrootcert "/nonexistent" does not exist' in caplog.text
    with pytest.raises(e.OperationalError, match='needs a root certificate file, and "/nonexistent" does not exist'):
        await connect(proxy(), sslmode="verify-ca", **options)


@pytest.mark.parametrize(
    ("keyword", "content", "message"),
    [
        ("sslrootcert", b"rubbish", "has nothing in PEM format"),
        ("sslrootcert", None, "cannot be read: "),
        ("sslcrl", b"rubbish", "has nothing in PEM format"),
        ("sslcert", b"rubbish", "is not in PEM format"),
        ("sslkey", b"rubbish", "is not in PEM format"),
        ("sslkey", None, "is not a regular file"),
    ],
)
async def test_bad_files(
    keyword: str,
    content: bytes | None,
    message: str,
    tmp_path: Path,
    proxy: Proxy,
    connect: Any,
    certificates: Certificates,
) -> None:
    path = tmp_path / "file"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
        path.chmod(0o600)
    options: dict[str, Any] = {
        "sslrootcert": certificates.root,
        "sslcert": certificates.certificate("client"),
        "sslkey": certificates.key("client"),
        keyword: path,
    }
    with pytest.raises(e.OperationalError, match=message) as caught:
        await connect(proxy(), sslmode="require", **options)
    assert str(path) in str(caught.value)


async def test_system_certificates(
    proxy: Proxy, connect: Any, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.root))
    async with connect(proxy(), sslrootcert="system") as conn:
        assert conn.info.ssl_in_use
    # It verifies the name as well, since anybody can have a certificate of those authorities.
    with pytest.raises(e.OperationalError, match="another host name"):
        await connect(proxy("wrong-host"), sslrootcert="system")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.other_root))
    with pytest.raises(e.OperationalError, match="not trusted"):
        await connect(proxy(), sslrootcert="system")


@pytest.mark.parametrize(
    ("key", "password", "message"),
    [
        ("client", None, None),
        ("client", "not needed", None),
        ("client-encrypted", PASS_PHRASE, None),
        ("client-encrypted", None, "is encrypted: give its pass phrase as sslpassword"),
        ("client-encrypted", "wrong-pass-phrase", "is not the pass phrase"),
        ("stranger", None, "the key is not that of the certificate"),
    ],
)
async def test_client_certificate(
    key: str, password: str | None, message: str | None, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    running = proxy(verify=True)
    options = {
        "sslmode": "require",
        "sslcert": certificates.certificate("client"),
        "sslkey": certificates.key(key),
        "sslpassword": password,
        "sslcertmode": "require",
    }
    if message is None:
        async with connect(running, **options) as conn:
            assert conn.info.ssl_in_use
            assert password is None or password not in conn.info.dsn
        return
    with pytest.raises(e.OperationalError, match=message) as caught:
        await connect(running, **options)
    assert password is None or password not in str(caught.value)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(("name", "message"), [(None, "wants a client certificate"), ("strange-client", "authority")])
async def test_client_certificate_that_is_not_accepted(
    version: str, name: str | None, message: str, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    options: dict[str, Any] = {"sslmode": "require", "ssl_max_protocol_version": version}
    if name is not None:
        options |= {"sslcert": certificates.certificate(name), "sslkey": certificates.key(name)}
    elif version == "TLSv1.2":
        message = "nothing that both sides support"
    # With TLS 1.3 the handshake is over for us before the server has looked at the certificate.
    with pytest.raises(e.OperationalError, match=message):
        await connect(proxy(verify=True), **options)


async def test_certificate_without_key(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    with pytest.raises(e.OperationalError, match="but not its private key file"):
        await connect(proxy(), sslmode="require", sslcert=certificates.certificate("client"))


async def test_certificate_that_is_not_there(proxy: Proxy, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(proxy(), sslmode="require", sslcert="/nonexistent"):
        assert 'no client certificate is sent: sslcert "/nonexistent" does not exist' in caplog.text


async def test_certmode_require(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    options = {
        "sslmode": "require",
        "sslcertmode": "require",
        "sslcert": certificates.certificate("client"),
        "sslkey": certificates.key("client"),
    }
    for version in ("TLSv1.2", "TLSv1.3"):
        with pytest.raises(e.OperationalError, match="did not ask for a client certificate"):
            await connect(proxy(), ssl_max_protocol_version=version, **options)
    with pytest.raises(e.OperationalError, match="did not ask for a client certificate"):
        await connect(proxy(), sslmode="disable", sslcertmode="require")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are of Unix")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o400])
async def test_key_that_others_can_read(
    mode: int, tmp_path: Path, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    key = tmp_path / "key"
    key.write_bytes(certificates.key("client").read_bytes())
    key.chmod(mode)
    options = {"sslmode": "require", "sslcert": certificates.certificate("client"), "sslkey": key}
    # The group may read a key of root's, which is then how the administrator shares it.
    if mode == 0o400 or mode == 0o640 and os.geteuid() == 0:
        async with connect(proxy(verify=True), **options):
            pass
        return
    with pytest.raises(e.OperationalError, match=f"can be read by others.*{mode:04o}.*chmod 0600"):
        await connect(proxy(verify=True), **options)


async def test_key_log_file(tmp_path: Path, proxy: Proxy, connect: Any) -> None:
    path = tmp_path / "keys"
    async with connect(proxy(), sslmode="require", sslkeylogfile=path):
        pass
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(e.OperationalError, match=r'sslkeylogfile ".*" cannot be written'):
        await connect(proxy(), sslmode="require", sslkeylogfile=tmp_path / "nowhere" / "keys")


async def test_files_are_read_in_a_thread(
    proxy: Proxy, connect: Any, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from anyq.startup import encryption as _encryption

    real = tls_context.build_context
    threads: list[int] = []

    def build(options: Any) -> Any:
        threads.append(threading.get_ident())
        return real(options)

    monkeypatch.setattr(_encryption, "build_context", build)
    async with connect(proxy(), sslmode="verify-full", sslrootcert=certificates.root):
        pass
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


@pytest.mark.skipif(sys.platform == "win32", reason="what is watched are the functions of Unix")
async def test_nothing_blocks(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    from tests.support.blocking import calls_that_block

    running = proxy(verify=True)
    options = {
        "sslmode": "verify-full",
        "sslrootcert": certificates.root,
        "sslcrl": certificates.crl,
        "sslcert": certificates.certificate("client"),
        "sslkey": certificates.key("client"),
        "sslcertmode": "require",
    }
    # What is done for the first time only, such as imports, is not of interest.
    for _ in range(2):
        with calls_that_block() as found:
            async with connect(running, **options) as conn:
                await conn.cancel_safe()
    assert found == [], found[0]


# --- versions and negotiation


async def test_versions(proxy: Proxy, connect: Any) -> None:
    running = proxy()
    for version in ("TLSv1.2", "TLSv1.3"):
        options = {"ssl_min_protocol_version": version, "ssl_max_protocol_version": version}
        async with connect(running, sslmode="require", **options) as conn:
            assert conn.info.ssl_attribute("protocol") == version


async def test_no_version_in_common(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    context = certificates.server_context("right")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        tls_proxy(tls_portal, embedded_server.port, context) as running,
        pytest.raises(e.OperationalError, match="ssl_max_protocol_version|versions of TLS"),
    ):
        await connect(running, sslmode="require", ssl_min_protocol_version="TLSv1.3")


async def test_direct(proxy: Proxy, connect: Any) -> None:
    running = proxy()
    async with connect(running, sslmode="require", sslnegotiation="direct") as conn:
        assert conn.info.ssl_attribute("alpn") == "postgresql"
    assert running.log == ["direct"]
    with pytest.raises(e.OperationalError, match=r"did not choose the protocol .postgresql. \(ALPN\)"):
        await connect(proxy(alpn=False), sslmode="require", sslnegotiation="direct")
    # Nobody asks for it otherwise, as servers before PostgreSQL 17 do not know it.
    async with connect(proxy(alpn=False), sslmode="require") as conn:
        assert conn.info.ssl_attribute("alpn") == ""


async def test_direct_to_a_server_that_wants_to_be_asked(proxy: Proxy, connect: Any) -> None:
    with pytest.raises(e.OperationalError, match="sslnegotiation=direct needs PostgreSQL 17 or newer"):
        await connect(proxy(clear=False, direct=False), sslmode="require", sslnegotiation="direct")


# --- a context of the caller's


async def test_context(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    context = certificates.client_context()
    for options in ({}, {"sslmode": "verify-full"}, {"sslnegotiation": "direct"}):
        async with connect(proxy(), ssl_context=context, **options) as conn:
            assert conn.info.ssl_in_use
    for name, reason in REASONS.items():
        if name != "revoked":
            with pytest.raises(e.OperationalError, match=reason):
                await connect(proxy(name), ssl_context=context)


async def test_context_never_goes_without_tls(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    with (
        tls_proxy(tls_portal, embedded_server.port, None) as running,
        pytest.raises(e.OperationalError, match="does not support TLS"),
    ):
        await connect(running, ssl_context=certificates.client_context())


async def test_context_of_another_protocol(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.root)
    async with connect(proxy(), ssl_context=context):
        pass
    with pytest.raises(e.OperationalError, match="context.set_alpn_protocols"):
        await connect(proxy(), ssl_context=context, sslnegotiation="direct")


async def test_server_of_another_protocol(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    server, client = certificates.server_context("right"), certificates.client_context()
    for context in (server, client):
        context.set_alpn_protocols(["imap"])
    with (
        tls_proxy(tls_portal, embedded_server.port, server) as running,
        pytest.raises(e.OperationalError, match='speaks the protocol "imap"'),
    ):
        await connect(running, ssl_context=client)


async def test_context_and_stream(proxy: Proxy, certificates: Certificates) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", proxy().port)
    with pytest.raises(e.ProgrammingError, match="stream of your own"):
        await AsyncConnection.connect("user=x", stream=stream, ssl_context=certificates.client_context())
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()


# --- what connections do


async def test_info(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require") as conn:
        info = conn.info
        assert info.ssl_attribute_names == ["library", "protocol", "cipher", "key_bits", "compression", "alpn"]
        assert info.ssl_attribute("library") == "OpenSSL"
        assert info.ssl_attribute("protocol") == "TLSv1.3"
        assert (info.ssl_attribute("cipher") or "").startswith("TLS_AES")
        assert info.ssl_attribute("key_bits") in ("128", "256")
        assert info.ssl_attribute("compression") == "off"
        assert info.ssl_attribute("nothing") is None
        assert info.hostaddr == "127.0.0.1"
        assert info.get_parameters()["sslmode"] == "require"
    async with connect(proxy(), sslmode="disable") as conn:
        assert conn.info.ssl_attribute_names == []
        assert conn.info.ssl_attribute("protocol") is None


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
async def test_cancel_over_tls(negotiation: str, proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    running = proxy()
    options = {"sslmode": "verify-full", "sslrootcert": certificates.root, "sslnegotiation": negotiation}
    way = "direct" if negotiation == "direct" else "tls"
    async with connect(running, autocommit=True, **options) as conn:
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, "SELECT pg_sleep(60)")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        cursor = await conn.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)
    assert running.log[:3] == [way, way, "cancel"]
    assert set(running.log[3:]) <= {way, "cancel"}  # if the first came too early, it was sent again
    # By the same name.
    assert set(running.names) == {"localhost"}


async def test_cancel_key_is_not_sent_in_clear(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    context = certificates.server_context("right")
    with tls_proxy(tls_portal, embedded_server.port, context) as running:
        async with connect(running, sslmode="prefer", grace_period=0.5) as conn:
            # From now on the server claims that it has no TLS.
            running._context = None
            with anyio.CancelScope() as scope:
                scope.cancel()
                await conn.execute("SELECT 1")
            async with anyio.create_task_group() as group:
                group.start_soon(conn.execute, "SELECT pg_sleep(60)")
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            assert conn.broken
        assert "cancel" not in running.log


async def test_big_result(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require") as conn:
        cursor = await conn.execute(f"SELECT repeat('x', {20 * MEGABYTE}), 'end'")
        big, end = await cursor.fetchone()
        assert (len(big), end) == (20 * MEGABYTE, "end")
        cursor = await conn.execute("SELECT n, repeat('y', 100) FROM generate_series(1, 100000) AS n")
        rows = await cursor.fetchall()
        assert len(rows) == 100000
        assert rows[-1] == (100000, "y" * 100)


async def test_large_values_both_ways_at_once(proxy: Proxy, connect: Any) -> None:
    """Both sides have more to say than fits anywhere before the other one reads."""
    size, count = MEGABYTE, 16
    async with connect(proxy(), sslmode="require") as conn:
        with anyio.fail_after(PATIENCE):
            async with conn.cursor() as cursor:
                await cursor.executemany("SELECT %s::text", [(str(n) * size,) for n in range(count)], returning=True)
                received = []
                while True:
                    row = await cursor.fetchone()
                    assert row is not None
                    received.append((row[0][0], len(row[0])))
                    if not cursor.nextset():
                        break
        assert received == [(str(n)[0], size * len(str(n))) for n in range(count)]


async def test_notifications(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require", autocommit=True) as conn:
        async with conn.listen("tls") as stream, anyio.create_task_group() as group:
            received: list[Any] = []

            async def receive() -> None:
                async for notify in stream:
                    received.append(notify.payload)
                    if len(received) == 3:
                        return

            group.start_soon(receive)
            for number in range(3):
                await conn.execute("SELECT pg_notify('tls', %s)", [str(number)])
        assert received == ["0", "1", "2"]


async def test_disconnection(proxy: Proxy, connect: Any, embedded_server: Server) -> None:
    async with connect(proxy(), sslmode="require", autocommit=True) as conn:
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with anyio.fail_after(PATIENCE):
                    await conn.wait_disconnected()
                group.cancel_scope.cancel()

            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(
                embedded_server.psql, f"SELECT pg_terminate_backend({conn.info.backend_pid})"
            )
            await anyio.sleep_forever()
        assert conn.closed


async def test_many_tasks_share_a_connection(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require", autocommit=True) as conn:
        results: list[int] = []

        async def query(number: int) -> None:
            cursor = await conn.execute("SELECT %s::int, repeat('z', 100000)", [number])
            results.append((await cursor.fetchone())[0])

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(query, number)
        assert sorted(results) == list(range(20))


@pytest.mark.parametrize("natively", [False, True])
async def test_cancelled_connect_leaves_no_socket(
    anyio_backend: Any, natively: bool, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    if natively and anyio_backend[0] == "trio":
        pytest.skip("trio has one kind of cancellation")
    running = proxy()
    options = {"sslmode": "verify-full", "sslrootcert": certificates.root}

    async def dial() -> None:
        async with connect(running, **options):
            pass

    async def check() -> None:
        """Nothing to see from here; the proxy is asked at the end."""

    assert await cancel_at_each_wait(dial, check, natively=natively) > 5
    # The last to come, so all the others have been counted.
    await dial()
    for _ in range(running.opened):
        assert await anyio.to_thread.run_sync(lambda: running.closed.acquire(timeout=10))


async def test_fallback_keeps_to_the_deadline(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    running = proxy("stranger")
    with pytest.raises(e.ConnectionTimeout):
        await connect(running, sslmode="prefer", sslrootcert=certificates.root, connect_timeout=1e-9)


def test_sync(
    proxy: Proxy, embedded_server: Server, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    dsn = embedded_server.role_dsn("scram-sha-256")
    target: dict[str, Any] = {"host": "localhost", "hostaddr": "127.0.0.1", "port": proxy().port}
    with anyq.connect(dsn, sslmode="verify-full", sslrootcert=str(certificates.root), **target) as conn:
        assert conn.info.ssl_in_use
    with anyq.connect(dsn, ssl_context=certificates.client_context(), **target) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        assert conn.info.ssl_attribute("protocol") == "TLSv1.3"
