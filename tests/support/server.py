"""The PostgreSQL server that the tests run on: an embedded one, or an external one if the caller named it.

A test never touches a database that nobody named: an external server is used only where ANYQ_TEST_DSN is
set, or, if it is not, PGHOST. There, tests keep to temporary tables and to schemas of their own (the fixture
`schema`).
"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import NamedTuple

from anyq.cli.embedded import EmbeddedServer, find_bindir

#: PostgreSQL's major version to embed; the package brings 18 and 16.
MAJOR = int(os.environ.get("ANYQ_TEST_PG_MAJOR", "18"))


class Role(NamedTuple):
    """A role of the embedded server that can log in over TCP, by one authentication method."""

    user: str
    password: str


#: Method of pg_hba.conf by the role that uses it: password is cleartext, and reject lets nobody in.
_METHODS = {
    "anyq_scram": "scram-sha-256",
    "anyq_md5": "md5",
    "anyq_password": "password",
    "anyq_trust": "trust",
    "anyq_reject": "reject",
}


class Server:
    """What the tests know of their server. All methods block."""

    def __init__(self, dsn: str, embedded: EmbeddedServer | None = None) -> None:
        self.dsn = dsn
        self.embedded = embedded
        #: Roles of the embedded server by authentication method, as pg_hba.conf names it.
        self.roles: dict[str, Role] = {}

    @property
    def is_embedded(self) -> bool:
        return self.embedded is not None

    @property
    def _own(self) -> EmbeddedServer:
        if self.embedded is None:
            raise RuntimeError(
                "only the embedded server can do that; use the fixture `embedded_server` instead of `server`"
            )
        return self.embedded

    @property
    def tcp_dsn(self) -> str:
        """The embedded server's superuser over TCP."""
        return self._own.tcp_dsn

    @property
    def port(self) -> int:
        """The embedded server's port on 127.0.0.1."""
        return self._own.port

    @property
    def bindir(self) -> Path:
        """The folder of PostgreSQL's programs."""
        return self._own.bindir if self.embedded is not None else find_bindir(MAJOR)

    @property
    def datadir(self) -> Path:
        return self._own.datadir

    @property
    def logfile(self) -> Path:
        return self._own.logfile

    @property
    def host(self) -> str:
        """The embedded server's address for TCP."""
        return self._own.host

    @property
    def password(self) -> str:
        """The embedded server's superuser's."""
        return self._own.password

    @property
    def socket_dir(self) -> Path:
        """The directory of the embedded server's Unix socket, where everybody who gets in may be the superuser."""
        return self._own.datadir.parent

    @property
    def account(self) -> tuple[int, int] | None:
        """The user and group that the embedded server runs as; None for those of this process."""
        owner = self.datadir.stat()
        return (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None

    def role_dsn(self, method: str) -> str:
        """The connection string, over TCP, of the role that logs in by an authentication method."""
        role = self.roles[method]
        own = self._own
        return f"host={own.host} port={own.port} user={role.user} password={role.password} dbname=postgres"

    def start(self) -> None:
        self._own.start()

    def stop(self, mode: str = "fast") -> None:
        self._own.stop(mode)

    def restart(self, mode: str = "fast") -> None:
        self._own.restart(mode)

    def psql(self, sql: str) -> str:
        """Run SQL as the superuser, past the driver; return the values as psql prints them unaligned."""
        options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        return subprocess.run(
            [self.bindir / "psql", *options, f"--dbname={self.dsn}", "--file=-"],
            input=sql,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PGCLIENTENCODING": "UTF8"},
            check=True,
        ).stdout.strip()

    def close(self) -> None:
        """Stop and remove the embedded server; leave an external one alone."""
        if self.embedded is not None:
            self.embedded.close()


def external_dsn() -> str | None:
    """Return the connection string of the server that the caller named, None if the caller named none."""
    if dsn := os.environ.get("ANYQ_TEST_DSN"):
        return dsn
    if "PGHOST" not in os.environ:
        return None
    # The password, if any, stays in PGPASSWORD or in the password file: connection strings get printed.
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGDATABASE": "dbname"}
    options = {option: os.environ[name] for name, option in names.items() if os.environ.get(name)}
    return " ".join(f"{option}={_quoted(value)}" for option, value in options.items())


def open_server() -> Server:
    """Return the server that the caller named, or start one.

    :raises ServerUnavailable: there is neither.
    """
    dsn = external_dsn()
    return Server(dsn) if dsn is not None else _start_embedded()


def _start_embedded() -> Server:
    embedded = EmbeddedServer(
        major=MAJOR,
        tcp=True,
        # Two-phase commit and logical replication are off by default, and cannot be turned on later.
        settings={"max_prepared_transactions": "10", "wal_level": "logical"},
        hba="".join(f"host all {user} 127.0.0.1/32 {method}\n" for user, method in _METHODS.items()),
    )
    server = Server(embedded.dsn, embedded)
    try:
        server.start()
        # The data source name holds the port, which is known only now.
        server.dsn = embedded.dsn
        server.roles = {method: Role(user, secrets.token_hex(8)) for user, method in _METHODS.items()}
        for method, role in server.roles.items():
            encryption = "md5" if method == "md5" else "scram-sha-256"
            server.psql(
                f"SET client_min_messages = error; SET password_encryption = '{encryption}';"
                f"CREATE ROLE {role.user} LOGIN PASSWORD '{role.password}'"
            )
    except BaseException:
        server.close()
        raise
    return server


def _quoted(value: str) -> str:
    """Quote a value of a connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
