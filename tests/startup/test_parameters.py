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
