"""Where a user's own files are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from anyq.conninfo import resolve
from anyq.conninfo.userfiles import user_file

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="the user database of Unix")


def test_where_it_is_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    env = {"APPDATA": "roaming", "HOME": "home"}
    assert user_file(".pgpass", "pgpass.conf", env) == os.path.join("roaming", "postgresql", "pgpass.conf")
    assert user_file(".pgpass", "pgpass.conf", {"HOME": "home"}) is None


@unix_only
def test_home_of_a_user_without_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pwd

    entry = pwd.struct_passwd(("u", "x", 1, 1, "", str(tmp_path), ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    assert user_file(".pgpass", "pgpass.conf", {}) == str(tmp_path / ".pgpass")

    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert user_file(".pgpass", "pgpass.conf", {}) is None
    assert resolve("host=h user=u", {}, {}).host_passwords == ()
