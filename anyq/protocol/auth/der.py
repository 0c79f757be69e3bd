"""DER: how certificates are written, element by element.

Knows tags and lengths (X.690, section 8.1). Must not know what the elements mean.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["element", "elements"]


def element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the element that `data` begins with, and what follows it.

    :raises ValueError: it has another tag, or no such length, or more than there is.
    :raises IndexError: it ends early.
    """
    if data[0] != tag:
        raise ValueError("another element was expected")
    length, pos = data[1], 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("a length of 1 to 4 bytes was expected")
        pos += size
        length = int.from_bytes(data[2:pos], "big")
    end = pos + length
    if end > len(data):
        raise ValueError("the element is longer than the data")
    return data[pos:end], data[end:]


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element of a sequence, whose content `data` is; raises as `element()`."""
    while data:
        tag = data[0]
        content, data = element(data, tag)
        yield tag, content
