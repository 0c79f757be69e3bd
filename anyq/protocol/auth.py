"""Answers to authentication requests (SCRAM-SHA-256, MD5, cleartext), and the policy which may be given.

Knows RFC 5802 and 7677 (SCRAM), RFC 4013 (SASLprep), RFC 5929 (tls-server-end-point) and what PostgreSQL and
libpq make of them. Must not know messages, sockets or threads: everything here is a pure function of its
arguments, but for the nonce. No password, nor anything made of one, is in a repr or an exception.

See the PostgreSQL manual, "SASL Authentication" and "Password Authentication".
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..errors import DataError, LocalProtocolError, OperationalError, ProgrammingError, RemoteProtocolError
from .constants import MAX_SCRAM_ITERATIONS, SCRAM_THREAD_ITERATIONS

__all__ = [
    "AUTH_METHODS",
    "SCRAM_SHA_256",
    "SCRAM_SHA_256_PLUS",
    "ScramChallenge",
    "ScramClient",
    "ScramKeys",
    "md5_password",
    "parse_require_auth",
    "password_bytes",
    "saslprep",
    "scram_keys",
    "tls_server_end_point",
]

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
SCRAM_SHA_256_PLUS: Final = "SCRAM-SHA-256-PLUS"

AUTH_METHODS: Final = frozenset({"password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"})
"""What `require_auth` may name. "none" is a server that asks for nothing."""

_NONCE_BYTES = 18
"""Random bytes of our nonce, as many as libpq sends: 24 characters in base64."""


# --- Policy


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


# --- Passwords


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
    secret = _md5_hex(password_bytes(password) + user.encode("utf-8", "surrogateescape"))
    return b"md5" + _md5_hex(secret + salt)


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


# --- SCRAM


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

    :param channel_binding: the data of tls-server-end-point (see :func:`tls_server_end_point`): required for
        SCRAM-SHA-256-PLUS. Given with SCRAM-SHA-256 it says "I could have bound, but you did not offer it",
        so that the server can tell if somebody took the offer away. None: the client cannot or will not bind.
    :param nonce: only for tests.
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
        # The server takes the user from StartupMessage and ignores this one; libpq sends none either.
        self._bare = f"n=,r={self._nonce}".encode("ascii")
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


# --- Channel binding


_HASH_OF_SIGNATURE: dict[bytes, str] = {
    # Object identifiers of signature algorithms, in DER. RFC 5929, 4.1: MD5 and SHA-1 become SHA-256.
    bytes.fromhex("2a864886f70d010104"): "sha256",  # md5WithRSAEncryption
    bytes.fromhex("2a864886f70d010105"): "sha256",  # sha1WithRSAEncryption
    bytes.fromhex("2a864886f70d01010e"): "sha224",  # sha224WithRSAEncryption
    bytes.fromhex("2a864886f70d01010b"): "sha256",  # sha256WithRSAEncryption
    bytes.fromhex("2a864886f70d01010c"): "sha384",  # sha384WithRSAEncryption
    bytes.fromhex("2a864886f70d01010d"): "sha512",  # sha512WithRSAEncryption
    bytes.fromhex("60864801650304030d"): "sha3_224",  # id-rsassa-pkcs1-v1_5-with-sha3-224
    bytes.fromhex("60864801650304030e"): "sha3_256",  # id-rsassa-pkcs1-v1_5-with-sha3-256
    bytes.fromhex("60864801650304030f"): "sha3_384",  # id-rsassa-pkcs1-v1_5-with-sha3-384
    bytes.fromhex("608648016503040310"): "sha3_512",  # id-rsassa-pkcs1-v1_5-with-sha3-512
    bytes.fromhex("2a8648ce3d0401"): "sha256",  # ecdsa-with-SHA1
    bytes.fromhex("2a8648ce3d040301"): "sha224",  # ecdsa-with-SHA224
    bytes.fromhex("2a8648ce3d040302"): "sha256",  # ecdsa-with-SHA256
    bytes.fromhex("2a8648ce3d040303"): "sha384",  # ecdsa-with-SHA384
    bytes.fromhex("2a8648ce3d040304"): "sha512",  # ecdsa-with-SHA512
    bytes.fromhex("608648016503040309"): "sha3_224",  # id-ecdsa-with-sha3-224
    bytes.fromhex("60864801650304030a"): "sha3_256",  # id-ecdsa-with-sha3-256
    bytes.fromhex("60864801650304030b"): "sha3_384",  # id-ecdsa-with-sha3-384
    bytes.fromhex("60864801650304030c"): "sha3_512",  # id-ecdsa-with-sha3-512
    bytes.fromhex("2a8648ce380403"): "sha256",  # dsa-with-SHA1
    bytes.fromhex("608648016503040301"): "sha224",  # dsa-with-SHA224
    bytes.fromhex("608648016503040302"): "sha256",  # dsa-with-SHA256
    bytes.fromhex("608648016503040303"): "sha384",  # dsa-with-SHA384
    bytes.fromhex("608648016503040304"): "sha512",  # dsa-with-SHA512
}

_RSASSA_PSS = bytes.fromhex("2a864886f70d01010a")

_HASHES: dict[bytes, str] = {
    # Object identifiers of hashes, in DER: the parameter of RSASSA-PSS.
    bytes.fromhex("2b0e03021a"): "sha256",  # sha1
    bytes.fromhex("608648016503040204"): "sha224",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
    bytes.fromhex("608648016503040207"): "sha3_224",
    bytes.fromhex("608648016503040208"): "sha3_256",
    bytes.fromhex("608648016503040209"): "sha3_384",
    bytes.fromhex("60864801650304020a"): "sha3_512",
}

_SEQUENCE, _OBJECT_IDENTIFIER, _CONTEXT_0 = 0x30, 0x06, 0xA0


def tls_server_end_point(certificate: bytes) -> bytes | None:
    """Return the channel binding data for the server's `certificate` (DER), by RFC 5929.

    None if the certificate's signature algorithm has no hash to bind with (Ed25519, for one), or the
    certificate cannot be read: then only SCRAM without channel binding can be used.
    """
    try:
        name = _signature_hash(certificate)
    except (IndexError, ValueError):
        return None
    return None if name is None else hashlib.new(name, certificate).digest()


def _signature_hash(certificate: bytes) -> str | None:
    # Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm AlgorithmIdentifier, signature }
    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    content, _ = _der(certificate, _SEQUENCE)
    _, rest = _der(content, _SEQUENCE)
    algorithm, _ = _der(rest, _SEQUENCE)
    oid, parameters = _der(algorithm, _OBJECT_IDENTIFIER)
    if oid != _RSASSA_PSS:
        return _HASH_OF_SIGNATURE.get(oid)
    # RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] AlgorithmIdentifier DEFAULT sha1, ... }
    fields, _ = _der(parameters, _SEQUENCE)
    if not fields or fields[0] != _CONTEXT_0:
        return "sha256"
    tagged, _ = _der(fields, _CONTEXT_0)
    hash_algorithm, _ = _der(tagged, _SEQUENCE)
    oid, _ = _der(hash_algorithm, _OBJECT_IDENTIFIER)
    return _HASHES.get(oid)


def _der(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the element that `data` begins with, and what follows it.

    :raises ValueError: if it has another tag, or no such length. :raises IndexError: if it ends early.
    """
    if data[0] != tag:
        raise ValueError("another element was expected")
    length, pos = data[1], 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("a length of 1 to 4 bytes was expected")
        pos += size
        length = int.from_bytes(data[2:pos], "big")
    end = pos + length
    if end > len(data):
        raise ValueError("the element is longer than the data")
    return data[pos:end], data[end:]
