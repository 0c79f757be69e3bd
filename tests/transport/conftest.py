"""What the tests of streams share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.deadlines import deadlines
from tests.support.tlsproxies import connect, home, proxy


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


__all__ = ["connect", "deadlines", "home", "proxy"]
