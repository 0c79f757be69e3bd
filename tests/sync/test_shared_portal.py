"""The portal that a process shares: who starts it, who stops it, and which event loop it has. Without a server."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import sniffio
from anyio.from_thread import BlockingPortal

import anyq
from anyq.sync import shared_portal
from anyq.sync.shared_portal import SharedPortal, open_portal
from tests.support.activity import PATIENCE


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "anyq portal"]


async def library() -> str:
    return sniffio.current_async_library()


def test_it_is_there_while_it_has_users(portal_backend: tuple[str, Any]) -> None:
    assert threads() == []
    for _ in range(2):
        first, second = object(), object()
        portal = open_portal(None, first)
        assert open_portal(None, second) is portal
        assert threads() == ["anyq portal"]
        assert portal.call(1.0, library) == portal_backend[0]
        portal.release(first)
        portal.release(first)
        assert portal.failure is None
        portal.release(second)
        assert threads() == []
        assert portal.failure is not None


@pytest.mark.parametrize("forgets", [False, True])
def test_the_last_user_leaves_while_another_thread_calls(forgets: bool, portal_backend: object) -> None:
    """What that thread calls comes to its end first, as a query does that is not cancelled."""
    user = object()
    portal: Any = open_portal(None, user)
    begun, leaves = threading.Event(), threading.Event()
    results: list[object] = []

    async def call() -> str:
        begun.set()
        await anyio.to_thread.run_sync(leaves.wait)
        # The portal is being stopped.
        while portal.failure is None:
            await anyio.lowlevel.checkpoint()
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        return "unharmed"

    def thread() -> None:
        results.append(portal.call(1.0, call))

    caller = threading.Thread(target=thread, daemon=True)
    caller.start()
    assert begun.wait(PATIENCE)
    leaves.set()
    if forgets:
        portal.forget(user)
    else:
        portal.release(user)
    caller.join(PATIENCE)
    assert results == ["unharmed"]
    portal.join(PATIENCE)
    assert threads() == []


def test_a_finalizer_does_not_wait_for_the_thread(portal_backend: object) -> None:
    user = object()
    portal: Any = open_portal(None, user)
    portal.forget(user)
    # The next user has another one, whether the thread of this one has ended or not.
    other = open_portal(None, user)
    assert other is not portal
    other.release(user)
    portal.join(PATIENCE)


def test_its_event_loop_is_chosen_before(portal_backend: object) -> None:
    user = object()
    portal = open_portal(None, user)
    with pytest.raises(anyq.ProgrammingError, match="the shared portal is running"):
        anyq.sync.set_portal_backend("trio")
    portal.release(user)
    anyq.sync.set_portal_backend("trio")
    portal = open_portal(None, user)
    assert portal.call(1.0, library) == "trio"
    portal.release(user)


def test_bad_backends() -> None:
    with pytest.raises(ValueError, match="must be 'asyncio' or 'trio'"):
        anyq.sync.set_portal_backend("curio")

    def fail() -> None:
        raise TypeError("no event loop here")

    # An option that there is none of would do on trio, but for the oldest anyio that is allowed.
    anyq.sync.set_portal_backend("asyncio", {"loop_factory": fail})
    try:
        with pytest.raises(TypeError, match="no event loop here"):
            open_portal(None, object())
        # Who could not start it is no user of it.
        assert threads() == []
    finally:
        anyq.sync.set_portal_backend()


def test_many_threads_start_and_stop_it(portal_backend: object) -> None:
    barrier = threading.Barrier(8)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                barrier.wait(PATIENCE)
                user = object()
                portal = open_portal(None, user)
                portal.call(1.0, library)
                portal.release(user)
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert errors == []
    assert threads() == []


@pytest.mark.parametrize("last", [False, True], ids=["another", "the-last"])
def test_a_user_is_dropped_while_it_starts(portal_backend: object, monkeypatch: pytest.MonkeyPatch, last: bool) -> None:
    """Garbage is collected in whatever thread: in its own, too, while the one that starts it waits for it."""
    user = object()
    portals: list[SharedPortal] = []
    attach = SharedPortal.attach

    def attach_and_collect(portal: SharedPortal, blocking: BlockingPortal) -> None:
        attach(portal, blocking)
        portal.forget(user if last else object())

    def start() -> None:
        portal = open_portal(None, user)
        assert isinstance(portal, SharedPortal)
        portals.append(portal)

    monkeypatch.setattr(SharedPortal, "attach", attach_and_collect)
    starter = threading.Thread(target=start, daemon=True)
    starter.start()
    starter.join(PATIENCE)
    (portal,) = portals
    if not last:
        assert portal.call(1.0, library)
        portal.release(user)
    portal.join(PATIENCE)
    assert threads() == []


def test_many_are_dropped_at_once(portal_backend: object) -> None:
    """More than calls may be nested, while another thread has the lock."""
    users = [object() for _ in range(5000)]
    for user in users:
        portal = open_portal(None, user)
    assert isinstance(portal, SharedPortal)
    taken, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with shared_portal._shared._lock:
            taken.set()
            go_on.wait(PATIENCE)
        open_portal(None, hold)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(PATIENCE)
    for user in users:
        portal.forget(user)
    assert threads() == ["anyq portal"]
    go_on.set()
    holder.join(PATIENCE)
    portal.release(hold)
    assert threads() == []


@pytest.mark.parametrize("patched", ["threading", "queue", "select"])
def test_where_gevent_has_replaced_what_it_needs(patched: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, as nothing would ever come back from there; where something else was replaced, all is well."""
    monkey = SimpleNamespace(is_module_patched=lambda name: name == patched)
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    with pytest.raises(anyq.NotSupportedError, match="gevent has replaced"):
        anyq.connect(dsn)
    assert threads() == []
    monkey.is_module_patched = lambda name: name == "socket"
    with anyq.connect(dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
