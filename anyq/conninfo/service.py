"""The connection service file: options under a name.

Knows the file's format and where it is looked for (PostgreSQL manual, "The Connection Service File"). Must not know
what the options mean, nor which of them win. Everything here reads files: call it in a worker thread.

A service may hold a password, so no line is ever in an error message: its number is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..errors import NotSupportedError, ProgrammingError
from .keywords import KEYWORDS, keyword_hint
from .strings import SPACE
from .userfiles import user_file

__all__ = ["find_service"]

# libpq has the directory of its own package compiled in: those of Debian, Red Hat, and PostgreSQL's sources.
SYSTEM_DIRECTORIES = ("/etc/postgresql-common", "/etc/sysconfig/pgsql", "/usr/local/pgsql/etc")

_FILE = "pg_service.conf"


def find_service(name: str, file: str | None, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return a file and the options that a service has there: the user's file, else the system's.

    :param file: the user's file, if it is not the usual one; it has to exist then.
    :raises ProgrammingError: no file has the service, or one that was read on the way is badly formed.
    :raises NotSupportedError: the service is to be looked up by LDAP.
    """
    looked_at: list[str] = []
    for path in _paths(file, environ):
        text = _read(path, required=path == file)
        if text is None:
            continue
        looked_at.append(f'"{path}"')
        options = _find(name, text, path)
        if options is not None:
            return path, options
    where = f"it is not in {' or '.join(looked_at)}" if looked_at else "there is no service file"
    raise ProgrammingError(f'the service "{name}" has no definition: {where}')


def _paths(file: str | None, environ: Mapping[str, str]) -> list[str]:
    users = file or user_file(f".{_FILE}", f".{_FILE}", environ)
    folder = environ.get("PGSYSCONFDIR")
    system = [os.path.join(each, _FILE) for each in ([folder] if folder else SYSTEM_DIRECTORIES)]
    return [users, *system] if users else system


def _read(path: str, *, required: bool) -> str | None:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if required:
            raise ProgrammingError(f'the service file "{path}" does not exist') from None
        return None
    except OSError as error:
        raise ProgrammingError(f'the service file "{path}" cannot be read: {error.strerror}') from None
    # Bytes that are no UTF-8 matter only if they are in the service that is wanted; then they are refused by name.
    return data.decode("utf-8", "surrogateescape")


def _find(name: str, text: str, path: str) -> dict[str, str] | None:
    options: dict[str, str] | None = None
    for number, whole_line in enumerate(text.split("\n"), 1):
        line = whole_line.strip(SPACE)
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if options is not None:
                break
            if line.startswith(f"[{name}]"):
                options = {}
        elif options is not None:
            keyword, value = _parse_line(line, f'line {number} of the service file "{path}"')
            # The first one counts, unlike in a connection string.
            options.setdefault(keyword, value)
    return options


def _parse_line(line: str, where: str) -> tuple[str, str]:
    if line.startswith("ldap"):
        raise NotSupportedError(f"{where} asks for a look-up by LDAP, which anyq does not have")
    keyword, equals, value = line.partition("=")
    if not equals:
        raise ProgrammingError(f"{where} is not written as keyword=value")
    if keyword in ("service", "servicefile"):
        raise ProgrammingError(f"{where} refers to a service: a service cannot be made of others")
    if keyword not in KEYWORDS:
        hint = keyword_hint(keyword.strip(SPACE))
        spaces = ' (write no spaces around the "=")' if keyword != keyword.strip(SPACE) else ""
        raise ProgrammingError(f"{where} has an unknown connection option: {hint}{spaces}")
    if "\0" in value:
        raise ProgrammingError(f"{where} has a NUL character")
    return keyword, value
