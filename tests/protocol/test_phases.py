from __future__ import annotations

from collections.abc import Mapping

import pytest

from anyq.protocol import handlers
from anyq.protocol.constants import BackendCode
from anyq.protocol.phases import TABLE, Event, Phase, Step
from tests.support.phases import WAYS

FINAL = {Phase.CLOSED, Phase.FAILED}
#: What may come at any time once the server talks to us.
REPORTS = {BackendCode.NOTICE_RESPONSE, BackendCode.PARAMETER_STATUS, BackendCode.NOTIFICATION_RESPONSE}


def codes(row: Mapping[BackendCode | Event, Step]) -> set[BackendCode]:
    return {key for key in row if isinstance(key, BackendCode)}


def test_every_phase_is_in_the_table_and_can_be_reached() -> None:
    assert set(TABLE) == set(WAYS) == set(Phase)


def test_every_handler_exists_and_is_in_the_table() -> None:
    found = {name for name in vars(handlers) if name.startswith("on_")}
    assert found == {step.handler for row in TABLE.values() for step in row.values() if step.handler}


def test_messages_have_handlers_and_events_have_none() -> None:
    for row in TABLE.values():
        for key, step in row.items():
            assert bool(step.handler) == isinstance(key, BackendCode), key


def test_every_message_but_one_is_taken_somewhere() -> None:
    """Nobody calls functions."""
    assert {code for row in TABLE.values() for code in codes(row)} == set(BackendCode) - {
        BackendCode.FUNCTION_CALL_RESPONSE
    }


def test_every_event_leads_somewhere() -> None:
    assert {key for row in TABLE.values() for key in row if isinstance(key, Event)} == set(Event)


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_end(phase: Phase) -> None:
    after = {event: TABLE[phase][event].phase or phase for event in (Event.FAIL, Event.CLOSE)}
    if phase in FINAL:
        assert set(after.values()) == {phase}
        assert not codes(TABLE[phase])
    else:
        assert after == {Event.FAIL: Phase.FAILED, Event.CLOSE: Phase.CLOSED}


@pytest.mark.parametrize("phase", sorted(set(Phase) - FINAL - {Phase.NEW}))
def test_errors_and_notices_are_taken_in_every_phase(phase: Phase) -> None:
    assert {BackendCode.ERROR_RESPONSE, BackendCode.NOTICE_RESPONSE} <= codes(TABLE[phase])


@pytest.mark.parametrize("phase", [phase for phase in Phase if Phase.STARTING <= phase < Phase.CLOSED])
def test_reports_are_taken_at_any_time_after_the_login(phase: Phase) -> None:
    assert codes(TABLE[phase]) >= REPORTS


def test_nothing_but_reports_comes_unasked() -> None:
    assert codes(TABLE[Phase.IDLE]) == REPORTS | {BackendCode.ERROR_RESPONSE}
    assert codes(TABLE[Phase.NEW]) == set()
