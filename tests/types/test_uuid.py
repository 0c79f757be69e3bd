"""UUIDs."""

from __future__ import annotations

import copy
import pickle
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.adapt import PyFormat
from anyq.postgres import types
from tests.support.values import PYFORMATS, dump, there_and_back, transformer


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=st.uuids())
def test_there_and_back(value: UUID, format: PyFormat) -> None:
    got = there_and_back(value, format)
    assert type(got) is UUID
    assert got == value
    assert hash(got) == hash(value)
    assert got.is_safe is value.is_safe
    assert repr(got) == repr(value)
    assert dump(value, format)[1] == types["uuid"].oid


def test_a_loaded_one_is_like_any_other() -> None:
    got = there_and_back(UUID(int=5), PyFormat.BINARY)
    assert pickle.loads(pickle.dumps(got)) == copy.deepcopy(got) == UUID(int=5)


def test_literal() -> None:
    value = UUID(int=1)
    assert transformer().as_literal(value) == b"'00000000-0000-0000-0000-000000000001'::uuid"
