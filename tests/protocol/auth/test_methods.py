"""Which methods a user allows."""

from __future__ import annotations

import pytest

from anyq.errors import ProgrammingError
from anyq.protocol.auth.methods import AUTH_METHODS, parse_require_auth


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("", AUTH_METHODS),
        ("scram-sha-256", {"scram-sha-256"}),
        ("md5, password", {"md5", "password"}),
        ("!password", AUTH_METHODS - {"password"}),
        ("!password,!none", AUTH_METHODS - {"password", "none"}),
        ("gss,sspi,oauth,none", {"gss", "sspi", "oauth", "none"}),
        (" ! md5 , !oauth ", AUTH_METHODS - {"md5", "oauth"}),
    ],
)
def test_require_auth(value: str, allowed: set[str]) -> None:
    assert parse_require_auth(value) == allowed


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("plain", "plain"),
        ("md5,", "''"),
        ("!", "''"),
        ("!!md5", "'!md5'"),
        ("md5,md5", "more than once"),
        ("md5,!password", "mixes"),
    ],
)
def test_bad_require_auth_is_refused(value: str, match: str) -> None:
    with pytest.raises(ProgrammingError, match=match):
        parse_require_auth(value)
