"""SCRAM: published vectors, and servers that cheat."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.errors import LocalProtocolError, OperationalError, RemoteProtocolError
from anyq.protocol.auth.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramChallenge, ScramClient, scram_keys
from anyq.protocol.constants import MAX_SCRAM_ITERATIONS, SCRAM_THREAD_ITERATIONS
from tests.support.scram import FakeScramServer

# RFC 7677, 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = NONCE + "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_FIRST = f"r={SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()


def started(nonce: str | None = NONCE) -> ScramClient:
    client = ScramClient("pencil", nonce=nonce)
    client.first_message()
    return client


# --- SCRAM that succeeds


def test_rfc_7677_vector() -> None:
    client = ScramClient("pencil", nonce=NONCE, user="user")
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
        (SCRAM_SHA_256, None, b"n,,", b""),
        (SCRAM_SHA_256, b"hash", b"y,,", b""),
        (SCRAM_SHA_256_PLUS, b"hash", b"p=tls-server-end-point,,", b"hash"),
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
    assert challenge == ScramChallenge(server.nonce, b"salt", 7)
    salted = ScramClient.salted_password("pencil", challenge.salt, challenge.iterations)
    client.verify_final(server.final(client.process_first(first, salted)))


def test_needs_thread() -> None:
    assert not started().needs_thread(SCRAM_THREAD_ITERATIONS)
    assert started().needs_thread(SCRAM_THREAD_ITERATIONS + 1)


def test_keys_instead_of_the_password() -> None:
    server = FakeScramServer("pencil")
    keys = scram_keys(ScramClient.salted_password("pencil", b"salt", 7))
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
        ScramClient("x", SCRAM_SHA_256_PLUS)
    with pytest.raises(LocalProtocolError, match="SCRAM-SHA-1"):
        ScramClient("x", "SCRAM-SHA-1")


def test_the_password_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(ScramClient("hunter2"))
