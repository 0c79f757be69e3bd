"""How ranges are turned into ours and back; on a server, in test_dialect.py."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.dialects.postgresql.ranges import MultiRange

from anyq.contrib.sqlalchemy.types import MultirangeType, RangeType
from anyq.types.multirange import Multirange
from anyq.types.range import Range as OurRange

VALUES: list[tuple[Range[Any], OurRange[Any]]] = [
    (Range(1, 2), OurRange(1, 2)),
    (Range(1, 2, bounds="(]"), OurRange(1, 2, "(]")),
    (Range(None, 2, bounds="()"), OurRange(None, 2)),
    (Range(None, None, bounds="()"), OurRange()),
    (Range(empty=True), OurRange(empty=True)),
]


@pytest.mark.parametrize(("theirs", "ours"), VALUES)
def test_ranges(theirs: Range[Any], ours: OurRange[Any]) -> None:
    sent, received = RangeType().bind_processor(None), RangeType().result_processor(None, None)
    assert sent(theirs) == ours
    assert type(sent(theirs)) is OurRange
    assert received(ours) == theirs
    assert (received(ours).bounds, received(ours).empty) == (theirs.bounds, theirs.empty)


def test_what_is_no_range() -> None:
    sent, received = RangeType().bind_processor(None), RangeType().result_processor(None, None)
    assert [sent(None), received(None)] == [None, None]
    assert sent("[1,2)") == "[1,2)"
    assert sent(OurRange(1, 2)) == OurRange(1, 2)


def test_multiranges() -> None:
    kind = MultirangeType()
    sent, received = kind.bind_processor(None), kind.result_processor(None, None)
    theirs, ours = [value for value, _ in VALUES], Multirange([value for _, value in VALUES])
    assert sent(theirs) == ours
    assert type(sent(MultiRange(theirs))) is Multirange
    assert type(received(ours)) is MultiRange
    assert received(ours) == theirs
    assert [sent(None), received(None)] == [None, None]
    assert sent("{}") == "{}"
    assert sent(ours) is ours
