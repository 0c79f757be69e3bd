"""SCRAM, MD5, SASLprep, channel binding and the policy: published vectors, and servers that cheat."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.errors import DataError, LocalProtocolError, OperationalError, ProgrammingError, RemoteProtocolError
from anyq.protocol import auth
from anyq.protocol.auth import ScramClient
from anyq.protocol.constants import MAX_SCRAM_ITERATIONS, SCRAM_THREAD_ITERATIONS

# RFC 7677, 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = NONCE + "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_FIRST = f"r={SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()


class FakeScramServer:
    """The server's side, as RFC 5802 has it."""

    def __init__(self, password: str, salt: bytes = b"salt", iterations: int = 7, binding: bytes = b"") -> None:
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        self.stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.parameters = f"s={b64encode(salt).decode()},i={iterations}"
        self.binding = binding

    def first(self, client_first: bytes) -> bytes:
        flag, authzid, bare = client_first.decode().split(",", 2)
        assert authzid == ""
        self.gs2_header = f"{flag},,".encode()
        self.bare = bare
        self.nonce = bare.removeprefix("n=,r=") + "server"
        self.message = f"r={self.nonce},{self.parameters}"
        return self.message.encode()

    def final(self, client_final: bytes) -> bytes:
        without_proof, _, proof = client_final.decode().rpartition(",p=")
        channel, nonce = without_proof.split(",")
        assert nonce == f"r={self.nonce}"
        assert b64decode(channel.removeprefix("c=")) == self.gs2_header + self.binding
        auth_message = f"{self.bare},{self.message},{without_proof}".encode()
        signature = hmac.digest(self.stored_key, auth_message, "sha256")
        client_key = bytes(a ^ b for a, b in zip(b64decode(proof), signature, strict=True))
        if hashlib.sha256(client_key).digest() != self.stored_key:
            return b"e=invalid-proof"
        return b"v=" + b64encode(hmac.digest(self.server_key, auth_message, "sha256"))


def started(nonce: str | None = NONCE) -> ScramClient:
    client = ScramClient("pencil", nonce=nonce)
    client.first_message()
    return client


# --- SCRAM that succeeds


def test_rfc_7677_vector() -> None:
    client = ScramClient("pencil", nonce=NONCE)
    # The vector has a user's name, which changes what is signed.
    client._bare = b"n=user,r=" + NONCE.encode()  # pyright: ignore[reportPrivateUsage]
    assert client.first_message() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert client.process_first(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    client.verify_final(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert client.verified


def test_first_message_has_no_user() -> None:
    assert ScramClient("pencil", nonce="abc").first_message() == b"n,,n=,r=abc"


def test_nonces_are_fresh_and_printable() -> None:
    nonces = {ScramClient("x").first_message().removeprefix(b"n,,n=,r=") for _ in range(20)}
    assert len(nonces) == 20
    assert all(len(nonce) == 24 and nonce.isascii() and b"," not in nonce for nonce in nonces)


@given(st.text(st.characters(max_codepoint=126), max_size=30), st.binary(min_size=1, max_size=40))
def test_whole_exchange(password: str, salt: bytes) -> None:
    server = FakeScramServer(password, salt)
    client = ScramClient(password)
    client.verify_final(server.final(client.process_first(server.first(client.first_message()))))
    assert client.verified


@pytest.mark.parametrize(
    ("mechanism", "binding", "flag", "bound"),
    [
        (auth.SCRAM_SHA_256, None, b"n,,", b""),
        (auth.SCRAM_SHA_256, b"hash", b"y,,", b""),
        (auth.SCRAM_SHA_256_PLUS, b"hash", b"p=tls-server-end-point,,", b"hash"),
    ],
)
def test_channel_binding(mechanism: str, binding: bytes | None, flag: bytes, bound: bytes) -> None:
    server = FakeScramServer("pencil", binding=bound)
    client = ScramClient("pencil", mechanism, binding)
    first = client.first_message()
    assert first.startswith(flag)
    client.verify_final(server.final(client.process_first(server.first(first))))


def test_hash_computed_elsewhere() -> None:
    server = FakeScramServer("pencil")
    client = ScramClient("not the password that is hashed")
    first = server.first(client.first_message())
    challenge = client.parse_first(first)
    assert challenge == auth.ScramChallenge(server.nonce, b"salt", 7)
    salted = ScramClient.salted_password("pencil", challenge.salt, challenge.iterations)
    client.verify_final(server.final(client.process_first(first, salted)))


def test_needs_thread() -> None:
    assert not started().needs_thread(SCRAM_THREAD_ITERATIONS)
    assert started().needs_thread(SCRAM_THREAD_ITERATIONS + 1)


def test_keys_instead_of_the_password() -> None:
    server = FakeScramServer("pencil")
    keys = auth.scram_keys(ScramClient.salted_password("pencil", b"salt", 7))
    client = ScramClient("not this one", keys=keys)
    assert not client.needs_thread(MAX_SCRAM_ITERATIONS)
    client.verify_final(server.final(client.process_first(server.first(client.first_message()))))
    assert client.verified
    assert repr(keys) == "ScramKeys(...)"


def test_what_the_server_has_to_do_next() -> None:
    server, client = FakeScramServer("pencil"), ScramClient("pencil")
    steps = [client.expected]
    first = server.first(client.first_message())
    steps.append(client.expected)
    final = server.final(client.process_first(first))
    steps.append(client.expected)
    client.verify_final(final)
    assert [*steps, client.expected] == ["", "first", "final", ""]


def test_extensions_of_the_server_are_ignored_but_signed() -> None:
    server = FakeScramServer("pencil")
    server.parameters += ",x=extension,y="
    client = ScramClient("pencil")
    final = server.final(client.process_first(server.first(client.first_message())))
    client.verify_final(final + b",z=more")


# --- SCRAM that fails


@pytest.mark.parametrize("nonce", ["", "r", NONCE, NONCE[:-1] + "X" + "more", "X" + SERVER_NONCE, SERVER_NONCE.lower()])
def test_a_nonce_that_does_not_continue_ours_is_refused(nonce: str) -> None:
    with pytest.raises(RemoteProtocolError, match="nonce"):
        started().process_first(f"r={nonce},s=c2FsdA==,i=4096".encode())


@pytest.mark.parametrize(
    ("iterations", "match"),
    [
        ("0", "0 iterations"),
        ("00", "0 iterations"),
        (str(MAX_SCRAM_ITERATIONS + 1), "at most"),
        ("2147483647", "at most"),
        ("99999999999", "no number"),
        ("9" * 5000, "no number"),
        ("-1", "no number"),
        ("+1", "no number"),
        (" 1", "no number"),
        ("1e3", "no number"),
        ("", "no number"),
    ],
)
def test_a_bad_number_of_iterations_is_refused(iterations: str, match: str) -> None:
    with pytest.raises(RemoteProtocolError, match=match):
        started().process_first(f"r={SERVER_NONCE},s=c2FsdA==,i={iterations}".encode())


def test_the_cap_itself_is_allowed() -> None:
    challenge = started().parse_first(f"r={SERVER_NONCE},s=c2FsdA==,i={MAX_SCRAM_ITERATIONS}".encode())
    assert challenge.iterations == MAX_SCRAM_ITERATIONS


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b",",
        b"r=",
        f"r={SERVER_NONCE}".encode(),
        f"r={SERVER_NONCE},s=c2FsdA==".encode(),
        f"s=c2FsdA==,r={SERVER_NONCE},i=1".encode(),
        f"r={SERVER_NONCE},i=1,s=c2FsdA==".encode(),
        f"m=must,r={SERVER_NONCE},s=c2FsdA==,i=1".encode(),
        f"r={SERVER_NONCE},s=c2FsdA==,i=1,".encode(),
        f"r={SERVER_NONCE},s=c2FsdA==,i=1,junk".encode(),
        f"r={SERVER_NONCE},s=c2FsdA==,i=1,=x".encode(),
        f"r={SERVER_NONCE},s=,i=1".encode(),
        f"r={SERVER_NONCE},s=c2FsdA,i=1".encode(),
        f"r={SERVER_NONCE},s=c2F*sdA==,i=1".encode(),
        f"r={SERVER_NONCE},s=c2Fs\ndA==,i=1".encode(),
        f"r={SERVER_NONCE}é,s=c2FsdA==,i=1".encode(),
        f"r={SERVER_NONCE}\0,s=c2FsdA==,i=1".encode(),
    ],
)
def test_a_malformed_first_message_is_refused(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="SCRAM"):
        started().process_first(message)


def test_a_wrong_signature_is_refused() -> None:
    client = started()
    client.process_first(SERVER_FIRST)
    with pytest.raises(OperationalError, match="impostor"):
        client.verify_final(b"v=" + b64encode(bytes(32)))
    assert not client.verified


@pytest.mark.parametrize("verifier", [b"", b"AAAA"])
def test_a_short_signature_is_refused(verifier: bytes) -> None:
    client = started()
    client.process_first(SERVER_FIRST)
    with pytest.raises(OperationalError, match="impostor"):
        client.verify_final(b"v=" + verifier)
    assert not client.verified


def test_an_error_of_the_server_is_reported() -> None:
    server = FakeScramServer("another")
    client = ScramClient("pencil")
    final = server.final(client.process_first(server.first(client.first_message())))
    with pytest.raises(OperationalError, match="invalid-proof"):
        client.verify_final(final)
    assert not client.verified


@pytest.mark.parametrize("message", [b"", b"v", b"x=1", b"v=*", b"v=AAA", b"v=\xff", b"e=\0", b"v=AAAA,junk"])
def test_a_malformed_final_message_is_refused(message: bytes) -> None:
    client = started()
    client.process_first(SERVER_FIRST)
    with pytest.raises(RemoteProtocolError, match="SCRAM"):
        client.verify_final(message)
    assert not client.verified


@given(st.binary(max_size=60) | st.text("rsive=,+/Aa0", max_size=40).map(str.encode))
def test_random_messages_are_refused(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        started().process_first(message)
    client = started()
    client.process_first(SERVER_FIRST, bytes(32))
    with pytest.raises(OperationalError):
        client.verify_final(message)


@given(st.binary(max_size=30), st.integers(0, len(SERVER_FIRST)))
def test_a_damaged_first_message_is_refused_or_read(piece: bytes, at: int) -> None:
    damaged = SERVER_FIRST[:at] + piece + SERVER_FIRST[at:]
    try:
        challenge = started().parse_first(damaged)
    except RemoteProtocolError:
        return
    assert challenge.nonce.startswith(NONCE)
    assert 1 <= challenge.iterations <= MAX_SCRAM_ITERATIONS


@pytest.mark.parametrize(
    "steps",
    [
        [lambda client: client.process_first(SERVER_FIRST)],
        [lambda client: client.verify_final(b"v=")],
        [ScramClient.first_message, ScramClient.first_message],
        [ScramClient.first_message, lambda client: client.verify_final(b"v=")],
        [
            ScramClient.first_message,
            lambda client: client.process_first(SERVER_FIRST),
            lambda client: client.process_first(SERVER_FIRST),
        ],
    ],
)
def test_steps_out_of_order_are_refused(steps: list[Callable[[ScramClient], object]]) -> None:
    client = ScramClient("pencil", nonce=NONCE)
    for step in steps[:-1]:
        step(client)
    with pytest.raises(LocalProtocolError, match="order"):
        steps[-1](client)


def test_nothing_goes_on_after_a_refusal() -> None:
    client = started()
    with pytest.raises(RemoteProtocolError):
        client.process_first(b"r=other,s=c2FsdA==,i=1")
    with pytest.raises(LocalProtocolError, match="order"):
        client.process_first(SERVER_FIRST)


def test_bad_mechanisms_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="channel binding"):
        ScramClient("x", auth.SCRAM_SHA_256_PLUS)
    with pytest.raises(LocalProtocolError, match="SCRAM-SHA-1"):
        ScramClient("x", "SCRAM-SHA-1")


def test_the_password_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(ScramClient("hunter2"))


# --- Passwords


def test_md5_password() -> None:
    inner = hashlib.md5(b"secretme").hexdigest().encode()
    expected = b"md5" + hashlib.md5(inner + b"\1\2\3\4").hexdigest().encode()
    assert auth.md5_password("me", "secret", b"\1\2\3\4") == expected


def test_password_bytes() -> None:
    assert auth.password_bytes("päss") == b"p\xc3\xa4ss"
    # Bytes that are no UTF-8, as Python reads them from the environment or a file.
    assert auth.password_bytes(b"p\xe4ss".decode("utf-8", "surrogateescape")) == b"p\xe4ss"
    with pytest.raises(DataError) as caught:
        auth.password_bytes("hunter2\ud800")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013, 3.
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        # Prohibited, so taken as they are: a control character, mixed directions.
        ("\x07", "\x07"),
        ("\u06271", "\u06271"),
        ("\u00e9\x07", "\u00e9\x07"),
        # Other spaces become a space; nothing is left of only mapped ones, so they stay.
        ("a\u00a0b", "a b"),
        ("\u00ad", "\u00ad"),
        ("", ""),
        # Right-to-left all through is allowed, with digits only inside.
        ("\u06271\u0628", "\u06271\u0628"),
        ("\u0627a\u0628", "\u0627a\u0628"),
        # Unassigned in Unicode 3.2, and private: prohibited before normalization is looked at.
        ("\U0001f100", "\U0001f100"),
        ("\u0340\ue000", "\u0340\ue000"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert auth.saslprep(text) == prepared


@given(st.text())
def test_saslprep_takes_any_text(text: str) -> None:
    assert auth.saslprep(text) or not text


# --- Policy


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("", auth.AUTH_METHODS),
        ("scram-sha-256", {"scram-sha-256"}),
        ("md5, password", {"md5", "password"}),
        ("!password", auth.AUTH_METHODS - {"password"}),
        ("!password,!none", auth.AUTH_METHODS - {"password", "none"}),
        ("gss,sspi,oauth,none", {"gss", "sspi", "oauth", "none"}),
        (" ! md5 , !oauth ", auth.AUTH_METHODS - {"md5", "oauth"}),
    ],
)
def test_require_auth(value: str, allowed: set[str]) -> None:
    assert auth.parse_require_auth(value) == allowed


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
        auth.parse_require_auth(value)


# --- Channel binding


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(content).to_bytes(size, "big") + content


def certificate(algorithm: str, *parameters: bytes) -> bytes:
    """Make what has the outline of a certificate: its content is of no matter here."""
    identifier = der(0x30, der(0x06, bytes.fromhex(algorithm)), *parameters)
    return der(0x30, der(0x30, bytes(300)), identifier, der(0x03, bytes(65)))


RSA_PSS = "2a864886f70d01010a"


def pss(hash_oid: str) -> bytes:
    return der(0x30, der(0xA0, der(0x30, der(0x06, bytes.fromhex(hash_oid)))))


@pytest.mark.parametrize(
    ("cert", "name"),
    [
        (certificate("2a864886f70d01010b", b"\5\0"), "sha256"),
        (certificate("2a864886f70d01010c", b"\5\0"), "sha384"),
        (certificate("2a864886f70d010105", b"\5\0"), "sha256"),  # SHA-1 is raised to SHA-256
        (certificate("2a864886f70d010104", b"\5\0"), "sha256"),  # and so is MD5
        (certificate("2a8648ce3d040304"), "sha512"),
        (certificate(RSA_PSS, pss("608648016503040203")), "sha512"),
        (certificate(RSA_PSS, pss("2b0e03021a")), "sha256"),
        (certificate(RSA_PSS, der(0x30)), "sha256"),
        (certificate(RSA_PSS, pss("608648016503040208")), "sha3_256"),
        (certificate("60864801650304030a"), "sha3_256"),
        (certificate("608648016503040310", b"\5\0"), "sha3_512"),
        (certificate("608648016503040304"), "sha512"),
    ],
)
def test_tls_server_end_point(cert: bytes, name: str) -> None:
    assert auth.tls_server_end_point(cert) == hashlib.new(name, cert).digest()


@pytest.mark.parametrize(
    "cert",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x31\x00",
        certificate("2b6570"),  # Ed25519
        certificate(RSA_PSS),
        certificate(RSA_PSS, pss("2b06")),
        certificate("2a864886f70d01010b")[:310],
    ],
)
def test_certificates_without_channel_binding(cert: bytes) -> None:
    assert auth.tls_server_end_point(cert) is None


def test_the_identifiers_are_those_of_the_hashes() -> None:
    """Against the ones that the library `cryptography` knows, as far as the Python of the day can hash with them."""
    oids = pytest.importorskip("cryptography.hazmat._oid")
    known = 0
    for name, oid in vars(oids.SignatureAlgorithmOID).items():
        algorithm = None if name.startswith("_") else oids._SIG_OIDS_TO_HASH.get(oid)
        if algorithm is None or name in ("RSASSA_PSS",) or not hasattr(oid, "dotted_string"):
            continue
        first, second, *rest = map(int, oid.dotted_string.split("."))
        encoded = bytes([first * 40 + second])
        for arc in rest:
            groups = [arc & 0x7F]
            while arc := arc >> 7:
                groups.append(arc & 0x7F | 0x80)
            encoded += bytes(reversed(groups))
        expected = {"md5": "sha256", "sha1": "sha256"}.get(algorithm.name, algorithm.name.replace("-", "_"))
        cert = certificate(encoded.hex())
        assert auth.tls_server_end_point(cert) == hashlib.new(expected, cert).digest(), name
        known += 1
    assert known >= 18


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: der(0x30, der(0x30), data)))
def test_any_certificate_can_be_read(cert: bytes) -> None:
    assert auth.tls_server_end_point(cert) is None or len(cert) > 2
