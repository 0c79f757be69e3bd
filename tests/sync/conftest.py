"""Fixtures of the synchronous tests: each runs with the shared portal on asyncio, on uvloop and on trio.

They run as calls are made: by the thread that calls. Those that are marked `every_way` also run with all calls in the
portal, and handed over to it half-run, at each wait for the server and at each checkpoint. With ANYQ_TEST_SYNC=all each
test does, and with the name of a way it runs in that one.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import anyq
from anyq.backends import blocking
from anyq.backends.blocking import BlockingBackend
from anyq.sync import portal as _portal
from anyq.sync.direct import Direct
from tests.support.activity import PATIENCE, SCALE

_BACKENDS = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not there"),
    ),
    pytest.param(("trio", {}), id="trio"),
]


WAYS = ("direct", "portal", "waits", "checkpoints")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way" not in metafunc.fixturenames:
        return
    asked = os.environ.get("ANYQ_TEST_SYNC", "")
    ways: tuple[str, ...] = WAYS[:1]
    if "hops" in metafunc.fixturenames:
        ways = ("portal",)  # it counts what is called there
    elif asked == "all" or metafunc.definition.get_closest_marker("every_way"):
        ways = WAYS
    elif asked:
        assert asked in WAYS
        ways = (asked,)
    metafunc.parametrize("way", ways, indirect=True)


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How calls are made: see the head of this file."""
    chosen: str = getattr(request, "param", WAYS[0])
    if chosen == "portal":
        monkeypatch.setenv("ANYQ_SYNC", "portal")
    elif chosen == "waits":
        monkeypatch.setattr(blocking, "BuiltinFunctionType", ())  # what is patched is called then
        monkeypatch.setattr(Direct, "_wait", lambda self, turn, events: False)
    elif chosen == "checkpoints":
        for name in ("checkpoint", "checkpoint_if_cancelled"):
            monkeypatch.setattr(BlockingBackend, name, _handing_over(getattr(BlockingBackend, name)))
    return chosen


def _handing_over(checkpoint: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def hand_over(backend: Any) -> None:
        await backend.in_loop()
        await checkpoint(backend)

    return hand_over


@pytest.fixture(params=_BACKENDS)
def portal_backend(request: pytest.FixtureRequest, way: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The event loop of the shared portal, which is gone after the test."""
    anyq.sync.set_portal_backend(*request.param)
    yield request.param
    left = [thread for thread in threading.enumerate() if thread.name == "anyq portal"]
    assert not left, "the shared portal still has a user"
    anyq.sync.set_portal_backend()


@pytest.fixture
def conn(portal_backend: object, dsn: str) -> Iterator[anyq.Connection]:
    """A connection, not in autocommit mode, closed after the test."""
    connection = anyq.connect(dsn)
    yield connection
    connection.close()


@pytest.fixture
def observer(portal_backend: object, dsn: str) -> Iterator[anyq.Connection]:
    """A second connection, in autocommit mode."""
    connection = anyq.connect(dsn, autocommit=True)
    yield connection
    connection.close()


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is called in the event loop."""
    seen: list[str] = []
    call: Any = _portal.Portal.call

    def spy(self: Any, grace: float, func: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(func.__name__)
        return call(self, grace, func, *args, **kwargs)

    monkeypatch.setattr(_portal.Portal, "call", spy)
    return seen


class Background:
    """A function that runs in a thread, and what came of it."""

    def __init__(self, func: Callable[[], Any]) -> None:
        self._func = func
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._func()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """Wait for its end; return or raise what it did."""
        self._thread.join(30 * SCALE)
        assert not self._thread.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._result


@pytest.fixture
def background() -> Iterator[Callable[[Callable[[], Any]], Background]]:
    """Run a function in a thread: ``background(func).result()``."""
    yield Background


@pytest.fixture
def until_active(observer: anyq.Connection) -> Callable[[anyq.Connection], None]:
    """Wait until the server executes a statement of a connection's."""

    def wait(connection: anyq.Connection) -> None:
        with anyq.sync.timeout(PATIENCE):
            state = None
            while state != "active":
                cursor = observer.execute(
                    "SELECT state FROM pg_stat_activity WHERE pid = %s", [connection.info.backend_pid]
                )
                row = cursor.fetchone()
                state = row[0] if row else None

    return wait


@pytest.fixture
def crossings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is called in the event loop, "_go_on" for a call that is handed over."""
    seen: list[str] = []
    call: Any = _portal.Portal.call
    hand_over: Any = Direct._hand_over

    def spy_call(self: Any, grace: float, func: Any, *args: Any, **kwargs: Any) -> Any:
        inner = args[1] if func.__name__ == "_run" else func
        seen.append(inner.__name__)
        return call(self, grace, func, *args, **kwargs)

    def spy_hand_over(self: Any, turn: Any) -> Any:
        seen.append("_go_on")
        return hand_over(self, turn)

    monkeypatch.setattr(_portal.Portal, "call", spy_call)
    monkeypatch.setattr(Direct, "_hand_over", spy_hand_over)
    return seen


@pytest.fixture
def driven(way: str, conn: anyq.Connection, crossings: list[str]) -> Iterator[anyq.Connection]:
    """A connection whose calls are made directly, and nothing has been called yet that is seen."""
    if way != "direct":
        pytest.skip("it is about what is run directly")
    crossings.clear()
    yield conn
