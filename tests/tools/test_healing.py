"""How long a pool takes to heal is measured with all that it takes, on each kind of users."""

from __future__ import annotations

import pytest

from tests.tools import healing
from tests.tools.healing import KINDS, Load, Times, main, told

pytestmark = [pytest.mark.once, pytest.mark.checkout]

PATIENT = "600"
"""Seconds: how fast it heals says nothing here."""
SMALL = ["--users", "4", "--size", "2", "--down", "0"]


@pytest.mark.parametrize("loop", ["asyncio", "trio", "sync"])
def test_each_kind_of_users(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loop", loop, *SMALL, "--limit", PATIENT]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [[loop, kind, "1"] for kind in KINDS]


def test_what_takes_too_long_is_a_failure() -> None:
    assert main(["--loop", "asyncio", "--kind", "statements", "--mode", "immediate", *SMALL, "--limit", "0"]) == 1


def test_only_successes_with_the_new_server_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply of the old one that comes late says nothing of it."""
    load = Load(2)
    load.expect()
    load.has_succeeded(0, "old")
    load.has_succeeded(1, "old")
    load.wait()
    load.expect()
    load.has_succeeded(0, "old")
    load.has_succeeded(1, "new")
    monkeypatch.setattr(healing, "PATIENCE", 0)
    with pytest.raises(TimeoutError, match="1 users have had no success for 0 s"):
        load.wait()
    load.has_succeeded(1, "new")
    load.has_succeeded(0, "new")
    first, last = load.wait()
    assert first <= last


def test_what_is_told() -> None:
    times = [Times(0.1, 0.2), Times(0.3, 0.5), Times(0.2, 0.9)]
    assert told(times) == "the first after 0.200 s, at most 0.300; all after 0.500 s, at most 0.900"
