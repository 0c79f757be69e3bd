"""Runs of CopyData messages, as the server sends them: a message for each row, many of which arrive together.

Knows how such a message is laid out. Must not know what the data means, nor who takes it. These functions have compiled
twins, which do the same.
"""

from __future__ import annotations

from .constants import BackendCode

HEADER = 5
"""Bytes before the data: the code, and a length that counts itself (4) and the data."""

_COPY_DATA = int(BackendCode.COPY_DATA)


def end_of_copy_data(run: bytes, pos: int, end: int) -> int:
    """Return where the complete CopyData messages end that begin at `pos`."""
    while end - pos >= HEADER and run[pos] == _COPY_DATA:
        length = int.from_bytes(run[pos + 1 : pos + HEADER], "big")
        if length < 4 or length >= end - pos:
            break
        pos += 1 + length
    return pos


def split_copy_data(run: bytes, pos: int, stop: int, most: int) -> tuple[list[bytes], int]:
    """Return the data of each message, without those that have none, and where the next message begins.

    :param pos: where the first one begins.
    :param stop: where the last one ends, all of them being complete.
    :param most: bytes; the message by which there are so many is the last one.
    """
    found: list[bytes] = []
    last = min(pos + most, stop)
    while pos < last:
        after = pos + 1 + int.from_bytes(run[pos + 1 : pos + HEADER], "big")
        if after - pos > HEADER:
            found.append(run[pos + HEADER : after])
        pos = after
    return found, pos


def join_copy_data(run: bytes, pos: int, stop: int, most: int) -> tuple[bytes, int]:
    """Return the data of these messages in one piece, and where the next one begins; parameters as above."""
    found, pos = split_copy_data(run, pos, stop, most)
    return b"".join(found), pos
