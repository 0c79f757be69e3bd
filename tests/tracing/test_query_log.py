"""The log of statements: each of them at DEBUG, the slow ones at WARNING, and no value in it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from anyq import errors
from anyq.tracing import QueryLog, Server, TracedCopy, TracedQuery

SERVER = Server("h", 5432, None, "d", "u", 1)


def query(seconds: float, **facts: Any) -> TracedQuery:
    made = TracedQuery("execute", "SELECT %s", ["value"], SERVER)
    made.seconds = seconds
    for name, value in facts.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_slow_ones_are_told_louder(caplog: pytest.LogCaptureFixture, level: int) -> None:
    log = QueryLog(slow=0.5)
    with caplog.at_level(level, "anyq.query"):
        log.on_query_end(query(0.0125, tag="SELECT 1"), None)
        log.on_query_end(query(0.5, tag="INSERT 0 1"), None)
    lines = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    fast = ("anyq.query", logging.DEBUG, "12.500 ms, SELECT 1: SELECT %s")
    slow = ("anyq.query", logging.WARNING, "slow: 500.000 ms, INSERT 0 1: SELECT %s")
    assert lines == ([fast, slow] if level == logging.DEBUG else [slow])


def test_an_error_is_told_by_its_class(caplog: pytest.LogCaptureFixture) -> None:
    log = QueryLog()
    with caplog.at_level(logging.DEBUG, "anyq.query"):
        log.on_query_error(query(0.001), None, errors.UniqueViolation("Key (email)=(value) already exists."))
        log.on_query_error(query(0.001), None, TimeoutError("value"))
        copy = TracedCopy("COPY t FROM STDIN", None, SERVER)
        log.on_copy_end(copy, None)
        log.on_query_end(query(0.001, rows=3), None)
    assert [record.getMessage() for record in caplog.records] == [
        "1.000 ms, UniqueViolation 23505: SELECT %s",
        "1.000 ms, TimeoutError: SELECT %s",
        "0.000 ms, left before its end: COPY t FROM STDIN",
        "1.000 ms, 3 rows: SELECT %s",
    ]


def test_what_is_slow_is_a_number() -> None:
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="slow must be"):
            QueryLog(slow=wrong)
    assert QueryLog(slow=0).slow == 0
