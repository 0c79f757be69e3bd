"""A PostgreSQL with OpenSSL, where the machine has one: the embedded package is built without.

Most tests of TLS need none, as `tests.support.tlsproxy` stands before the embedded server. What needs one is skipped
where there is none: how PostgreSQL itself binds SCRAM to its certificate, asks for certificates and tells hostssl from
hostnossl. Debian's package `postgresql` will do, or any folder of programs named in ANYQ_TEST_TLS_BINDIR.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import ssl
from pathlib import Path

import anyq
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable
from tests.support.certificates import Certificates
from tests.support.server import BINDIR
from tests.support.tlsproxy import SSL_REQUEST

PASSWORD = secrets.token_hex(8)

_HBA = """
hostssl   all anyq_scram      127.0.0.1/32 scram-sha-256
hostnossl all anyq_scram      127.0.0.1/32 scram-sha-256
hostssl   all anyq_only_tls   127.0.0.1/32 scram-sha-256
hostnossl all anyq_only_tls   127.0.0.1/32 reject
hostssl   all anyq_only_clear 127.0.0.1/32 reject
hostnossl all anyq_only_clear 127.0.0.1/32 scram-sha-256
hostssl   all anyq_cert       127.0.0.1/32 cert
hostssl   all anyq_md5        127.0.0.1/32 md5
hostssl   all anyq_password   127.0.0.1/32 password
hostssl   all anyq_trust      127.0.0.1/32 trust
"""
ROLES = sorted({line.split()[2] for line in _HBA.split("\n") if line})


def find_bindir() -> Path:
    """Return the folder of a PostgreSQL with OpenSSL: that of the tests' server, or the newest that is found.

    :raises ServerUnavailable: there is none.
    """
    named = os.environ.get("ANYQ_TEST_TLS_BINDIR")
    found = (
        [Path(named)]
        if named
        else [
            *([BINDIR] if BINDIR else []),
            *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True),
            *(Path(program).parent for program in [shutil.which("postgres")] if program),
        ]
    )
    for folder in found:
        program = folder / "postgres"
        if program.exists() and b"SSL_CTX_new" in program.read_bytes():
            return folder
    raise ServerUnavailable(
        "no PostgreSQL with OpenSSL found: install Debian's package postgresql, or name a folder of programs in "
        "ANYQ_TEST_TLS_BINDIR"
    )


class TlsServer:
    """A running server with `ssl = on`. All methods block."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._embedded = EmbeddedServer(
            bindir=find_bindir(),
            tcp=True,
            settings={"ssl": "on", "ssl_ca_file": "root.crt", "password_encryption": "scram-sha-256"},
            hba=_HBA,
        )
        try:
            self._install("right")
            self._embedded.start()
            self._serving = "right"
            with anyq.connect(self._embedded.dsn, autocommit=True) as conn:
                for role in ROLES:
                    encryption = "md5" if role == "anyq_md5" else "scram-sha-256"
                    conn.execute(f"SET password_encryption = '{encryption}'".encode())
                    conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'".encode())
                self.version = conn.info.server_version
        except BaseException:
            self._embedded.close()
            raise

    @property
    def port(self) -> int:
        return self._embedded.port

    def dsn(self, role: str) -> str:
        return f"host=localhost hostaddr=127.0.0.1 port={self.port} user={role} password={PASSWORD} dbname=postgres"

    def serve(self, name: str) -> None:
        """Have the server use another certificate for connections that begin from now on."""
        if name == self._serving:
            return
        self._install(name)
        with anyq.connect(self._embedded.dsn, autocommit=True) as conn:
            conn.execute("SELECT pg_reload_conf()")
        wanted = self._certificates.der(name)
        while self._certificate() != wanted:
            pass
        self._serving = name

    def close(self) -> None:
        self._embedded.close()

    def _certificate(self) -> bytes | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(SSL_REQUEST)
            assert sock.recv(1) == b"S"
            with context.wrap_socket(sock) as tls:
                return tls.getpeercert(binary_form=True)

    def _install(self, name: str) -> None:
        datadir = self._embedded.datadir
        owner = datadir.stat()
        for source, target in (
            (self._certificates.certificate(name), "server.crt"),
            (self._certificates.key(name), "server.key"),
            (self._certificates.root, "root.crt"),
        ):
            path = datadir / target
            shutil.copy(source, path)
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)
