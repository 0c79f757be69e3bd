"""The password file: which password for which host, port, database and user.

Knows the file's format and who may read it (PostgreSQL manual, "The Password File"). Must not know where else a
password may come from. Everything here reads files: call it in a worker thread.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence

from . import hosts as _hosts
from .hosts import HostSpec
from .userfiles import user_file

__all__ = ["default_passfile", "find_passwords"]

logger = logging.getLogger("anyq")

_FIELD = r"((?:\\.|[^:\\])*)"
# Four fields and a password, in which a backslash takes the special meaning from whatever follows it. What comes after
# another colon is nobody's.
_ENTRY = rf"(?s){_FIELD}:{_FIELD}:{_FIELD}:{_FIELD}:((?:\\.|[^:\\])*\\?)"
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def default_passfile(environ: Mapping[str, str]) -> str | None:
    """Return the path of the user's password file; None if the user has no home."""
    return user_file(".pgpass", "pgpass.conf", environ)


def find_passwords(path: str, hosts: Sequence[HostSpec], dbname: str, user: str) -> tuple[str | None, ...]:
    """Return the password for each host, None where the file has none.

    A file that does not exist has none. One that others may read is not used, and a warning is logged, as libpq
    prints one.
    """
    text = _read(path)
    entries = [entry for entry in map(_parse, text.split("\n")) if entry is not None] if text else []
    return tuple(_find(entries, host, dbname, user) for host in hosts)


def _read(path: str) -> str | None:
    try:
        # First of all, since opening a pipe would wait for somebody to write into it.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            logger.warning('the password file "%s" is not used: it is not a plain file', path)
            return None
        if sys.platform != "win32" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            logger.warning(
                'the password file "%s" is not used: group or others have access to it, and its permissions '
                "should be u=rw (0600) or less",
                path,
            )
            return None
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        logger.warning('the password file "%s" cannot be read: %s', path, error.strerror)
        return None
    # Bytes that are no UTF-8 matter only in the entry that is wanted.
    return data.decode("utf-8", "surrogateescape")


def _parse(line: str) -> tuple[str, ...] | None:
    line = line.rstrip("\r")
    if line.startswith("#"):
        return None
    found = re.match(_ENTRY, line)
    return None if found is None else found.groups()


def _find(entries: Sequence[tuple[str, ...]], host: HostSpec, dbname: str, user: str) -> str | None:
    names = {host.host}
    # libpq looks for "localhost" in place of its default socket directory, and it depends on the package which one
    # that is.
    if host.socket_path is not None and host.host in _hosts.SOCKET_DIRECTORIES:
        names.add("localhost")
    wanted = (names, {str(host.port)}, {dbname}, {user})
    for *fields, password in entries:
        if all(field == "*" or _unescape(field) in values for field, values in zip(fields, wanted, strict=True)):
            return _unescape(password)
    return None


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
