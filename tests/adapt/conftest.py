"""A map to register in."""

from __future__ import annotations

import pytest

from anyq.adapt import AdaptersMap
from anyq.postgres import adapters


@pytest.fixture
def context() -> AdaptersMap:
    return AdaptersMap(adapters)
