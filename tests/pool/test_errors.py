"""The errors of pools are operational errors, under psycopg_pool's names."""

from __future__ import annotations

import pytest

import anyq.pool
from anyq.errors import OperationalError
from anyq.pool.errors import told_by


@pytest.mark.parametrize("name", ["PoolClosed", "PoolTimeout", "TooManyRequests"])
def test_they_are_operational_errors(name: str) -> None:
    error = getattr(anyq.pool, name)
    assert issubclass(error, OperationalError)
    assert error.__name__ == name


def test_what_an_error_says() -> None:
    assert told_by(OperationalError("refused")) == "refused"
    assert told_by(TimeoutError()) == "TimeoutError"
