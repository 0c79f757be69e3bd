"""A primary and its streaming standby, on servers of their own.

Made by PostgreSQL's own tools: the standby is a pg_basebackup of the primary. Everything here blocks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from anyq.cli.embedded import EmbeddedServer, ServerUnavailable
from tests.support.server import another_server, client_program


class Replicas(NamedTuple):
    """What the tests need to know of both."""

    primary: EmbeddedServer
    standby: EmbeddedServer

    def conninfo(self, *servers: EmbeddedServer) -> str:
        """A connection string with these servers as its hosts."""
        hosts = ",".join([server.dsn.split()[0].removeprefix("host=") for server in servers])
        ports = ",".join([str(server.port) for server in servers])
        return f"host={hosts} port={ports} user={self.primary.user} dbname=postgres"


class Standby(EmbeddedServer):
    """A server whose data are a copy of another's, which it follows."""

    def __init__(self, primary: EmbeddedServer) -> None:
        self._primary = primary
        super().__init__(bindir=primary.bindir)

    def _reachable(self, bindir: Path) -> Path:
        # The primary may have had to copy it, and once is enough.
        return self._primary.bindir

    def _initialise(self, settings: Mapping[str, str], hba: str) -> None:
        # With the primary's port: it is in the connection string that the standby gets.
        done = subprocess.run(
            [
                client_program("pg_basebackup"),
                f"--pgdata={self.datadir}",
                f"--dbname={self._primary.dsn}",
                "--checkpoint=fast",
                "--no-sync",
            ],
            cwd=self._workdir,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServerUnavailable(f"pg_basebackup failed: {done.stderr}")
        with (self.datadir / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"unix_socket_directories = '{self._workdir}'\n")
            # Not by pg_basebackup: a newer one writes options that this server does not know.
            file.write(f"primary_conninfo = '{self._primary.dsn}'\n")
        (self.datadir / "standby.signal").touch()
        # The server's user may not get at the program that made them.
        for path in (self.datadir, *self.datadir.rglob("*")):
            self._give_away(path)


@contextmanager
def replicas() -> Iterator[Replicas]:
    """Run both.

    :raises ServerUnavailable: the servers, or the tools, are not installed.
    """
    with another_server() as primary, Standby(primary) as standby:
        yield Replicas(primary, standby)
