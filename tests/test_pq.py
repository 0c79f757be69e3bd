"""The enumerations are psycopg's: the same names, with the same values."""

from __future__ import annotations

import enum
import pickle
from typing import Any

import pytest

import anyq
from anyq import pq

#: What psycopg.pq has and this has not, as the docstring of the module says: all that needs libpq.
WITH_LIBPQ = {
    *("PGconn", "PGresult", "PGcancel", "PGcancelConn", "Conninfo", "ConninfoOption", "Escaping"),
    *("PGnotify", "PGresAttDesc", "error_message", "version", "version_pretty"),
}
ENUMERATIONS = [name for name in pq.__all__ if issubclass(getattr(pq, name), enum.Enum)]


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_names_and_values_are_psycopgs(name: str, psycopg: Any) -> None:
    ours, theirs = getattr(pq, name), getattr(psycopg.pq, name)
    assert [(member.name, member.value) for member in ours] == [(member.name, member.value) for member in theirs]
    assert ours.__mro__[1] is theirs.__mro__[1]


def test_nothing_else_is_in_psycopgs(psycopg: Any) -> None:
    public = {
        name
        for name, value in vars(psycopg.pq).items()
        if name in psycopg.pq.__all__ or (isinstance(value, type) and value.__module__.startswith("psycopg"))
    }
    assert public - set(pq.__all__) == WITH_LIBPQ
    for name in WITH_LIBPQ:
        assert name in (pq.__doc__ or "")


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_members_are_said_and_pickled_by_name(name: str) -> None:
    for member in getattr(pq, name):
        assert f"{name}.{member.name}" in repr(member)
        assert pickle.loads(pickle.dumps(member)) is member


def test_what_the_driver_uses_is_there_once() -> None:
    assert pq.TransactionStatus is anyq.TransactionStatus
    assert pq is anyq.pq


def test_diagnostics_have_an_attribute_for_each_field() -> None:
    report = anyq.Diagnostic({chr(field): field.name for field in pq.DiagnosticField})
    for field in pq.DiagnosticField:
        assert getattr(report, field.name.lower()) == field.name
