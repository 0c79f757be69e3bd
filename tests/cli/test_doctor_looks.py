"""What a connection is asked: the server, a pooler in between, how far away it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import anyq
from anyq.cli import doctor_looks
from anyq.cli.doctor_looks import look_at_server, measure_round_trips
from anyq.cli.doctor_steps import OK, WARNING, Step
from tests.support.examined import examined
from tests.support.poolers import Pooler, PoolerMissing, pgbouncer, pgpool
from tests.support.server import Server

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]


@pytest.fixture(scope="module")
def bouncer(server: Server) -> Iterator[Pooler]:
    if not server.is_embedded:
        pytest.skip("a pooler needs the embedded server, and the tests were given an external one")
    try:
        with pgbouncer(server) as running:
            yield running
    except PoolerMissing as error:
        pytest.skip(str(error))


def signs(facts: dict[str, object]) -> str:
    found = facts["told by"]
    assert isinstance(found, list)
    return "\n".join(found)


async def test_pgbouncer_that_gives_each_transaction_another_connection(bouncer: Pooler) -> None:
    found = await examined(bouncer.dsn("transaction"))
    assert found.status == 0
    facts = found.facts("pooler")
    assert "the process id is" in signs(facts)
    assert "reached by a Unix socket, while we connect by TCP" in signs(facts)
    assert facts["mode"] == "transaction: each transaction may have another server connection"
    assert "prepare_threshold=None" in found.one("pooler").notes[0]


async def test_pgbouncer_that_gives_each_session_a_connection(bouncer: Pooler) -> None:
    found = await examined(bouncer.dsn("session"))
    assert found.status == 0
    assert "mode" not in found.facts("pooler")
    assert "Nothing tells that it gives each transaction" in found.one("pooler").notes[0]


async def test_pgpool(embedded_server: Server) -> None:
    try:
        with pgpool(embedded_server) as running:
            found = await examined(running.dsn("postgres"))
    except PoolerMissing as error:
        pytest.skip(str(error))
    assert "as pgpool-II does" in signs(found.facts("pooler"))


async def test_a_server_that_is_nearly_full(conn: anyq.AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    await conn.set_autocommit(True)
    step = Step("server", "server")
    await look_at_server(conn, step)
    assert step.status == OK
    monkeypatch.setattr(doctor_looks, "_FULL", 0.0)
    await look_at_server(conn, step)
    assert step.status == WARNING
    assert "Soon nobody else will be let in" in step.notes[0]


async def test_a_server_that_is_far_away(conn: anyq.AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step("round-trips", "round trips")
    await measure_round_trips(conn, step)
    assert step.notes == []
    shortest, median, longest = (float(str(fact.value).split()[0]) for fact in step.facts[1:])
    assert 0 < shortest <= median <= longest
    monkeypatch.setattr(doctor_looks, "_FAR", 0.0)
    await measure_round_trips(conn, step)
    assert "The server is far away" in step.notes[0]
