"""Which methods of authentication a user allows: the connection option `require_auth`.

Knows the names of the methods. Must not know how any of them works.
"""

from __future__ import annotations

from typing import Final

from ...errors import ProgrammingError

__all__ = ["AUTH_METHODS", "parse_require_auth"]

AUTH_METHODS: Final = frozenset({"password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"})
"""What `require_auth` may name. "none" is a server that asks for nothing."""


def parse_require_auth(value: str) -> frozenset[str]:
    """Return the methods of :data:`AUTH_METHODS` that the connection option `require_auth` allows.

    The value is a list of methods with commas between, either all allowed or, each with "!" before it, all
    forbidden; empty allows all. As in libpq.

    :raises ProgrammingError: if a method is unknown or named twice, or the two forms are mixed.
    """
    items = [item.strip() for item in value.split(",")] if value.strip() else []
    names = [item.removeprefix("!").strip() for item in items]
    for name in names:
        if name not in AUTH_METHODS:
            raise ProgrammingError(f"require_auth has no method {name!r}: it knows {', '.join(sorted(AUTH_METHODS))}")
        if names.count(name) > 1:
            raise ProgrammingError(f"require_auth names {name!r} more than once")
    negated = [item.startswith("!") for item in items]
    if not items or all(negated):
        return AUTH_METHODS.difference(names)
    if any(negated):
        raise ProgrammingError("require_auth mixes methods with and without '!': list what is allowed, or what is not")
    return frozenset(names)
