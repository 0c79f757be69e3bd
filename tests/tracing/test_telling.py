"""How tracers are called: each beginning has one end, and nothing of theirs reaches whoever is watched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, ClassVar
from unittest.mock import MagicMock, Mock

import pytest

from anyq.tracing import QueryLog, Server, TracedConnect, TracedQuery, Tracer
from anyq.tracing import telling as _telling
from anyq.tracing.telling import Tracing, call_context, calling_context, tracing_of
from anyq.tracing.tracer import check_tracer
from tests.support.tracers import Recorder, whose

SERVER = Server("h", 5432, None, "d", "u", 1)


class Failing(Recorder):
    """Fails in each hook, once it has noted that it was called."""

    def _begin(self, hook: str, what: Any) -> object:
        super()._begin(hook, what)
        raise ZeroDivisionError(hook)

    def _end(self, hook: str, what: Any, state: object, error: BaseException | None = None) -> None:
        assert state is None
        raise ZeroDivisionError(hook)


class HearsOthers(Tracer):
    """Overrides nothing of queries."""

    def on_connect_end(self, connect: TracedConnect, state: Any, /) -> None:
        pass


def query() -> TracedQuery:
    return TracedQuery("execute", "SELECT 1", None, SERVER)


def test_an_end_is_told_once() -> None:
    recorder = Recorder()
    phases = Tracing([recorder]).query
    running = phases.begin(query())
    running.end()
    running.end()
    running.fail(ValueError())
    assert [told.hook for told in recorder.told] == ["query_start", "query_end"]
    error = ValueError()
    running = phases.begin(query())
    running.fail(error)
    running.end()
    assert recorder.told[-1].hook == "query_error" and recorder.told[-1].error is error
    assert running.event.seconds > 0


def test_what_a_tracer_raises_is_logged_once_for_each_hook(caplog: pytest.LogCaptureFixture) -> None:
    failing, recorder = Failing(), Recorder()
    phases = Tracing([failing, recorder]).query
    for _ in range(3):
        phases.begin(query()).end()
        phases.begin(query()).fail(ValueError())
    assert [told.hook for told in recorder.told] == ["query_start", "query_end", "query_start", "query_error"] * 3
    found = [record for record in caplog.records if record.name == "anyq.tracing"]
    assert [record.levelno for record in found] == [logging.ERROR] * 3
    assert [record.getMessage().split("(")[0] for record in found] == [
        "on_query_start",
        "on_query_end",
        "on_query_error",
    ]
    assert all(record.exc_info is not None for record in found)
    # Another one is another one.
    Tracing([Failing()]).query.begin(query())
    assert len([record for record in caplog.records if record.name == "anyq.tracing"]) == 4


def test_methods_that_have_the_same_name_are_several(caplog: pytest.LogCaptureFixture) -> None:
    """As a decorator leaves them that does not say what it decorates."""

    def decorated(message: str) -> Any:
        def wrapper(*_: Any) -> None:
            raise ZeroDivisionError(message)

        return wrapper

    class Decorated(Tracer):
        on_query_start = decorated("start")
        on_query_end = decorated("end")

    tracer = Decorated()
    for _ in range(2):
        Tracing([tracer]).query.begin(query()).end()
    found = [record.exc_info for record in caplog.records if record.name == "anyq.tracing"]
    assert [str(info and info[1]) for info in found] == ["start", "end"]


def test_of_hooks_that_have_failed_so_many_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_telling, "_told", {})
    monkeypatch.setattr(_telling, "MOST_TOLD", 2)
    for _ in range(5):
        Tracing([Failing()]).query.begin(query())
    assert len(_telling._told) == 1


def test_an_interrupt_amid_a_beginning_ends_it_for_those_who_were_told() -> None:
    class Interrupted(Tracer):
        def on_query_start(self, query: TracedQuery, /) -> Any:
            raise KeyboardInterrupt

    first, last = Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        Tracing([first, Interrupted(), last]).query.begin(query())
    assert [told.hook for told in first.told] == ["query_start", "query_error"]
    assert isinstance(first.told[-1].error, KeyboardInterrupt) and last.told == []


class HearsEnds(Tracer):
    """Overrides one hook."""

    def __init__(self) -> None:
        self.told: list[TracedQuery] = []

    def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
        assert state is None
        self.told.append(query)


def test_hooks_that_nobody_has_overridden_are_not_called() -> None:
    silent = Tracing([HearsOthers(), HearsOthers()])
    assert not silent.query.heard and silent.connect.heard
    assert (silent.query.start, silent.query.end, silent.query.error) == (None, None, None)
    running = silent.query.begin(query())
    running.end()
    # Who has kept it finds its time all the same.
    assert running.event.seconds > 0
    silent.query.begin(query()).fail(ValueError())
    one = HearsEnds()
    phases = Tracing([HearsOthers(), one]).query
    assert phases.heard and phases.start is None and phases.error is None and phases.end == one.on_query_end
    told = query()
    phases.begin(told).end()
    phases.begin(query()).fail(ValueError())
    assert one.told == [told]


def test_of_several_each_is_told_what_it_listens_to() -> None:
    first, recorder, last = HearsEnds(), Recorder(), HearsEnds()
    phases = Tracing([first, recorder, HearsOthers(), last]).query
    told = query()
    phases.begin(told).end()
    phases.begin(query()).fail(ValueError())
    assert [one.hook for one in recorder.told] == ["query_start", "query_end", "query_start", "query_error"]
    recorder.check_closed()
    assert first.told == last.told == [told]


def test_a_hook_may_be_an_attribute_of_the_tracer_alone() -> None:
    told: list[TracedQuery] = []
    tracer = HearsOthers()
    tracer.on_query_start = told.append  # type: ignore[method-assign]
    phases = Tracing([tracer]).query
    event = query()
    phases.begin(event).end()
    assert phases.heard and told == [event]


class _Mixin:
    """Has a hook, and is no tracer."""

    def __init__(self) -> None:
        self.told: list[TracedQuery] = []

    def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
        self.told.append(query)


class _Mixed(_Mixin, HearsOthers):
    """Inherits a hook from elsewhere."""


class _Delegating:
    """Has every hook that another has, and inherits none."""

    def __init__(self) -> None:
        self._other = HearsEnds()
        self.told = self._other.told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other, name)


class _CallableList(list[TracedQuery]):
    """A hook that is false as long as it is empty."""

    def __call__(self, query: TracedQuery, state: Any) -> None:
        self.append(query)


class _HasCallableList(Tracer):
    def __init__(self) -> None:
        self.told = _CallableList()
        self.on_query_end = self.told  # type: ignore[method-assign]


class _Static(Tracer):
    """Its hook does not get the tracer."""

    told: ClassVar[list[TracedQuery]]

    @staticmethod
    def on_query_end(query: TracedQuery, state: Any, /) -> None:
        _Static.told.append(query)

    def __init__(self) -> None:
        _Static.told = []


@pytest.mark.parametrize("make", [_Mixed, _Delegating, _HasCallableList, _Static])
@pytest.mark.parametrize("others", [0, 1])
def test_however_a_tracer_has_come_to_a_hook(make: Callable[[], Any], others: int) -> None:
    tracer, told = make(), query()
    check_tracer(tracer)
    phases = Tracing([tracer, *(HearsEnds() for _ in range(others))]).query
    assert phases.heard
    phases.begin(told).end()
    assert list(tracer.told) == [told]


def test_mocks_hear_all() -> None:
    for mock in (Mock(), MagicMock(), Mock(spec=Tracer)):
        mock.on_query_start.return_value = "state"
        check_tracer(mock)
        tracing = Tracing([mock])
        assert tracing.hears_clients and tracing.hears_notifications
        told, error = query(), ValueError()
        tracing.query.begin(told).end()
        tracing.query.begin(told).fail(error)
        mock.on_query_end.assert_called_once_with(told, "state")
        mock.on_query_error.assert_called_once_with(told, "state", error)


def test_what_was_put_in_the_place_of_a_hook_that_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tracers inherit it."""
    told: list[TracedQuery] = []

    def on_query_end(self: Tracer, query: TracedQuery, state: Any, /) -> None:
        told.append(query)

    monkeypatch.setattr(Tracer, "on_query_end", on_query_end)
    event = query()
    Tracing([HearsOthers()]).query.begin(event).end()
    assert told == [event]


def test_hooks_are_called_in_the_context_that_is_given() -> None:
    recorder = Recorder()
    token = whose.set("the caller's")
    context = copy_context()
    whose.reset(token)
    Tracing([recorder]).query.begin(query(), context).end()
    Tracing([recorder]).query.begin(query()).end()
    assert [told.whose for told in recorder.told] == ["the caller's"] * 2 + ["nobody's"] * 2


def test_the_context_of_a_call_is_asked_for_where_there_is_one() -> None:
    assert calling_context() is None
    context = copy_context()
    context.run(call_context.set, lambda: context)
    assert context.run(calling_context) is context


def test_the_log_watches_where_it_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    assert tracing_of(None) is None
    with caplog.at_level(logging.DEBUG, "anyq.query"):
        found = tracing_of(None)
        assert found is not None and [type(tracer) for tracer in found._tracers] == [QueryLog]
        own = QueryLog(slow=1.0)
        found = tracing_of(own)
        assert found is not None and list(found._tracers) == [own]
