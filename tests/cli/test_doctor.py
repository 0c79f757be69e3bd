"""`anyq doctor`: what it tells of a connection, and at each of the usual mistakes what to do."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyq
from anyq.cli import doctor
from tests.support import frontend_messages as fm
from tests.support.certificates import Certificates
from tests.support.examined import examined
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.hostile import refusal
from tests.support.listeners import black_hole
from tests.support.server import Server
from tests.support.tlsproxies import Proxy

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]


# --- a connection that can be made


async def test_a_connection(embedded_server: Server) -> None:
    found = await examined(embedded_server.role_dsn("scram-sha-256"))
    assert found.outline == ["options", "address", "tls", "login", "server", "pooler", "round-trips"]
    assert (found.status, found.connected, found.error) == (0, True, "")
    assert all(step.seconds > 0 for step in found.steps)
    role = embedded_server.roles["scram-sha-256"]
    assert found.facts("login") == {
        "user": role.user,
        "database": "postgres",
        "protocol asked for": "3.2",
        "authentication": "SCRAM-SHA-256",
    }
    with anyq.connect(embedded_server.dsn) as conn:
        server = found.facts("server")
        assert server["server version"] == conn.info.parameter_status("server_version")
        assert server["time zone"] == "UTC"
        version = conn.info.protocol_version
    assert server["protocol version"] == f"{version // 10000}.{version % 10000}"
    assert (server["hot standby"], server["read-only"]) == (False, False)
    assert found.facts("pooler") == {"in between": "nothing that shows"}
    assert found.facts("round-trips")["queries"] == 20
    assert role.password not in repr(found.steps)


@pytest.mark.any_loop
async def test_where_options_come_from(
    embedded_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = embedded_server.roles["scram-sha-256"]
    services, passwords = tmp_path / "services", tmp_path / "passwords"
    services.write_text(f"[app]\nhost={embedded_server.host}\nuser={role.user}\nport=1\napplication_name=no\n")
    passwords.write_text(f"*:*:*:*:{role.password}\n")
    passwords.chmod(0o600)
    for name, value in {"PORT": str(embedded_server.port), "PASSFILE": str(passwords), "TZ": "UTC"}.items():
        monkeypatch.setenv(f"PG{name}", value)
    # The service comes before the environment.
    with_service = await examined(f"service=app servicefile={services} dbname=postgres port={embedded_server.port}")
    assert with_service.status == 0
    given = f'service "app" in "{services}"'
    expected = {"host": given, "user": given, "application_name": given, "port": "argument", "dbname": "argument"}
    origins = with_service.origins()
    assert {name: origins[name] for name in expected} == expected
    assert origins["passfile"] == "environment variable PGPASSFILE"
    assert origins["password"] == f'password file "{passwords}"'
    assert with_service.facts("options")["password"] == "(not shown)"
    assert (with_service.facts("options")["timezone"], origins["timezone"]) == ("UTC", "environment variable PGTZ")
    monkeypatch.setenv("PGSSLMODE", "disable")
    without = await examined(f"host={embedded_server.host} user={role.user} connect_timeout=5")
    origins = without.origins()
    assert origins["port"] == "environment variable PGPORT"
    assert origins["sslmode"] == "environment variable PGSSLMODE"
    assert (origins["dbname"], origins["connect_timeout"]) == ("default: as the user", "argument")
    # There is no such database, and it is told why it was asked for.
    assert without.status == 2
    assert "dbname comes from: default: as the user" in without.advice


@pytest.mark.any_loop
async def test_what_is_so_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyq.conninfo.hosts.SOCKET_DIRECTORIES", ("/nowhere",))
    found = await examined("port=1")
    origins = found.origins()
    assert found.facts("options")["host"] == "localhost"
    assert origins["host"].startswith("default: there is no socket for that port in ")
    assert origins["user"] == "default: the operating system's user"
    assert found.facts("options")["connect_timeout"] == "10"
    assert found.facts("options")["password"] == "none"


@pytest.mark.any_loop
async def test_a_password_file_that_is_not_used(embedded_server: Server, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("*:*:*:*:secret\n")
    passwords.chmod(0o644)
    found = await examined(f"{embedded_server.role_dsn('scram-sha-256')} password='' passfile={passwords}")
    assert found.outline == ["options warning", "address", "tls", "login failed"]
    (note,) = found.one("options").notes
    assert "is not used: group or others have access to it" in note
    role = embedded_server.roles["scram-sha-256"]
    assert f"{embedded_server.host}:{embedded_server.port}:postgres:{role.user}:PASSWORD" in found.advice


@pytest.mark.any_loop
async def test_the_next_host(embedded_server: Server) -> None:
    dsn = f"{embedded_server.tcp_dsn} host=127.0.0.1,127.0.0.1 port=1,{embedded_server.port}"
    found = await examined(dsn)
    assert found.outline[:4] == ["options", "address failed", "address", "tls"]
    assert (found.status, found.connected) == (0, True)


async def test_tls(proxy: Proxy, embedded_server: Server, certificates: Certificates) -> None:
    dsn = embedded_server.role_dsn("scram-sha-256") + f" host=localhost hostaddr=127.0.0.1 port={proxy().port}"
    found = await examined(f"{dsn} sslmode=verify-full sslrootcert={certificates.root}")
    assert found.status == 0
    tls = found.facts("tls")
    assert (tls["in use"], tls["certificate verified"]) == (True, True)
    assert (tls["protocol"], tls["alpn"]) == ("TLSv1.3", "postgresql")
    assert tls["certificate for"] == ["localhost", "127.0.0.1", "::1"]
    assert "Nobody on the way" in found.one("tls").notes[0]
    # The proxy is something in between, which shows.
    assert any("sees a connection from port" in sign for sign in found.facts("pooler")["told by"])  # type: ignore[attr-defined]
    blind = await examined(dsn)
    assert blind.one("tls").status == "warning"
    assert "not verified" in blind.one("tls").notes[0]


# --- the usual mistakes


@pytest.mark.any_loop
async def test_a_wrong_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    found = await examined("host=127.0.0.1")
    assert (found.status, found.connected, found.outline) == (2, False, ["options", "address failed"])
    assert "Is it that port? There: SHOW port. port comes from: environment variable PGPORT." in found.advice


@pytest.mark.any_loop
async def test_no_such_socket(tmp_path: Path) -> None:
    found = await examined(f"host={tmp_path}")
    assert found.outline == ["options", "address failed"]
    assert "There is no such socket" in found.advice


@pytest.mark.any_loop
async def test_a_name_that_is_not_known() -> None:
    found = await examined("host=no-such-name.invalid")
    assert found.outline == ["options", "name failed"]
    assert "Check the spelling of the host name. host comes from: argument." in found.advice


@pytest.mark.any_loop
async def test_a_firewall_that_drops() -> None:
    with ExitStack() as resources:
        port = black_hole(resources).getsockname()[1]
        found = await examined(f"host=127.0.0.1 port={port} connect_timeout=0.2")
    assert found.outline == ["options", "address failed"]
    assert "no answer within 0.2 s (connect_timeout)" in found.failure.error
    assert "a firewall drops the packets" in found.advice


@pytest.mark.any_loop
async def test_no_entry_in_pg_hba(embedded_server: Server) -> None:
    found = await examined(embedded_server.role_dsn("reject"))
    assert found.outline == ["options", "address", "tls", "login failed"]
    assert "host postgres anyq_reject 127.0.0.1/32 scram-sha-256" in found.advice
    assert "lines that begin with hostssl do not match then" in found.advice


@pytest.mark.any_loop
@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
async def test_a_wrong_password(embedded_server: Server, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", secret := secrets.token_hex())
    role = embedded_server.roles[method]
    dsn = f"host={embedded_server.host} port={embedded_server.port} user={role.user} dbname=postgres"
    found = await examined(dsn)
    assert found.failure.kind == "login"
    assert "password authentication failed" in found.failure.error
    assert "password comes from: environment variable PGPASSWORD." in found.advice
    assert secret not in repr(found.steps)


@pytest.mark.any_loop
async def test_no_password(embedded_server: Server) -> None:
    found = await examined(f"{embedded_server.role_dsn('scram-sha-256')} password=''")
    assert found.failure.kind == "login"
    assert "Give a password: password= in the connection string" in found.advice


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("dbname=nowhere", "There is no database 'nowhere'"),
        ("user=nobody_here", "Have the user made, by CREATE ROLE ... LOGIN"),
    ],
)
async def test_what_is_not_on_the_server(embedded_server: Server, change: str, advice: str) -> None:
    found = await examined(f"{embedded_server.dsn} {change}")
    assert found.outline[-1] == "login failed"
    assert advice in found.advice


@pytest.mark.any_loop
async def test_too_many_connections(embedded_server: Server) -> None:
    role = embedded_server.roles["scram-sha-256"]
    embedded_server.psql(f"ALTER ROLE {role.user} CONNECTION LIMIT 0")
    try:
        found = await examined(embedded_server.role_dsn("scram-sha-256"))
    finally:
        embedded_server.psql(f"ALTER ROLE {role.user} CONNECTION LIMIT -1")
    assert found.failure.error.startswith("too many connections for role")
    assert "Use a pool (docs/pool.md)" in found.advice


@pytest.mark.any_loop
async def test_a_database_that_one_may_not_connect_to(embedded_server: Server) -> None:
    name = f"doctor_{secrets.token_hex(4)}"
    embedded_server.psql(f"CREATE DATABASE {name}")
    try:
        embedded_server.psql(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
        found = await examined(f"{embedded_server.role_dsn('scram-sha-256')} dbname={name}")
    finally:
        embedded_server.psql(f"DROP DATABASE {name}")
    assert "GRANT CONNECT ON DATABASE ... TO anyq_scram" in found.advice


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("expired", "Have the certificate renewed on the server"),
        ("early", "Check the clocks of both machines."),
        ("stranger", "Give the certificate of the authority that has signed"),
        ("self-signed", "Give the certificate of the authority that has signed"),
        ("wrong-host", "Connect by a name that is in the certificate"),
    ],
)
async def test_a_certificate_that_is_not_accepted(
    proxy: Proxy, embedded_server: Server, certificates: Certificates, name: str, advice: str
) -> None:
    dsn = embedded_server.role_dsn("scram-sha-256") + f" host=localhost hostaddr=127.0.0.1 port={proxy(name).port}"
    found = await examined(f"{dsn} sslmode=verify-full sslrootcert={certificates.root}")
    assert found.outline == ["options", "address", "tls failed"]
    assert advice in found.advice


@pytest.mark.any_loop
async def test_tls_that_is_given_up(proxy: Proxy, embedded_server: Server, certificates: Certificates) -> None:
    """By sslmode=prefer, the driver goes on without, and that is told."""
    dsn = embedded_server.role_dsn("scram-sha-256") + f" host=localhost hostaddr=127.0.0.1 port={proxy('expired').port}"
    found = await examined(f"{dsn} sslmode=prefer sslrootcert={certificates.root}")
    assert found.outline[:6] == ["options", "address", "tls failed", "address", "tls", "login"]
    assert found.facts("tls")["in use"] is False
    assert found.status == 0


@pytest.mark.any_loop
async def test_no_tls_where_it_has_to_be(embedded_server: Server) -> None:
    found = await examined(f"{embedded_server.tcp_dsn} sslmode=require")
    assert found.outline == ["options", "address", "tls failed"]
    assert "Have the server's administrator turn on ssl" in found.advice


GREETINGS = {
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "MySQL": b"J\0\0\0\n8.0.36\0",
    "SMTP": b"220 mail.example.com ESMTP\r\n",
}


@pytest.mark.any_loop
@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS)
@pytest.mark.parametrize(("mode", "kind"), [("prefer", "tls"), ("disable", "login")])
async def test_something_else_listens_there(greeting: bytes, mode: str, kind: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.send_raw(greeting)
        await client.stall()

    async with fake_server(script) as server:
        found = await examined(f"{server.conninfo} sslmode={mode}")
    assert (found.failure.kind, found.status) == (kind, 2)
    assert "Something listens there that is not PostgreSQL: check host and port." in found.advice


@pytest.fixture(scope="module")
def web_server() -> Iterator[int]:
    """The port of a web server, as real as Python's own. It waits for the end of the line that it takes this for."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            yield int(program.stdout.readline().partition(" port ")[2].split()[0])
        finally:
            program.kill()


@pytest.mark.any_loop
@pytest.mark.parametrize(("mode", "kind"), [("prefer", "tls"), ("disable", "login")])
async def test_something_that_says_nothing(web_server: int, mode: str, kind: str) -> None:
    found = await examined(f"host=127.0.0.1 port={web_server} sslmode={mode} connect_timeout=0.2")
    assert (found.failure.kind, found.status) == (kind, 2)
    assert "accepts connections there and says nothing: another kind of server" in found.advice


@pytest.mark.any_loop
async def test_a_session_that_does_not_suit(embedded_server: Server) -> None:
    found = await examined(f"{embedded_server.dsn} target_session_attrs=standby")
    assert found.outline[-1] == "session failed"
    assert "No host has a session for target_session_attrs=standby" in found.advice


@pytest.mark.any_loop
@pytest.mark.parametrize("dsn", ["hots=x", "service=no-such-service", "sslmode=perhaps", "postgresql://[x"])
async def test_options_that_make_no_sense(dsn: str) -> None:
    found = await examined(dsn)
    assert (found.outline, found.status) == (["options failed"], 2)
    assert "docs/connecting.md" in found.advice


# What a real server says only while it starts, and what it hardly ever does.


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("sqlstate", "advice"),
    [("57P03", "The server is starting, stopping or recovering"), ("28000", "run this as the operating system's user")],
)
async def test_what_a_server_may_say(sqlstate: str, advice: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal(sqlstate))

    async with fake_server(script) as server:
        found = await examined(f"{server.conninfo} sslmode=disable")
    assert found.failure.kind == "login"
    assert advice in found.advice


@pytest.mark.any_loop
async def test_a_connection_that_is_lost_while_it_is_looked_at() -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()

    async with fake_server(script) as server:
        found = await examined(f"{server.conninfo} sslmode=disable")
    assert (found.status, found.connected) == (1, False)
    assert "server failed" in found.outline


@pytest.mark.any_loop
async def test_a_server_that_refuses_every_query() -> None:
    """As one that only speaks the protocol may; it is not looked at closely then."""

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        while (message := await client.receive()) is not None:
            if isinstance(message, fm.Query | fm.Sync):
                await client.send(refusal("42601"), READY)

    async with fake_server(script) as server:
        found = await examined(f"{server.conninfo} sslmode=disable")
    assert found.outline[-3:] == ["server", "pooler", "round-trips failed"]


async def test_cancelled(embedded_server: Server) -> None:
    """A cancellation, at any time, leaves nothing open: the server has as many connections as before."""
    with anyio.move_on_after(30) as scope:

        class Cancelling:
            def begin(self, about: Any) -> None: ...

            def step(self, step: Any) -> None:
                if step.kind == "server":
                    scope.cancel()

            def end(self, connected: bool, error: str) -> None: ...

        await doctor.examine(f"{embedded_server.dsn} application_name='doctor cancelled'", Cancelling())
    assert scope.cancelled_caught
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'doctor cancelled'"
    while embedded_server.psql(query) != "0":
        await anyio.lowlevel.checkpoint()


# --- the command


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "anyq", "doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=40,
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_command(embedded_server: Server, backend: str) -> None:
    secret = embedded_server.roles["scram-sha-256"].password
    dsn = embedded_server.role_dsn("scram-sha-256")
    done = run(dsn, "--backend", backend)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"anyq doctor: anyq {anyq.__version__}, Python ")
    assert done.stdout.endswith("\nThe connection can be used.\n")
    assert "\x1b" not in done.stdout
    assert secret not in done.stdout


def test_json(embedded_server: Server) -> None:
    done = run(embedded_server.role_dsn("reject"), "--json")
    assert (done.returncode, done.stderr) == (2, "")
    report = json.loads(done.stdout)
    assert (report["anyq"], report["connected"], report["error"]) == (anyq.__version__, False, None)
    assert [step["step"] for step in report["steps"]] == ["options", "address", "tls", "login"]
    options, *_, login = report["steps"]
    assert options["facts"]["user"] == {"value": "anyq_reject", "from": "argument"}
    assert options["facts"]["password"] == {"value": "(not shown)", "from": "argument"}
    assert (login["status"], login["facts"]["user"]) == ("failed", "anyq_reject")
    assert login["error"].startswith("pg_hba.conf rejects connection")
    assert login["advice"]
    assert embedded_server.roles["reject"].password not in done.stdout


def test_without_an_argument(embedded_server: Server) -> None:
    done = run(PGHOST=str(embedded_server.socket_dir), PGPORT=str(embedded_server.port), PGUSER="postgres")
    assert done.returncode == 0
    assert "(environment variable PGHOST)" in done.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are other ones")
def test_interrupted(backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        program = subprocess.Popen(
            [sys.executable, "-m", "anyq", "doctor", f"host=127.0.0.1 port={port}", "--backend", backend],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        client, _ = listener.accept()
        with client:
            assert client.recv(8)  # it waits for the answer
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=20)
    assert (program.returncode, err) == (130, "anyq doctor: interrupted\n")
    assert "address" in out
    assert "There is no connection" not in out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end in another way")
def test_whoever_reads_it_has_enough(dsn: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "anyq", "doctor", dsn],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None and program.stderr is not None
    with program:
        program.stdout.close()
        assert program.stderr.read() == ""
    assert program.returncode == 0


# --- docs/doctor.md

PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its own heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.checkout
def test_the_page_tells_what_is_said() -> None:
    source = "".join(
        line.strip().strip('f"') for line in (ROOT / "anyq/cli/doctor_advice.py").read_text("utf-8").splitlines()
    )
    mistakes = rows("What it says of the usual mistakes")
    assert len(mistakes) == 12
    for _, _, text in mistakes:
        assert text in source, text
    steps = {step.strip("`") for step, _ in rows("The steps")}
    assert {name.strip(" `") for _, names, _ in mistakes for name in names.split(",")} <= steps


@pytest.mark.checkout
def test_the_page_tells_the_exit_codes() -> None:
    codes = [int(code) for code, _ in rows("For programs")]
    assert codes == [doctor.CONNECTED, doctor.PARTLY, doctor.NOT_CONNECTED, doctor.INTERRUPTED]
