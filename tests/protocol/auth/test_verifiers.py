"""What a server would store of a password."""

from __future__ import annotations

import hashlib
from base64 import b64decode

import pytest

import anyq
from anyq.errors import DataError, OperationalError, ProgrammingError
from anyq.protocol.auth.scram import ScramClient, scram_keys
from anyq.protocol.auth.verifiers import encrypt_password, reported_iterations
from anyq.protocol.constants import MAX_SCRAM_ITERATIONS
from tests.support.scram import FakeScramServer


def test_it_is_public() -> None:
    assert anyq.encrypt_password is encrypt_password


def test_md5() -> None:
    # By md5sum, of "s3cretalice".
    assert encrypt_password("s3cret", "alice", "md5") == "md58213e4d0d5792b064442db7988e9f4c4"


@pytest.mark.parametrize(("password", "prepared"), [("pencil", "pencil"), ("I\u00adX", "IX")])
def test_scram(password: str, prepared: str) -> None:
    text = encrypt_password(password, "alice", salt=b"0123456789abcdef", iterations=7)
    server = FakeScramServer(prepared, b"0123456789abcdef", 7)
    scheme, parameters, keys = text.split("$")
    assert (scheme, parameters) == ("SCRAM-SHA-256", "7:MDEyMzQ1Njc4OWFiY2RlZg==")
    assert [b64decode(key) for key in keys.split(":")] == [server.stored_key, server.server_key]


def test_each_has_its_salt_and_the_usual_iterations() -> None:
    made = [encrypt_password("pencil", "alice") for _ in range(2)]
    assert made[0] != made[1]
    for text in made:
        iterations, salt = text.split("$")[1].split(":")
        assert iterations == "4096" and len(b64decode(salt)) == 16


@pytest.mark.parametrize("algorithm", ["", "on", "MD5", "scram", "SCRAM-SHA-256"])
def test_an_unknown_algorithm(algorithm: str) -> None:
    with pytest.raises(ProgrammingError, match="'scram-sha-256' or 'md5'"):
        encrypt_password("pencil", "alice", algorithm)


@pytest.mark.parametrize("iterations", [0, -1, MAX_SCRAM_ITERATIONS + 1])
def test_impossible_iterations(iterations: int) -> None:
    with pytest.raises(ProgrammingError, match="iterations"):
        encrypt_password("pencil", "alice", iterations=iterations)


@pytest.mark.parametrize("algorithm", ["md5", "scram-sha-256"])
@pytest.mark.parametrize("password", ["hunter2\0", "hunter2\ud800"])
def test_a_password_that_cannot_be(algorithm: str, password: str) -> None:
    with pytest.raises(DataError) as caught:
        encrypt_password(password, "alice", algorithm)
    assert "hunter2" not in str(caught.value)


def test_the_keys_are_those_of_the_exchange() -> None:
    server = FakeScramServer("pencil")
    keys = scram_keys(ScramClient.salted_password("pencil", b"salt", 7))
    assert keys.server_key == server.server_key
    assert hashlib.sha256(keys.client_key).digest() == server.stored_key


@pytest.mark.parametrize(
    ("text", "number"), [(None, 4096), ("", 4096), ("1", 1), ("10000", 10000), ("9999999999", 9999999999)]
)
def test_iterations_that_servers_report(text: str | None, number: int) -> None:
    assert reported_iterations(text) == number


@pytest.mark.parametrize("text", ["-1", "1e9", "many", "\u0661", "\u00b2", "9" * 5000, " 1"])
def test_iterations_that_are_none(text: str) -> None:
    with pytest.raises(OperationalError, match="which is no number of iterations"):
        reported_iterations(text)
