"""What to do: each thing is said once, and by what tells it in any language."""

from __future__ import annotations

import errno

import pytest

import anyq
from anyq.cli.doctor_advice import Advisor
from anyq.cli.doctor_steps import Step
from anyq.conninfo import ConnectOptions, HostSpec
from anyq.errors import lookup
from anyq.transport.failures import DialError, Failure

HOST = HostSpec("db", None, 3306)
OPTIONS = ConnectOptions(hosts=(HOST,), user="Alice", dbname="my db")


def advise(kind: str, error: BaseException, **origins: str) -> str:
    return "\n".join(Advisor(OPTIONS, origins)(Step(kind, kind), error))


def said(sqlstate: str, text: str, function: str = "") -> anyq.Error:
    """Return an error of the server's, which speaks whatever it speaks."""
    fields = {"S": "FATAL", "C": sqlstate, "M": text, "R": function}
    return lookup(sqlstate)(text, fields={name: value for name, value in fields.items() if value})


def test_each_thing_is_said_once() -> None:
    advisor = Advisor(OPTIONS, {})
    error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    assert advisor(Step("address", "first"), error)
    assert advisor(Step("address", "second"), error) == []


def test_in_another_language() -> None:
    text = "no hay una línea en pg_hba.conf para «192.0.2.7», usuario «Alice», base de datos «my db», sin cifrado"
    found = advise("login", said("28000", text, "ClientAuthentication"))
    assert 'host "my db" "Alice" ADDRESS/32 scram-sha-256' in found
    assert "CREATE ROLE" in advise("login", said("28000", "no existe el rol", "InitializeSessionUserId"))
    assert "peer, ident or cert" in advise("login", said("28000", "falló", "auth_failed"))


@pytest.mark.parametrize(("address", "line"), [("192.0.2.7", "192.0.2.7/32"), ("fe80::1%eth0", "fe80::1/128")])
def test_the_line_for_this_address(address: str, line: str) -> None:
    error = said("28000", f'no pg_hba.conf entry for host "{address}", user "Alice"', "ClientAuthentication")
    assert f" {line} scram-sha-256" in advise("login", error)


@pytest.mark.parametrize("text", ["..., no encryption", "..., SSL off"])
def test_lines_for_tls_only(text: str) -> None:
    assert "hostssl" in advise("login", said("28000", text, "ClientAuthentication"))


def test_the_usual_port_of_something_else() -> None:
    error = anyq.errors.RemoteProtocolError("it said hello")
    assert "It is the usual port of MySQL or MariaDB. port comes from: argument." in advise(
        "login", error, port="argument"
    )


def test_packets_that_are_dropped() -> None:
    for error in (
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        DialError.of([Failure(HOST, "192.0.2.1", "no answer", True)]),
    ):
        assert "firewall" in advise("address", error)


def test_name_servers_that_do_not_answer() -> None:
    assert "name servers do not answer" in advise("name", DialError.of([Failure(HOST, None, "no answer", True)]))


@pytest.mark.parametrize(
    ("code", "text"), [(errno.EACCES, "unix_socket_permissions"), (errno.EHOSTUNREACH, "no way to that address")]
)
def test_what_the_system_says(code: int, text: str) -> None:
    assert text in advise("address", OSError(code, "x"))


def test_a_pooler_that_refuses_an_option() -> None:
    error = said("08P01", "unsupported startup parameter: options")
    assert "ignore_startup_parameters" in advise("login", error)


def test_what_is_not_known_has_no_advice() -> None:
    assert advise("login", said("XX000", "oops")) == ""
    assert advise("address", OSError(errno.EINVAL, "x")) == ""
