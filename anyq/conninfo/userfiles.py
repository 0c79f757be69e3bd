"""Where a user's own files for PostgreSQL's clients are: the password file and the service file.

Knows the two systems' habits (PostgreSQL manual, "The Password File", "The Connection Service File"). Must not know
what is in the files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

__all__ = ["user_file"]


def user_file(name: str, windows_name: str, environ: Mapping[str, str]) -> str | None:
    """Return the path of a file in the user's home, or on Windows in %APPDATA%\\postgresql; None without a home.

    May ask a directory service for the home, so call it in a worker thread.
    """
    if sys.platform == "win32":
        folder = environ.get("APPDATA")
        return os.path.join(folder, "postgresql", windows_name) if folder else None
    home = environ.get("HOME") or _home_of_user()
    return os.path.join(home, name) if home else None


def _home_of_user() -> str | None:
    # This module does not exist on Windows.
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return None
