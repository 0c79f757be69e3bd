"""What is done for an object that is dropped: once, in time, and not at all for one that was closed."""

from __future__ import annotations

import gc

from anyq.backends import Finalizer, finalizers


class Thing:
    def __init__(self, done: list[str]) -> None:
        self.if_dropped = Finalizer(self, done.append, "dropped")
        self.me: Thing | None = None


def test_dropped() -> None:
    done: list[str] = []
    thing = Thing(done)
    assert not done
    del thing
    assert done == ["dropped"]
    assert not finalizers._pending or all(f() is not None for f in finalizers._pending.values())


def test_dropped_in_a_circle() -> None:
    done: list[str] = []
    thing = Thing(done)
    thing.me = thing
    del thing
    gc.collect()
    assert done == ["dropped"]


def test_called_off() -> None:
    done: list[str] = []
    thing = Thing(done)
    thing.if_dropped.call_off()
    thing.if_dropped.call_off()
    del thing
    assert not done
