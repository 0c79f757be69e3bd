"""Time limits that pass when a test says so, and not when a clock does."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

LIMIT = 1e9
"""Seconds that the limits of a test have; none of them passes by itself."""


class Deadlines:
    """The cancel scopes with a deadline that have been made since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._scopes: list[anyio.CancelScope] = []
        self._made = anyio.CancelScope
        monkeypatch.setattr(anyio, "CancelScope", self._make)

    def _make(self, **kwargs: Any) -> anyio.CancelScope:
        scope = self._made(**kwargs)
        if LIMIT / 2 < scope.deadline < math.inf:
            self._scopes.append(scope)
        return scope

    def pass_now(self) -> None:
        """Let those pass that are LIMIT seconds away."""
        assert self._scopes, "nothing has such a deadline"
        for scope in self._scopes:
            scope.deadline = -math.inf


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> Deadlines:
    """To be asked for in a test whose limits are LIMIT: connect_timeout, most of all."""
    return Deadlines(monkeypatch)
