"""What is collected for a COPY, and what is made of what has arrived, without a connection."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import errors as e
from anyq.adapt import Transformer
from anyq.adapt.copy import BINARY_HEADER, BINARY_TRAILER
from anyq.protocol.copy_data import HEADER, end_of_copy_data, join_copy_data
from anyq.protocol.request import CopyDirection
from anyq.statements.copy_data import PIECE, CopyOptions
from anyq.statements.copy_holder import COMPLETE, FINISHED, NOT_BEGUN, OPEN, CopyHolder


class Holder(CopyHolder):
    """One whose block has been entered."""

    def __init__(
        self, *, binary: bool = False, direction: CopyDirection = CopyDirection.IN, csv: bool = False, state: Any = OPEN
    ) -> None:
        super().__init__(binary)
        self._tx = Transformer()
        self._direction = direction
        self._columns = 1
        self._options = CopyOptions(csv)
        self.state = state


def data_of(messages: Any) -> list[bytes]:
    found = []
    for message in messages:
        run = bytes(message)
        assert end_of_copy_data(run, 0, len(run)) == len(run)
        found.append(run[HEADER:])
    return found


@pytest.mark.parametrize("collected", [0, 1, PIECE, 2 * PIECE, 5 * PIECE + 1])
@pytest.mark.parametrize("more", [0, 1, PIECE, 3 * PIECE + 1])
def test_messages_are_of_moderate_size(collected: int, more: int) -> None:
    holder = Holder()
    assert holder.collect(b"x" * collected) is (HEADER + collected > PIECE)
    found = data_of(holder.messages(b"y" * more))
    assert b"".join(found) == b"x" * collected + b"y" * more
    assert all(found)
    assert max(map(len, found), default=0) <= 2 * PIECE
    assert holder.take() == b""
    assert list(holder.messages(b"")) == []


def test_pieces_for_a_writer() -> None:
    holder = Holder()
    holder.collect(b"x")
    assert list(holder.pieces(b"y")) == [b"x", b"y"]
    assert list(holder.pieces(b"")) == []


def test_binary_header_and_trailer() -> None:
    empty, rows, data = Holder(binary=True), Holder(binary=True), Holder(binary=True)
    rows.begin_rows()((1,), rows.buffer)
    data.collect(BINARY_HEADER + BINARY_TRAILER)
    for holder in (empty, rows, data):
        holder.end_rows()
        (found,) = data_of(holder.messages(b""))
        assert found.startswith(BINARY_HEADER)
        assert found.endswith(BINARY_TRAILER)
        assert found.count(BINARY_HEADER) == 1
    rows.begin_anew()
    rows.end_rows()
    assert data_of([rows.take()]) == [BINARY_HEADER + BINARY_TRAILER]


def test_a_header_is_written_once() -> None:
    holder = Holder(binary=True)
    for _ in range(3):
        with pytest.raises(e.DataError):
            holder.begin_rows()((1, 2), holder.buffer)
    assert bytes(holder.buffer[HEADER:]) == BINARY_HEADER


def test_reading() -> None:
    holder = Holder(direction=CopyDirection.OUT)
    holder.payloads.extend([b"1\n", b"2\n3"])
    data = holder.unread()
    assert data == b"1\n2\n3"
    assert holder.unread() == b""
    assert holder.load(data)
    assert list(holder.loaded) == [("1",), ("2",)]
    holder.set_types(["int4"])
    with pytest.raises(e.DataError, match="truncated"):
        holder.load(None)
    assert holder.load(b"\n")
    assert list(holder.loaded)[2:] == [(3,)]
    assert not holder.load(None)
    assert join_copy_data(b"", 0, 0, 1) == (b"", 0)


@pytest.mark.parametrize("direction", [CopyDirection.IN, CopyDirection.OUT])
def test_what_may_be_done(direction: CopyDirection) -> None:
    holder = Holder(direction=direction)
    other = next(one for one in CopyDirection if one is not direction)
    assert holder.takes_data is (direction is CopyDirection.IN)
    holder.check(direction)
    with pytest.raises(e.ProgrammingError, match="this is a COPY"):
        holder.check(other)
    holder.state = COMPLETE
    holder.check(direction)
    holder.state = FINISHED
    for what in (lambda: holder.check(), lambda: holder.as_bytes(b""), lambda: holder.set_types([25])):
        with pytest.raises(e.ProgrammingError, match="at its end"):
            what()


def test_csv_has_no_rows() -> None:
    for direction in CopyDirection:
        with pytest.raises(e.NotSupportedError, match="CSV"):
            Holder(direction=direction, csv=True).set_types([25])


def test_errors_are_explained() -> None:
    error = e.InvalidBinaryRepresentation("wrong", fields={"M": "wrong"})
    holder = Holder(binary=True)
    assert holder.explained(error) is error
    holder.begin_rows()
    assert "set_types" in (holder.explained(error).diag.message_hint or "")
    holder.set_types(["int4"])
    assert "exactly these types" in (holder.explained(error).diag.message_hint or "")
    assert Holder().explained(error) is error


def test_without_a_block_both_ways_to_open_one_are_told() -> None:
    with pytest.raises(e.ProgrammingError, match="has not begun: .*'async with cursor.copy.* synchronous code 'with"):
        Holder(state=NOT_BEGUN).check(CopyDirection.IN)
