"""None and NULL."""

from __future__ import annotations

import pytest

from anyq.adapt import PyFormat
from tests.support.values import PYFORMATS, dump, transformer


@pytest.mark.parametrize("format", PYFORMATS)
def test_null_has_no_value_and_no_type(format: PyFormat) -> None:
    assert dump(None, format) == (None, 0, 0)


def test_literal() -> None:
    assert transformer().as_literal(None) == b"NULL"
