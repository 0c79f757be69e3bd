"""How what is told of connecting becomes steps."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from anyq.cli.doctor_steps import FAILED, OK, UNUSED, WARNING, Recorder, Step, text_of
from anyq.conninfo import ConnectOptions, HostSpec, TlsOptions
from anyq.errors import OperationalError
from anyq.protocol.constants import PROTOCOL_3_0, PROTOCOL_3_2
from anyq.transport.channel import TlsState
from anyq.transport.failures import DialError, Failure
from tests.support.certificates import Certificates

HOST = HostSpec("db.example.com", None, 5432)
FIRST, SECOND = ((socket.AF_INET, (f"192.0.2.{number}", 5432)) for number in (1, 2))


class Steps(list[Step]):
    def outline(self) -> list[tuple[str, str]]:
        return [(step.kind, step.status) for step in self]


@pytest.fixture
def steps() -> Steps:
    return Steps()


def recorder(steps: Steps, **tls: Any) -> Recorder:
    options = ConnectOptions(hosts=(HOST,), user="alice", dbname="app", tls=TlsOptions(**tls))
    return Recorder(options, steps.append, lambda step, error: [f"about {step.kind}"])


def dialed(recording: Recorder) -> None:
    recording.resolving(HOST)
    recording.resolved(HOST, [FIRST])
    recording.dialing(FIRST)
    recording.dialed(FIRST, None)


def test_the_loser_of_a_race(steps: Steps) -> None:
    recording = recorder(steps, mode="disable")
    recording.resolving(HOST)
    recording.resolved(HOST, [FIRST, SECOND])
    recording.dialing(FIRST)
    recording.dialing(SECOND)
    recording.dialed(SECOND, None)
    recording.logging_in(PROTOCOL_3_2)
    assert steps.outline() == [("name", OK), ("address", OK), ("address", UNUSED), ("tls", WARNING)]
    assert steps[0].facts[0].value == ["192.0.2.1", "192.0.2.2"]
    assert steps[1].title == 'address "192.0.2.2", port 5432'


def test_a_time_limit_ends_all_that_was_under_way(steps: Steps) -> None:
    recording = recorder(steps)
    recording.resolving(HOST)
    recording.resolved(HOST, [FIRST, SECOND])
    recording.dialing(FIRST)
    recording.dialing(SECOND)
    recording.failed(DialError.of([Failure(HOST, "192.0.2.1", "late", True), Failure(HOST, "192.0.2.2", "late", True)]))
    assert steps.outline() == [("name", OK), ("address", FAILED), ("address", FAILED)]
    assert [step.error for step in steps[1:]] == ["late", "late"]
    assert steps[1].advice == ["about address"]


def test_no_step_for_what_is_not_looked_up(steps: Steps) -> None:
    recording = recorder(steps)
    for host, address in (
        (HostSpec("192.0.2.1", None, 5432), FIRST),
        (HostSpec("db", "192.0.2.1", 5432), FIRST),
        (HostSpec("/run", None, 5432), (socket.AF_UNIX, "/run/.s.PGSQL.5432")),
    ):
        recording.resolving(host)
        recording.resolved(host, [address])
    assert steps == []


def test_an_older_version_of_the_protocol(steps: Steps) -> None:
    recording = recorder(steps, mode="disable")
    dialed(recording)
    recording.logging_in(PROTOCOL_3_2)
    recording.failed(OperationalError("bad packet"))
    recording.logging_in(PROTOCOL_3_0)
    recording.logged_in()
    assert steps.outline()[2:] == [("tls", WARNING), ("login", FAILED), ("login", OK)]
    assert "max_protocol_version=3.0 saves that attempt" in steps[-1].notes[0]
    assert recording.refused_versions == [PROTOCOL_3_2]


def test_a_refusal_after_which_it_is_tried_without_tls(steps: Steps, certificates: Certificates) -> None:
    """That is not about the version: it is asked for anew."""
    recording = recorder(steps)
    dialed(recording)
    recording.securing()
    recording.secured(TlsState({"protocol": "TLSv1.3"}, certificates.der("right"), False, False))
    recording.logging_in(PROTOCOL_3_2)
    recording.failed(OperationalError("no entry"))
    recording.dialing(FIRST)
    recording.dialed(FIRST, None)
    recording.logging_in(PROTOCOL_3_2)
    recording.logged_in()
    assert [kind for kind, _ in steps.outline()[2:]] == ["tls", "login", "address", "tls", "login"]
    assert recording.refused_versions == []


@pytest.mark.parametrize(
    ("name", "note"),
    [("expired", "has expired"), ("right", None), ("early", None), ("self-signed", "expires in 8 days")],
)
def test_the_end_of_a_certificate(steps: Steps, certificates: Certificates, name: str, note: str | None) -> None:
    recording = recorder(steps, mode="verify-full")
    dialed(recording)
    recording.securing()
    recording.secured(TlsState({}, certificates.der(name), True, False))
    assert any(note in each for each in steps[-1].notes) if note else steps[-1].status in (OK, WARNING)
    if name == "right":
        assert steps[-1].status == OK


def test_a_certificate_that_cannot_be_read(steps: Steps) -> None:
    recording = recorder(steps, mode="verify-full")
    dialed(recording)
    recording.securing()
    recording.secured(TlsState({}, b"nonsense", True, False))
    assert steps[-1].notes[0] == "The server's certificate cannot be read."


def test_a_password_that_others_may_read(steps: Steps) -> None:
    recording = recorder(steps, mode="disable")
    dialed(recording)
    recording.logging_in(PROTOCOL_3_2)
    recording.authenticating("a password in clear")
    recording.logged_in()
    assert "whoever listens has it" in steps[-1].notes[0]


def test_a_session_that_does_not_suit(steps: Steps) -> None:
    recording = recorder(steps, mode="disable")
    dialed(recording)
    recording.logging_in(PROTOCOL_3_2)
    recording.logged_in()
    recording.failed(OperationalError("read-only"))
    assert steps.outline()[-1] == ("session", FAILED)
    # Said again, as the end of all attempts, it is no other step.
    recording.failed(OperationalError("read-only"))
    assert len(steps.outline()) == 5


def test_text_of() -> None:
    failures = [Failure(HOST, None, "late"), Failure(HOST, "192.0.2.1", "late"), Failure(HOST, None, "never")]
    assert text_of(DialError.of(failures)) == "late\nnever"
    assert text_of(OperationalError("x")) == "x"
    assert text_of(ValueError()) == "ValueError"
