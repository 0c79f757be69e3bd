"""Booleans."""

from __future__ import annotations

import pytest

from anyq.adapt import PyFormat
from anyq.postgres import types
from tests.support.values import PYFORMATS, dump, there_and_back, transformer


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("value", [True, False])
def test_there_and_back(value: bool, format: PyFormat) -> None:
    assert there_and_back(value, format) is value
    assert dump(value, format)[1] == types["bool"].oid


def test_literal() -> None:
    assert transformer().as_literal(True) == b"true"
    assert transformer().as_literal(False) == b"false"
