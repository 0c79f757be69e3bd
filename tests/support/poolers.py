"""PgBouncer and pgpool-II in front of the embedded server, where Debian's packages (or others) have installed them.

Knows how to run them in the foreground, as the server's user, from a configuration in a temporary folder. Knows nothing
of the driver.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import Server

PATIENCE = 30.0
"""Seconds that a pooler may take to listen; it takes less than one."""

_HOST = "127.0.0.1"

#: How often another port is tried, where somebody took the chosen one in the meantime.
_PORT_TRIES = 5

#: Debian puts both where only root's PATH leads.
_FOLDERS = ("/usr/sbin", "/usr/local/sbin")


# Runs a pooler until it ends, or until standard input is closed, as it is when the process that holds the other end is
# gone, however it went. $0 is the signal for a shutdown that waits for nobody.
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- &
pooler=$!
(cat <&3; kill -$0 $pooler) >/dev/null 2>&1 &
wait $pooler
"""


class PoolerMissing(Exception):
    """The program is not installed; the message says how to install it."""


class Pooler:
    """A pooler that runs. All methods block."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, logfile: Path) -> None:
        self._process = process
        self.host = _HOST
        self.port = port
        self.logfile = logfile

    def dsn(self, dbname: str, user: str = "postgres", password: str = "") -> str:
        """The connection string of one of its databases."""
        rest = f" password={password}" if password else ""
        return f"host={self.host} port={self.port} user={user} dbname={dbname}{rest}"

    def wait_until_it_listens(self) -> bool:
        """Return whether it does: it may find its port taken."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return True
            time.sleep(0.02)
        return False

    def kill(self) -> None:
        """End it at once, and with it all its connections."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def find_program(name: str, package: str) -> str:
    """Return the path of a pooler's program.

    :raises PoolerMissing: it is not installed.
    """
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS]))
    if found is None:
        raise PoolerMissing(f"{name} is not installed; on Debian: apt-get install {package}")
    return found


def pgbouncer_version(program: str) -> tuple[int, ...]:
    """Return the version of PgBouncer, such as (1, 18, 0)."""
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"PgBouncer (\d+)\.(\d+)\.(\d+)", output)
    assert match is not None, output
    return tuple(map(int, match.groups()))


@contextmanager
def pgbouncer(server: Server) -> Iterator[Pooler]:
    """Run PgBouncer with the databases "session" and "transaction", each with a pool of two in that mode.

    Transactions take the two connections of their pool in turn, as far as both are free. The role for SCRAM has to log
    in by it, everybody else is trusted, and is the superuser on the server.

    :raises PoolerMissing: it is not installed.
    """
    program = find_program("pgbouncer", "pgbouncer")
    role = server.roles["scram-sha-256"]
    backend = f"host={server.socket_dir} port={server.port} dbname=postgres"
    prepared = "max_prepared_statements = 100\n" if pgbouncer_version(program) >= (1, 21) else ""

    def configure(folder: Path, port: int) -> list[str]:
        _write(folder, "users", f'"{role.user}" "{role.password}"\n"postgres" ""\n')
        _write(folder, "hba", f"host all {role.user} {_HOST}/32 scram-sha-256\nhost all all {_HOST}/32 trust\n")
        config = _write(
            folder,
            "pgbouncer.ini",
            "[databases]\n"
            f"session = {backend} user=postgres pool_mode=session\n"
            f"transaction = {backend} user=postgres pool_mode=transaction\n"
            f"scram = host={server.host} port={server.port} dbname=postgres pool_mode=transaction\n"
            "[pgbouncer]\n"
            f"listen_addr = {_HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = hba\nauth_hba_file = {folder}/hba\nauth_file = {folder}/users\n"
            f"default_pool_size = 2\nserver_round_robin = 1\nmax_client_conn = 50\n{prepared}",
        )
        return [program, str(config)]

    with _running(server, "TERM", configure) as pooler:
        yield pooler


@contextmanager
def pgpool(server: Server) -> Iterator[Pooler]:
    """Run pgpool-II, which trusts the superuser, and has the role for SCRAM log in by it.

    :raises PoolerMissing: it is not installed.
    """
    program = find_program("pgpool", "pgpool2")
    role = server.roles["scram-sha-256"]

    def configure(folder: Path, port: int) -> list[str]:
        config = _write(
            folder,
            "pgpool.conf",
            "backend_clustering_mode = 'streaming_replication'\n"
            # By TCP: it does not read from the server while it writes to it, and a Unix socket takes few small pieces.
            f"backend_hostname0 = '{server.host}'\nbackend_port0 = {server.port}\nbackend_weight0 = 1\n"
            f"listen_addresses = '{_HOST}'\nport = {port}\nsocket_dir = '{folder}'\n"
            f"pcp_listen_addresses = ''\npcp_port = {port}\npcp_socket_dir = '{folder}/pcp'\n"
            f"pid_file_name = '{folder}/pid'\nlogdir = '{folder}'\nwork_dir = '{folder}'\n"
            "enable_pool_hba = on\npool_passwd = 'passwords'\n"
            "num_init_children = 8\nmax_pool = 1\nmemqcache_total_size = 1MB\n"
            "sr_check_user = 'postgres'\nsr_check_period = 0\nhealth_check_period = 0\nload_balance_mode = off\n",
        )
        # With these it logs in to the server by SCRAM, whatever it asks of its clients.
        passwords = {"postgres": server.password, role.user: role.password}
        _write(folder, "passwords", "".join(f"{user}:TEXT{password}\n" for user, password in passwords.items()))
        hba = _write(folder, "hba", f"host all {role.user} {_HOST}/32 scram-sha-256\nhost all all {_HOST}/32 trust\n")
        pcp = _write(folder, "pcp.conf", "")
        return [program, "-n", "-f", str(config), "-F", str(pcp), "-a", str(hba)]

    with _running(server, "QUIT", configure) as pooler:
        yield pooler


@contextmanager
def _running(server: Server, signal: str, configure: Callable[[Path, int], list[str]]) -> Iterator[Pooler]:
    """Run a pooler in a temporary folder.

    :param configure: writes its files into the folder, for a port, and returns the command.
    """
    folder = Path(tempfile.mkdtemp(prefix="anyq-pooler-", dir="/tmp"))
    try:
        (folder / "pcp").mkdir()
        user, group = server.account or (None, None)
        if user is not None:
            for path in (folder, folder / "pcp"):
                shutil.chown(path, user, group)
        for _ in range(_PORT_TRIES):
            port = _free_port()
            command = configure(folder, port)
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", _GUARD, signal, *command],
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    user=user,
                    group=group,
                )
            pooler = Pooler(process, port, folder / "log")
            try:
                if pooler.wait_until_it_listens():
                    yield pooler
                    return
            finally:
                pooler.kill()
        raise RuntimeError(f"the pooler does not start:\n{pooler.logfile.read_text(errors='replace')}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    # The user that it will run as has to read it; the folder is closed to everybody else.
    path.chmod(0o644)
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
