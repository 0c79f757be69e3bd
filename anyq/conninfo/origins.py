"""Which options are given, and where each comes from: keywords and the string, the service, the environment.

Knows which of them win (PostgreSQL manual, "Connection Strings", "The Connection Service File"). Must not know what the
options mean, nor their defaults. It reads the service file if a service is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .keywords import KEYWORDS
from .service import find_service
from .strings import conninfo_to_dict, option_text

__all__ = ["Origin", "collect"]


class Origin(NamedTuple):
    """Where an option comes from. As text it is how messages name the option."""

    keyword: str
    kind: str
    """"argument", "service" or "environment"."""
    name: str = ""
    """Of the service, or of the variable."""
    file: str = ""
    """The path of the file that has the service."""

    def __str__(self) -> str:
        match self.kind:
            case "service":
                return f"option {self.keyword!r} of the service {self.name!r}"
            case "environment":
                return f"environment variable {self.name}"
            case _:
                return f"connection option {self.keyword!r}"


def collect(
    conninfo: str, kwargs: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Origin]]:
    """Return the values that are given, but for empty ones, and where each comes from, with those of empty ones.

    :raises ProgrammingError: the string is badly formed, a keyword is unknown, or there is no such service.
    :raises NotSupportedError: the service is to be looked up by LDAP.
    """
    given = {keyword: option_text(keyword, value) for keyword, value in conninfo_to_dict(conninfo, **kwargs).items()}
    origins = {keyword: Origin(keyword, "argument") for keyword in given}

    def add(keyword: str, value: str, kind: str, name: str, file: str = "") -> None:
        if keyword not in given:
            given[keyword] = value
            origins[keyword] = Origin(keyword, kind, name, file)

    service = given.get("service", environ.get("PGSERVICE"))
    if service:
        named = given.get("servicefile", environ.get("PGSERVICEFILE"))
        file, options = find_service(service, named or None, environ)
        for keyword, value in options.items():
            add(keyword, value, "service", service, file)
    for keyword, spec in KEYWORDS.items():
        if spec.envvar and spec.envvar in environ:
            add(keyword, environ[spec.envvar], "environment", spec.envvar)
    if environ.get("PGREQUIRESSL", "").startswith("1"):
        # The obsolete form of PGSSLMODE, which therefore wins.
        add("sslmode", "require", "environment", "PGREQUIRESSL")
    return {keyword: value for keyword, value in given.items() if value}, origins
