"""Values that no server has sent: what loads them either takes them or raises DataError, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from anyq._accel.failures import load_failure
from anyq.adapt import Transformer
from anyq.errors import DataError
from anyq.postgres import types
from tests.support.values import transformer


def load_checked(data: bytes, type: str | int, format: int, tx: Transformer | None = None) -> Any:
    """Load bytes as a value of a type, as those do that have a value to load."""
    oid = types.get_oid(type) if isinstance(type, str) else type
    load = (tx or transformer()).get_load_function(oid, format)
    try:
        return load(data)
    except Exception as ex:
        raise load_failure(load, data, ex) from ex


def check_hostile(data: bytes, type: str | int, format: int, tx: Transformer | None = None) -> None:
    """Load bytes that may be malformed: to raise anything but DataError is a mistake."""
    with suppress(DataError):
        load_checked(data, type, format, tx)
