"""Passwords as they are hashed and sent: their bytes, MD5 and SASLprep.

Knows RFC 4013 (SASLprep) as PostgreSQL follows it, and PostgreSQL's two rounds of MD5. Must not know SCRAM. No password
is in an exception.

See the PostgreSQL manual, "Password Authentication".
"""

from __future__ import annotations

import hashlib
import stringprep
import unicodedata
from collections.abc import Callable

from ...errors import DataError

__all__ = ["md5_password", "md5_secret", "password_bytes", "saslprep"]


def password_bytes(password: str) -> bytes:
    """Return the password as the server gets it, in UTF-8; bytes that Python had to smuggle in come out
    again.

    :raises DataError: if it has a character that UTF-8 cannot encode.
    """
    try:
        return password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Not from the original: it shows the password.
        raise DataError("the password has a lone surrogate, which UTF-8 cannot encode") from None


def md5_password(user: str, password: str, salt: bytes) -> bytes:
    """Return the answer to AuthenticationMD5Password: "md5" and the hex of md5(md5(password + user) + salt).

    :raises DataError: if the password has a character that UTF-8 cannot encode.
    """
    return b"md5" + _md5_hex(md5_secret(user, password) + salt)


def md5_secret(user: str, password: str) -> bytes:
    """Return the hex of md5(password + user), which a server stores.

    :raises DataError: if the password has a character that UTF-8 cannot encode.
    """
    return _md5_hex(password_bytes(password) + user.encode("utf-8", "surrogateescape"))


def _md5_hex(data: bytes) -> bytes:
    # usedforsecurity=False: a FIPS build would refuse; that MD5 is weak is for the server's administrator to
    # mend.
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode("ascii")


def saslprep(text: str) -> str:
    """Return `text` prepared by RFC 4013, or as it is where the RFC prohibits it: what PostgreSQL does.

    A server has hashed the password by the same rule, so this follows the server and not the RFC where they
    differ: what is prohibited is looked for before normalization, and pure ASCII is never looked at.
    """
    if text.isascii():
        return text
    mapped = "".join(
        [
            " " if stringprep.in_table_c12(char) else char
            for char in text
            if stringprep.in_table_c12(char) or not stringprep.in_table_b1(char)
        ]
    )
    if not mapped or any(prohibited(char) for char in mapped for prohibited in _PROHIBITED):
        return text
    if any(map(stringprep.in_table_d1, mapped)):
        # RFC 3454, 6: with one right-to-left character, both ends are right-to-left and none is
        # left-to-right.
        ends = stringprep.in_table_d1(mapped[0]) and stringprep.in_table_d1(mapped[-1])
        if not ends or any(map(stringprep.in_table_d2, mapped)):
            return text
    return unicodedata.normalize("NFKC", mapped)


_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_a1,  # unassigned in Unicode 3.2
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)
