"""Values that no server has sent: what loads them either takes them or raises DataError, and nothing else."""

from __future__ import annotations

from contextlib import suppress

from anyq._accel.failures import load_failure
from anyq.adapt import Transformer
from anyq.errors import DataError
from anyq.postgres import types
from tests.support.values import transformer


def check_hostile(data: bytes, type: str | int, format: int, tx: Transformer | None = None) -> None:
    """Load bytes as a value of a type, as those do that have a value to load."""
    oid = types.get_oid(type) if isinstance(type, str) else type
    load = (tx or transformer()).get_load_function(oid, format)
    with suppress(DataError):
        try:
            load(data)
        except Exception as ex:
            raise load_failure(load, data, ex) from ex
