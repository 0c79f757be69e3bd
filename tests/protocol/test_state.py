from __future__ import annotations

import pytest

from anyq.protocol import handlers
from anyq.protocol.constants import BackendCode
from anyq.protocol.state import ACCEPTS, TRANSITIONS, Phase

FINAL = {Phase.CLOSED, Phase.FAILED}
#: What may come at any time once the server talks to us.
REPORTS = {BackendCode.NOTICE_RESPONSE, BackendCode.PARAMETER_STATUS, BackendCode.NOTIFICATION_RESPONSE}


def test_every_phase_is_in_both_tables() -> None:
    assert set(ACCEPTS) == set(TRANSITIONS) == set(Phase)


def test_every_handler_exists() -> None:
    for phase, accepted in ACCEPTS.items():
        for code, name in accepted.items():
            assert callable(getattr(handlers, name, None)), (phase, code, name)


def test_every_handler_is_in_the_table() -> None:
    found = {name for name in vars(handlers) if name.startswith("on_")}
    assert found == {name for accepted in ACCEPTS.values() for name in accepted.values()}


def test_every_message_is_taken_somewhere() -> None:
    assert {code for accepted in ACCEPTS.values() for code in accepted} == set(BackendCode)


def test_the_ends_take_nothing() -> None:
    for phase in FINAL:
        assert ACCEPTS[phase] == {}
    assert TRANSITIONS[Phase.CLOSED] == set()
    assert TRANSITIONS[Phase.FAILED] == {Phase.CLOSED}


@pytest.mark.parametrize("phase", sorted(set(Phase) - FINAL))
def test_every_phase_can_end(phase: Phase) -> None:
    assert TRANSITIONS[phase] >= FINAL


@pytest.mark.parametrize("phase", sorted(set(Phase) - FINAL))
def test_errors_and_notices_are_taken_in_every_phase(phase: Phase) -> None:
    assert {BackendCode.ERROR_RESPONSE, BackendCode.NOTICE_RESPONSE} <= set(ACCEPTS[phase])


@pytest.mark.parametrize("phase", [phase for phase in Phase if Phase.STARTING <= phase < Phase.CLOSED])
def test_reports_are_taken_at_any_time_after_the_login(phase: Phase) -> None:
    assert set(ACCEPTS[phase]) >= REPORTS


def test_nothing_but_reports_comes_unasked() -> None:
    assert set(ACCEPTS[Phase.IDLE]) == REPORTS | {BackendCode.ERROR_RESPONSE}


def test_every_phase_can_be_reached() -> None:
    reached, found = set[Phase](), {Phase.STARTUP}
    while found:
        reached |= found
        found = {after for phase in found for after in TRANSITIONS[phase]} - reached
    assert reached == set(Phase)


def test_ready_for_query_is_the_only_way_to_idle() -> None:
    for phase, accepted in ACCEPTS.items():
        takes_ready = BackendCode.READY_FOR_QUERY in accepted
        assert takes_ready == (Phase.IDLE in TRANSITIONS[phase]), phase
