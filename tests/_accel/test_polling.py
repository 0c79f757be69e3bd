"""Whether a socket is readable, in each implementation."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from collections.abc import Callable

import pytest

from anyq._accel import python

READABLE: dict[str, Callable[[int, float], bool]] = {"python": python.readable_within}
if importlib.util.find_spec("anyq._accel.polling") is not None:
    READABLE["cython"] = importlib.import_module("anyq._accel.polling").readable_within


@pytest.mark.parametrize("readable_within", READABLE.values(), ids=READABLE)
def test_whether_a_socket_is_readable_soon(readable_within: Callable[[int, float], bool]) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            start = time.perf_counter()
            assert not readable_within(ours.fileno(), 0.01)
            assert time.perf_counter() - start >= 0.01
            # Other threads run meanwhile, so this one is not waited for in vain.
            sending = threading.Thread(target=theirs.send, args=(b"x",))
            sending.start()
            assert readable_within(ours.fileno(), 20)
            sending.join()
            # There already, and whatever the time is.
            assert readable_within(ours.fileno(), 0)
            assert ours.recv(10) == b"x"
            assert not readable_within(ours.fileno(), 0)
        # Its end is something to read.
        assert readable_within(ours.fileno(), 20)
