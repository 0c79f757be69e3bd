"""The PostgreSQL server that the tests run on: an embedded one, or an external one if the caller named it.

A test never touches a server that nobody named: an external one is used only where ANYQ_TEST_DSN is set, or, if it is
not, PGHOST. There, each process of the suite makes a database of its own and works in that: channels, tables and
advisory locks of two processes do not meet, and the database that was named is only connected to. Nothing is dropped
that was not made here.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from anyq.cli.embedded import EmbeddedServer, ServerUnavailable, find_bindir

#: The folder of the programs to embed; None for those of the installed package.
BINDIR = Path(os.environ["ANYQ_TEST_PG_BIN"]).absolute() if os.environ.get("ANYQ_TEST_PG_BIN") else None


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

    def __init__(
        self, dsn: str, embedded: EmbeddedServer | None = None, cleanup: Callable[[], object] | None = None
    ) -> None:
        self.dsn = dsn
        self.embedded = embedded
        self._cleanup = cleanup
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
        return _psql(self.dsn, sql)

    def close(self) -> None:
        """Stop and remove the embedded server; on an external one, drop the database that was made there."""
        if self.embedded is not None:
            self.embedded.close()
        if self._cleanup is not None:
            self._cleanup()


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

    :raises ServerUnavailable: there is neither, or no database can be made on the server that was named.
    """
    dsn = external_dsn()
    return _make_database(dsn) if dsn is not None else _start_embedded()


def another_server(*, tcp: bool = False) -> EmbeddedServer:
    """Return another server of the same programs, not started, for tests that shut it down or promote it."""
    return EmbeddedServer(bindir=BINDIR, tcp=tcp)


def client_program(name: str) -> Path:
    """Return the path of one of PostgreSQL's client programs: the server's, or the package's if those bring none.

    A newer client gets along with an older server.

    :raises ServerUnavailable: there is none.
    """
    for folder in (BINDIR, None):
        program = (folder or find_bindir()) / name
        if program.exists():
            return program
    raise ServerUnavailable(f"there is no {name} in {program.parent}")


def _make_database(given: str) -> Server:
    """Make a database of this process's on the server that the caller named."""
    # Only here, for tests of single modules do not need the whole driver to import.
    from anyq.conninfo import make_conninfo

    name = f"anyq_test_{secrets.token_hex(8)}"
    # What the embedded server is set to, as far as a database can be.
    options = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    try:
        _psql(given, f"CREATE DATABASE {name} {options}")
    except subprocess.CalledProcessError as error:
        raise ServerUnavailable(
            "the tests make a database of their own on the server that was named, so its user needs the right to "
            f"(ALTER ROLE ... CREATEDB):\n{error.stderr.strip()}"
        ) from None
    drop = f"DROP DATABASE {name} WITH (FORCE)"
    server = Server(make_conninfo(given, dbname=name), cleanup=lambda: _psql(given, drop))
    try:
        _psql(given, f"ALTER DATABASE {name} SET timezone = 'UTC'")
        # Only a superuser may; all others need a server that speaks English.
        _psql(given, f"ALTER DATABASE {name} SET lc_messages = 'C'", check=False)
    except BaseException:
        server.close()
        raise
    return server


def _psql(dsn: str, sql: str, *, check: bool = True) -> str:
    options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
    return subprocess.run(
        [client_program("psql"), *options, f"--dbname={dsn}", "--file=-"],
        input=sql,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PGCLIENTENCODING": "UTF8"},
        check=check,
    ).stdout.strip()


def _start_embedded() -> Server:
    embedded = EmbeddedServer(
        bindir=BINDIR,
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
