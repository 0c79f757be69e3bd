"""SCRAM-SHA-256, the client's side, with and without channel binding.

Knows RFC 5802 and 7677. Must not know which mechanism is to be chosen, or what the data of the channel binding are
made of. The slow part can be computed in a thread by whoever runs the exchange. No password, nor anything made of one,
is in a repr or an exception.

See the PostgreSQL manual, "SASL Authentication".
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final, NamedTuple

from ...errors import LocalProtocolError, OperationalError, RemoteProtocolError
from ..constants import MAX_SCRAM_ITERATIONS, SCRAM_THREAD_ITERATIONS
from .passwords import password_bytes, saslprep

__all__ = ["SCRAM_SHA_256", "SCRAM_SHA_256_PLUS", "ScramChallenge", "ScramClient", "ScramKeys", "scram_keys"]

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
SCRAM_SHA_256_PLUS: Final = "SCRAM-SHA-256-PLUS"

_NONCE_BYTES = 18
"""Random bytes of our nonce, as many as libpq sends: 24 characters in base64."""


@dataclass(frozen=True, slots=True)
class ScramChallenge:
    """The server's first message."""

    nonce: str
    """Ours, continued by the server."""
    salt: bytes
    iterations: int


class ScramKeys(NamedTuple):
    """What PostgreSQL makes of a password to prove that it is known, without the password (RFC 5802, 3)."""

    client_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        # Who has the client key can log in.
        return f"{type(self).__name__}(...)"


class ScramClient:
    """The client's side of one SCRAM exchange.

    Call :meth:`first_message`, :meth:`process_first` and :meth:`verify_final` in this order, once each. The
    server is who it says only after :meth:`verify_final` has returned.

    :param channel_binding: the data of tls-server-end-point (see :func:`.channel_binding.tls_server_end_point`):
        required for SCRAM-SHA-256-PLUS. Given with SCRAM-SHA-256 it says "I could have bound, but you did not offer
        it", so that the server can tell if somebody took the offer away. None: the client cannot or will not bind.
    :param nonce: only for tests.
    :param user: only for tests: the server takes the user from StartupMessage and ignores this one; libpq sends none
        either.
    :param keys: what would be computed from the password, instead of the password.
    :raises LocalProtocolError: if the mechanism is not one of the two, or lacks its channel binding.
    """

    __slots__ = (
        "_bare",
        "_expected",
        "_gs2_header",
        "_keys",
        "_nonce",
        "_password",
        "_step",
        "channel_binding",
        "mechanism",
    )

    def __init__(
        self,
        password: str,
        mechanism: str = SCRAM_SHA_256,
        channel_binding: bytes | None = None,
        nonce: str | None = None,
        keys: ScramKeys | None = None,
        user: str = "",
    ) -> None:
        if mechanism == SCRAM_SHA_256_PLUS:
            if channel_binding is None:
                raise LocalProtocolError(f"{mechanism} needs the channel binding data of a TLS connection")
            self._gs2_header = b"p=tls-server-end-point,,"
        elif mechanism == SCRAM_SHA_256:
            self._gs2_header = b"n,," if channel_binding is None else b"y,,"
        else:
            raise LocalProtocolError(f"{mechanism!a} is no SASL mechanism that this client knows")
        self.mechanism = mechanism
        self.channel_binding = channel_binding
        self._password = password
        self._keys = keys
        self._nonce = nonce or b64encode(secrets.token_bytes(_NONCE_BYTES)).decode("ascii")
        self._bare = f"n={user},r={self._nonce}".encode("ascii")
        self._expected = b""
        self._step = "start"

    @property
    def verified(self) -> bool:
        """Whether the server has proved that it knows the password: AuthenticationOk is worth nothing
        before."""
        return self._step == "verified"

    @property
    def expected(self) -> str:
        """The step that the server has to take now: "first" or "final", or "" for none."""
        return {"first sent": "first", "final sent": "final"}.get(self._step, "")

    def first_message(self) -> bytes:
        """Return client-first-message, the data of SASLInitialResponse."""
        self._advance("start", "first sent")
        return self._gs2_header + self._bare

    def parse_first(self, server_first: bytes) -> ScramChallenge:
        """Return what server-first-message asks for, without changing anything.

        So that a caller can decide by :meth:`needs_thread` where to compute :meth:`salted_password`.

        :raises RemoteProtocolError: if it is malformed, its nonce does not continue ours, or its number of
            iterations is 0 or above MAX_SCRAM_ITERATIONS.
        """
        nonce, salt_text, iterations_text = _attributes(server_first, "first message", "r", "s", "i")
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise RemoteProtocolError("SCRAM: the server's nonce does not continue the client's")
        salt = _base64(salt_text, "salt")
        if not salt:
            raise RemoteProtocolError("SCRAM: the server's salt is empty")
        # The length is looked at first: int() of a very long number is slow, and refused.
        if not iterations_text.isdigit() or len(iterations_text) > 10:
            raise RemoteProtocolError("SCRAM: the server's number of iterations is no number")
        iterations = int(iterations_text)
        if iterations < 1:
            raise RemoteProtocolError("SCRAM: the server asks for 0 iterations, which would not protect the password")
        if iterations > MAX_SCRAM_ITERATIONS:
            raise RemoteProtocolError(
                f"SCRAM: the server asks for {iterations} iterations and this client computes at most "
                f"{MAX_SCRAM_ITERATIONS}: set the password again with a lower scram_iterations"
            )
        return ScramChallenge(nonce, salt, iterations)

    def needs_thread(self, iterations: int) -> bool:
        """Return whether the hash takes so long that it belongs in a worker thread."""
        return self._keys is None and iterations > SCRAM_THREAD_ITERATIONS

    @staticmethod
    def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
        """Return SaltedPassword, 32 bytes: the slow part (about 0.5 us an iteration), which releases the GIL.

        :raises DataError: if the password has a character that UTF-8 cannot encode.
        """
        return hashlib.pbkdf2_hmac("sha256", password_bytes(saslprep(password)), salt, iterations)

    def process_first(self, server_first: bytes, salted_password: bytes | None = None) -> bytes:
        """Return client-final-message, the data of SASLResponse to the server's first message.

        `salted_password` is that of the challenge, if it has been computed already; else it is computed here.

        :raises RemoteProtocolError: as :meth:`parse_first` does.
        :raises DataError: if the password has a character that UTF-8 cannot encode.
        """
        self._advance("first sent", "failed")
        challenge = self.parse_first(server_first)
        keys = self._keys
        if keys is None:
            keys = scram_keys(
                self.salted_password(self._password, challenge.salt, challenge.iterations)
                if salted_password is None
                else salted_password
            )
        binding = self._gs2_header
        if self.mechanism == SCRAM_SHA_256_PLUS and self.channel_binding is not None:
            binding += self.channel_binding
        final = b"c=" + b64encode(binding) + b",r=" + challenge.nonce.encode("ascii")
        auth_message = b",".join((self._bare, server_first, final))
        signature = _hmac(hashlib.sha256(keys.client_key).digest(), auth_message)
        proof = bytes([a ^ b for a, b in zip(keys.client_key, signature, strict=True)])
        self._expected = _hmac(keys.server_key, auth_message)
        self._step = "final sent"
        return final + b",p=" + b64encode(proof)

    def verify_final(self, server_final: bytes) -> None:
        """Check that the server knows the password too.

        :raises OperationalError: if it reports an error, or its signature is wrong: it is not the server that
            the password was set on.
        :raises RemoteProtocolError: if the message is malformed.
        """
        self._advance("final sent", "failed")
        if server_final.startswith(b"e="):
            (error,) = _attributes(server_final, "final message", "e")
            raise OperationalError(f"SCRAM: the server ended the exchange: {error}")
        (verifier,) = _attributes(server_final, "final message", "v")
        if not hmac.compare_digest(_base64(verifier, "signature"), self._expected):
            raise OperationalError(
                "SCRAM: the server's signature is wrong: it does not know the password, and may be an impostor"
            )
        self._step = "verified"

    def _advance(self, step: str, following: str) -> None:
        if self._step != step:
            raise LocalProtocolError(f"SCRAM steps are taken in order and once: this exchange is at {self._step!r}")
        self._step = following


def scram_keys(salted_password: bytes) -> ScramKeys:
    """Return the two keys of a SaltedPassword."""
    return ScramKeys(_hmac(salted_password, b"Client Key"), _hmac(salted_password, b"Server Key"))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _attributes(message: bytes, what: str, *names: str) -> list[str]:
    """Return the values of the attributes `names`, with which `message` must begin, in this order.

    Optional extensions may follow (RFC 5802, 7); a mandatory one ("m=") would come first, and is refused so.
    """
    text = message.decode("latin-1")
    if not text.isascii() or not text.isprintable():
        raise RemoteProtocolError(f"SCRAM: the server's {what} is not printable ASCII")
    fields = text.split(",")
    values = [field[2:] for name, field in zip(names, fields, strict=False) if field.startswith(name + "=")]
    if len(values) < len(names) or not all(map(_is_extension, fields[len(names) :])):
        layout = ",".join([f"{name}=..." for name in names])
        raise RemoteProtocolError(f"SCRAM: the server's {what} is malformed, it has to be {layout}")
    return values


def _is_extension(field: str) -> bool:
    return len(field) >= 2 and field[0].isalpha() and field[1] == "="


def _base64(text: str, what: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise RemoteProtocolError(f"SCRAM: the server's {what} is no base64") from None
