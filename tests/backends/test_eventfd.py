"""A descriptor that wakes an event loop."""

from __future__ import annotations

import os
import selectors
from typing import Any

import anyio
import anyio.to_thread
import pytest

from anyq.backends import current_backend, eventfd
from tests.support.loops import ALL_LOOPS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not eventfd.AVAILABLE, reason="the system has no eventfd"),
]


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_no_descriptor_is_left(anyio_backend: Any) -> None:
    before = set(os.listdir("/proc/self/fd"))
    waker = current_backend().create_waker()
    waker.wake()
    with anyio.move_on_after(30):
        await waker.wait()
    waker.close()
    del waker
    # The waker itself may have run this task, and is on the stack then.
    await anyio.lowlevel.checkpoint()
    assert set(os.listdir("/proc/self/fd")) == before


def test_readable_while_it_was_written_to() -> None:
    made = eventfd.Eventfd()
    made.read()
    with selectors.DefaultSelector() as selector:
        selector.register(made.fd, selectors.EVENT_READ)
        assert not selector.select(0)
        made.write()
        made.write()
        assert selector.select(0)
        made.read()
        assert not selector.select(0)


def test_not_for_a_child_process() -> None:
    made = eventfd.Eventfd()
    assert not os.get_inheritable(made.fd)
    assert not os.get_blocking(made.fd)
