"""How far a two-phase transaction is, by what the server has answered; the rest is in tests/test_two_phase.py."""

from __future__ import annotations

import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.session.transactions import TwoPhase
from tests.support import frontend_messages as fm
from tests.support.fakeserver import FAILED, IN_TRANSACTION, READY, FakeClient, fake_server
from tests.support.state import status

pytestmark = pytest.mark.anyio

CANCELED = be.ErrorResponse({"S": "ERROR", "C": "57014", "M": "canceled"})


@pytest.mark.parametrize(
    ("call", "answers", "phase"),
    [
        ("prepare", (be.CommandComplete("PREPARE TRANSACTION"), READY), TwoPhase.PREPARED),
        ("prepare", (CANCELED, READY), TwoPhase.FAILED),
        # Canceled before it has begun: the transaction is left open, and has failed.
        ("prepare", (CANCELED, FAILED), TwoPhase.BEGUN),
        ("commit", (be.CommandComplete("COMMIT"), READY), TwoPhase.NONE),
        ("commit", (CANCELED, READY), TwoPhase.NONE),
        ("commit", (CANCELED, FAILED), TwoPhase.BEGUN),
    ],
)
async def test_phases(call: str, answers: tuple[be.BackendMessage, ...], phase: TwoPhase) -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send(be.CommandComplete("BEGIN"), IN_TRANSACTION)
        await client.expect(fm.Query)
        await client.send(*answers)
        if phase is TwoPhase.BEGUN:
            assert (await client.expect(fm.Query)).sql == b"ROLLBACK"
            await client.send(be.CommandComplete("ROLLBACK"), READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server:
        conn = await AsyncConnection.connect(server.conninfo)
        two_phase = conn.two_phase
        await two_phase.begin("x")
        assert two_phase.is_begun
        try:
            await (two_phase.prepare() if call == "prepare" else two_phase.finish(commit=True))
        except e.QueryCanceled:
            assert answers[0] is CANCELED
        else:
            assert answers[0] is not CANCELED
        assert conn.session.transactions.two_phase is phase
        if phase is TwoPhase.BEGUN:
            assert status(conn) is TransactionStatus.INERROR
            await two_phase.finish(commit=False)
        assert status(conn) is TransactionStatus.IDLE
        await conn.close()


@pytest.mark.parametrize("call", ["commit", "rollback"])
async def test_it_begins_while_another_task_is_about_to_commit(
    call: str, conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = conn.session.transactions
    certain_turn = transactions.certain_turn

    async def late(**kwargs: bool) -> None:
        monkeypatch.undo()
        await conn.two_phase.begin("x")
        await certain_turn(**kwargs)

    monkeypatch.setattr(transactions, "certain_turn", late)
    with pytest.raises(e.ProgrammingError, match="two-phase"):
        await getattr(conn, call)()
    assert status(conn) is TransactionStatus.INTRANS
    await conn.tpc_rollback()


async def test_a_rollback_that_fails_replaces_nothing(
    conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Interrupt(BaseException):
        pass

    async def interrupted(*args: object, **kwargs: object) -> None:
        raise Interrupt

    async def failing(*args: object, **kwargs: object) -> None:
        raise e.InternalError_("no rollback today")

    monkeypatch.setattr(conn.session, "send_command", interrupted)
    monkeypatch.setattr(conn.session, "carry_out", failing)
    with pytest.raises(Interrupt):
        await conn.tpc_begin("x")
    assert "no rollback today" in caplog.text
    assert conn.session.transactions.two_phase is TwoPhase.NONE
