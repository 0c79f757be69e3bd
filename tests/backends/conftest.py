"""What the tests of event loops share."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.pairs import Pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs
