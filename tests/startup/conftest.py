"""Fixtures of this folder's tests."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from anyq.cli.embedded import ServerUnavailable
from tests.support.certificates import Certificates
from tests.support.deadlines import deadlines
from tests.support.replicas import Replicas, replicas
from tests.support.tlsproxies import connect, home, proxy

__all__ = ["connect", "deadlines", "home", "proxy"]


@pytest.fixture
def context(certificates: Certificates) -> ssl.SSLContext:
    """What a server has for a client that does not look closely."""
    return certificates.server_context("self-signed")


@pytest.fixture(scope="session")
def pair() -> Iterator[Replicas]:
    """A primary and its standby, started once."""
    if sys.platform == "win32":
        pytest.skip("the servers of this test listen at Unix-domain sockets")
    with ExitStack() as stack:
        try:
            running = stack.enter_context(replicas())
        except ServerUnavailable as error:
            pytest.skip(f"no primary with a standby to test on: {error}")
        yield running
