"""The Bind in each implementation: equal bytes, or equal errors. Replies: `tests/protocol/test_session.py`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.errors import DataError, LocalProtocolError
from anyq.protocol import frontend
from tests.support.twins import COMPILED

BINDS: dict[str, Callable[..., None]] = {"python": frontend.bind}
if COMPILED:
    BINDS["cython"] = importlib.import_module("anyq._accel.messages").bind

lists = st.one_of(st.lists(st.integers(0, 1), max_size=4), st.tuples(st.integers(-1, 2)), st.just(()))


@given(
    portal=st.sampled_from([b"", b"p", b"p\0"]),
    statement=st.sampled_from([b"", b"_anyq_1", b"\0"]),
    formats=lists,
    values=st.lists(
        st.one_of(st.none(), *[st.builds(kind, st.binary()) for kind in (bytes, bytearray, memoryview)]),
        max_size=4,
    ),
    result_formats=lists,
    after=st.sampled_from([b"", b"S\0\0\0\4"]),
)
def test_bind(**arguments: Any) -> None:
    outcomes = []
    for bind in BINDS.values():
        out = bytearray(b"before")
        try:
            bind(out, **arguments)
        except LocalProtocolError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(bytes(out))  # type: ignore[arg-type]
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.parametrize("bind", BINDS.values(), ids=BINDS)
def test_bind_refuses_what_is_too_much(bind: Callable[..., None]) -> None:
    with pytest.raises(DataError, match="65536 parameters"):
        bind(bytearray(), b"", b"", (), [None] * 65536, ())
    # As many as there may be; more than a signed number of 16 bits holds.
    out = bytearray()
    bind(out, b"", b"", (), [None] * 65535, ())
    assert out[9:11] == b"\xff\xff"
    assert len(out) == 1 + int.from_bytes(out[1:5], "big") == 13 + 4 * 65535
