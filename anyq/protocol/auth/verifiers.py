"""What a server stores of a password, made on this side: so that the password itself is never sent, nor logged.

Knows the two forms of `pg_authid.rolpassword`. Must not know how they get to the server. Pure functions, but for the
salt; no password is in an exception.

PostgreSQL manual: "pg_authid", "password_encryption", libpq's `PQencryptPasswordConn`.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import Final

from ...errors import DataError, OperationalError, ProgrammingError
from ...errors.arguments import check_texts
from ...errors.hiding import hiding
from ..constants import MAX_SCRAM_ITERATIONS
from .passwords import md5_secret
from .scram import ScramClient, scram_keys

__all__ = ["DEFAULT_SCRAM_ITERATIONS", "encrypt_password", "encrypting", "reported_iterations"]

DEFAULT_SCRAM_ITERATIONS: Final = 4096
"""The server's default of `scram_iterations`, and what it used before it had that setting."""

_SALT_BYTES = 16
"""As many as PostgreSQL uses."""


def reported_iterations(text: str | None) -> int:
    """Return the number of iterations that a server reports as its `scram_iterations`, or the default.

    :raises OperationalError: it is no number.
    """
    if not text:
        return DEFAULT_SCRAM_ITERATIONS
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise OperationalError(f"the server reports scram_iterations={text[:20]!r}, which is no number of iterations")
    return int(text)


@hiding
def encrypt_password(
    password: str,
    user: str,
    algorithm: str = "scram-sha-256",
    *,
    iterations: int = DEFAULT_SCRAM_ITERATIONS,
    salt: bytes | None = None,
) -> str:
    """Return what ``ALTER ROLE ... PASSWORD`` takes instead of the password: the server stores it as it is.

    :param user: the role's name, which MD5 needs (it is the salt).
    :param algorithm: "scram-sha-256" or "md5", as in the server's `password_encryption`.
    :param iterations: how often SCRAM hashes, up to 1,000,000; takes about a microsecond each, and blocks.
    :param salt: only for tests; by default 16 random bytes.
    :raises ProgrammingError: the algorithm is unknown, or the number of iterations impossible.
    :raises DataError: the password has a NUL character, or one that UTF-8 cannot encode.
    """
    if not isinstance(password, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the password must be a str, not {type(password).__name__}")
    check_texts(user=user)
    if "\0" in password:
        raise DataError("the password has a NUL character: PostgreSQL takes none")
    if algorithm == "md5":
        return "md5" + md5_secret(user, password).decode("ascii")
    if algorithm != "scram-sha-256":
        raise ProgrammingError(f"there is no password encryption {algorithm!r}: it is 'scram-sha-256' or 'md5'")
    if not 1 <= iterations <= MAX_SCRAM_ITERATIONS:
        raise ProgrammingError(f"iterations must be from 1 to {MAX_SCRAM_ITERATIONS}, not {iterations}")
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    keys = scram_keys(ScramClient.salted_password(password, salt, iterations))
    parts = (salt, hashlib.sha256(keys.client_key).digest(), keys.server_key)
    text, stored_key, server_key = [b64encode(part).decode("ascii") for part in parts]
    return f"SCRAM-SHA-256${iterations}:{text}${stored_key}:{server_key}"


def encrypting(password: str) -> Callable[[str, str, int], str]:
    """Return what encrypts a password, so that this is in no frame of the one who waits for it."""

    @hiding
    def encrypt(user: str, algorithm: str, iterations: int) -> str:
        return encrypt_password(password, user, algorithm, iterations=iterations)

    return encrypt
