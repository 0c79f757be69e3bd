"""Exceptions without the frames of those who have seen a secret."""

from __future__ import annotations

import gc
import traceback
import weakref

import pytest

from anyq.errors.hiding import hiding, without_frames


def names(error: BaseException) -> list[str]:
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


@hiding
def outer(secret: str, *, fail: bool) -> str:
    """Say so."""
    return inner(secret, fail)


def inner(secret: str, fail: bool) -> str:
    if fail:
        try:
            int(secret)
        except ValueError:
            raise KeyError("wrong") from LookupError("cause")
    return secret.upper()


def test_what_it_returns() -> None:
    assert outer("a", fail=False) == "A"
    assert (outer.__name__, outer.__doc__) == ("outer", "Say so.")


def test_what_it_raises() -> None:
    with pytest.raises(KeyError, match="wrong") as caught:
        outer("hunter2", fail=True)
    error = caught.value
    assert names(error) == ["test_what_it_raises", "call"]
    assert isinstance(error.__cause__, LookupError) and isinstance(error.__context__, ValueError)
    assert error.__context__.__traceback__ is None
    frame = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    assert "hunter2" not in repr(frame.f_locals)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
def test_whatever_it_raises(kind: type[BaseException]) -> None:
    @hiding
    def fails(secret: str) -> None:
        raise kind(7)

    with pytest.raises(kind) as caught:
        fails("hunter2")
    assert names(caught.value) == ["test_whatever_it_raises", "call"]


def raised() -> weakref.ref[Exception]:
    class Mine(Exception):
        pass

    @hiding
    def fails() -> None:
        raise Mine

    try:
        fails()
    except Mine as error:
        return weakref.ref(error)
    raise AssertionError


def test_nothing_keeps_what_was_raised() -> None:
    gc.disable()
    try:
        reference = raised()
        assert reference() is None
    finally:
        gc.enable()


def test_a_circle_of_causes() -> None:
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__context__ = second, first
    assert without_frames(first) is first
