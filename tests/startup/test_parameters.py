"""What connect() is given reaches where it is used, by both of its signatures."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

import anyq
from anyq.startup.parameters import ConnectParameters

NAMES = [field.name for field in fields(ConnectParameters)]


@pytest.mark.parametrize("connect", [anyq.AsyncConnection.connect, anyq.Connection.connect])
def test_both_signatures_have_them(connect: Any) -> None:
    """An unknown name would be a KeyError in each connect()."""
    assert set(NAMES) <= set(inspect.signature(connect).parameters)


def test_the_signatures_differ_in_what_is_of_synchronous_code_only() -> None:
    ours = dict(inspect.signature(anyq.AsyncConnection.connect).parameters)
    theirs = dict(inspect.signature(anyq.Connection.connect).parameters)
    assert set(theirs) - set(ours) == {"portal"} and set(ours) < set(theirs)
    assert set(ours) - set(NAMES) == {"row_factory", "cursor_factory"}
    assert {name: ours[name].default for name in NAMES} == {name: theirs[name].default for name in NAMES}


def test_they_are_taken_from_the_variables_of_a_function() -> None:
    given: dict[str, Any] = {name: object() for name in NAMES}
    parameters = ConnectParameters.of({**given, "cls": object(), "row_factory": None})
    assert {name: getattr(parameters, name) for name in NAMES} == given
    with pytest.raises(FrozenInstanceError):
        parameters.autocommit = True  # type: ignore[misc]
    del given["busy_wait"]
    with pytest.raises(KeyError, match="busy_wait"):
        ConnectParameters.of(given)


def test_no_password_is_shown() -> None:
    given: dict[str, Any] = {**dict.fromkeys(NAMES), "password": "hunter2", "conninfo": "password=hunter2"}
    assert "hunter2" not in repr(ConnectParameters.of(given))


async def function(*args: object) -> None: ...


GOOD: dict[str, Any] = {
    **dict.fromkeys(NAMES),
    "conninfo": "",
    "grace_period": 5,
    "busy_wait": 0,
    "prepare_threshold": 0,
    "context": anyq.adapters,
    "dial": function,
}


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        ("grace_period", "5", TypeError, "grace_period must be a number, not '5'"),
        ("grace_period", None, TypeError, "grace_period must be a number, not None"),
        ("grace_period", -1, ValueError, "grace_period must be 0 or more, not -1"),
        ("grace_period", float("nan"), ValueError, "grace_period must be 0 or more, not nan"),
        ("busy_wait", "x", anyq.ProgrammingError, "busy_wait must be from 0 to 0.005 seconds, not 'x'"),
        ("busy_wait", None, anyq.ProgrammingError, "busy_wait must be from 0 to 0.005 seconds, not None"),
        ("busy_wait", 1, anyq.ProgrammingError, "busy_wait must be from 0 to 0.005 seconds, not 1"),
        ("prepare_threshold", "5", TypeError, "prepare_threshold must be an int, not '5'"),
        ("prepare_threshold", 1.5, TypeError, "prepare_threshold must be an int, not 1.5"),
        ("prepare_threshold", -1, ValueError, "prepare_threshold must be 0 or more, not -1"),
        ("dial", "host", TypeError, "dial must be a function, not 'host'"),
        ("context", 3, TypeError, "a connection, a cursor, a map of adapters or None, not 3"),
    ],
)
def test_those_of_no_use(name: str, wrong: Any, error: type[Exception], message: str) -> None:
    """They are found before anything is done, with which one it is; most would only be used much later."""
    ConnectParameters.of(GOOD).check()
    with pytest.raises(error, match=message):
        ConnectParameters.of({**GOOD, name: wrong}).check()
    with pytest.raises(error, match=message):
        anyq.connect("host=/nowhere", **{name: wrong})


@pytest.mark.anyio
async def test_those_of_no_use_to_an_asynchronous_connection() -> None:
    with pytest.raises(TypeError, match="grace_period must be a number, not 'long'"):
        await anyq.AsyncConnection.connect("host=/nowhere", grace_period="long")  # type: ignore[arg-type]
