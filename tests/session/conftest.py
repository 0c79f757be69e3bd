from __future__ import annotations

import pytest


@pytest.fixture
def one_cancel_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that is slow to follow on a busy machine must not be sent another one."""
    monkeypatch.setattr("anyq.session.cancelling.CANCEL_AGAIN", 1000.0)
