"""Contexts from options: certificates, keys, lists of revoked ones; by connections to a proxy that has the TLS."""

from __future__ import annotations

import os
import ssl
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from anyq import errors as e
from anyq.transport import tls_context
from tests.support.certificates import PASS_PHRASE, Certificates
from tests.support.server import Server
from tests.support.tlsproxies import Proxy
from tests.support.tlsproxy import tls_proxy

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]


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

    def is_shared(**kwargs: Any) -> bool:
        options = TlsOptions(folder=str(home / ".postgresql"), **kwargs)
        return tls_context.build_context(options) is tls_context.build_context(options)

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

    from anyq.startup import encryption

    threads: list[int] = []

    def build(options: Any) -> Any:
        threads.append(threading.get_ident())
        return tls_context.build_context(options)

    monkeypatch.setattr(encryption, "build_context", build)
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
