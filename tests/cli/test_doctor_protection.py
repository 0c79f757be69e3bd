"""What a connection is protected from, by its mode and by what TLS has come to."""

from __future__ import annotations

import socket

import pytest

from anyq.cli.doctor_protection import protection
from anyq.conninfo import TlsOptions
from anyq.transport.channel import TlsState

FAR = (socket.AF_INET, ("192.0.2.1", 5432))


def tls(*, verified: bool) -> TlsState:
    return TlsState({}, b"", verified, False)


@pytest.mark.parametrize(
    ("options", "state", "calm", "text"),
    [
        (TlsOptions("disable"), None, False, "can read everything"),
        (TlsOptions("disable"), None, False, "sslmode=disable does not even ask for it"),
        (TlsOptions("prefer"), None, False, "sslmode=prefer goes on without it"),
        (TlsOptions("prefer"), tls(verified=False), False, "need only say that the server has none"),
        (TlsOptions("prefer"), tls(verified=True), False, "need only say that the server has none"),
        (TlsOptions("require"), tls(verified=False), False, "somebody in between can show one of his own"),
        (TlsOptions("require"), tls(verified=True), True, "whoever has any certificate of that authority"),
        (TlsOptions("verify-ca"), tls(verified=True), True, "whoever has any certificate of that authority"),
        (TlsOptions("verify-full"), tls(verified=True), True, "Nobody on the way"),
        (TlsOptions("require", channel_binding="require"), tls(verified=False), True, "is refused"),
    ],
)
def test_what_an_attacker_could_do(options: TlsOptions, state: TlsState | None, calm: bool, text: str) -> None:
    found = protection(options, state, FAR)
    assert found[0] is calm
    assert text in found[1]


def test_only_weak_modes_can_be_talked_out_of_tls() -> None:
    assert "has none" not in protection(TlsOptions("require"), tls(verified=False), FAR)[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine(address: str) -> None:
    calm, text = protection(TlsOptions("disable"), None, (socket.AF_INET, (address, 1)))
    assert calm
    assert "does not leave this machine" in text


def test_a_zone_is_no_part_of_an_address() -> None:
    assert not protection(TlsOptions("disable"), None, (socket.AF_INET6, ("fe80::1%eth0", 1)))[0]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
def test_unix_sockets() -> None:
    safe = protection(TlsOptions("disable"), None, (socket.AF_UNIX, "/run/postgresql/.s.PGSQL.5432"))
    assert safe == (True, "A Unix socket, which needs no TLS: nothing leaves this machine.")
    for path in ("/tmp/.s.PGSQL.5432", "\0tmp/.s.PGSQL.5432"):
        assert "requirepeer=postgres" in protection(TlsOptions(), None, (socket.AF_UNIX, path))[1]
