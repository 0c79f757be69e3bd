"""Which tracers watch what is made, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import tracing
from anyq.tracing import Tracer
from anyq.tracing.tracer import watching
from tests.support.tracers import Recorder


def test_one_that_is_installed_watches_what_is_made_from_then_on() -> None:
    first, second = Recorder(), Recorder()
    assert watching(None) == ()
    with tracing.installed(first):
        tracing.install(first)
        assert watching(None) == (first,)
        assert watching(second) == (first, second) and watching(first) == (first,)
    assert watching(None) == () and watching(second) == (second,)
    with pytest.raises(ValueError, match="was not installed"):
        tracing.uninstall(first)


def test_what_is_no_tracer_is_refused_where_it_is_given() -> None:
    class Partial:
        def on_query_start(self, query: Any) -> None: ...

    class Waits(Tracer):
        async def on_query_start(self, query: Any, /) -> Any: ...

    wrong: list[tuple[Any, str]] = [
        (Partial(), "lacks on_connect_start"),
        (Recorder, "a class"),
        (Waits(), r"on_query_start\(\) .* plain function"),
    ]
    for tracer, message in wrong:
        with pytest.raises(TypeError, match=message):
            tracing.install(tracer)
        with pytest.raises(TypeError, match=message):
            watching(tracer)
    assert watching(None) == ()


def test_a_tracer_that_does_nothing_is_one() -> None:
    class Idle(Tracer):
        pass

    with tracing.installed(Idle()):
        pass
    for name in dir(Idle):
        if name.startswith("on_"):
            count = 2 + name.endswith("_end") + 2 * name.endswith("_error")
            assert getattr(Idle, name)(*[None] * count) is None
