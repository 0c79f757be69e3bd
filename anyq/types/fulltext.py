"""Full text search: tsvector and tsquery, which are str as the server writes them.

Knows how that is made of their binary formats, so that they can be in arrays and composites of either (PostgreSQL
manual, "Text Search Types"; src/backend/utils/adt/tsvector.c, tsquery.c). Must not know other types.

Words are quoted by characters of the client encoding. What is read here is as large as the value says, and nested as
deeply as it likes: nothing recurses.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TypeAlias

from ..adapt.adapters_map import AdaptContext
from ..adapt.encodings import SQL_ASCII
from ..adapt.typeinfo import global_types
from ..protocol.constants import Format
from .string import StrDumperUnknown, TextLoader

__all__ = [
    "TsqueryBinaryLoader",
    "TsqueryDumper",
    "TsvectorBinaryLoader",
    "TsvectorDumper",
    "register_default_adapters",
]

_count = Struct("!i")
_uint16 = Struct("!H")

# Of a position of a word the two highest bits are its weight, the others where it is.
_WEIGHTS = ("", "C", "B", "A")
_POSITION_BITS = 14

# src/include/tsearch/ts_type.h: what an item of a tsquery is, and which operator; tsquery.c: how tightly they bind.
_VALUE, _OPERATOR = 1, 2
_NOT, _AND, _OR, _PHRASE = 1, 2, 3, 4
_PRIORITY = {_OR: 1, _AND: 2, _PHRASE: 3, _NOT: 4}
_OF_A_VALUE = 5

_Rope: TypeAlias = "str | tuple[_Rope, ...]"
"""Text in pieces: to join them at each step would take the square of the time."""


class TsvectorDumper(StrDumperUnknown):
    """Dump the str of a tsvector, in text, which only the server can read: found by the oid."""

    oid = global_types["tsvector"].oid


class TsqueryDumper(StrDumperUnknown):
    """Dump the str of a tsquery, in text, which only the server can read: found by the oid."""

    oid = global_types["tsquery"].oid


class _WordsLoader(TextLoader):
    format = Format.BINARY

    def load(self, data: bytes) -> str | bytes:
        if self._encoding != SQL_ASCII:
            return self.write(data, self._encoding)
        # Bytes are what text is loaded as here.
        return self.write(data, "latin-1").encode("latin-1")

    def write(self, data: bytes, encoding: str) -> str:
        raise NotImplementedError


class TsvectorBinaryLoader(_WordsLoader):
    """Load tsvector from binary, as str: `'cat':3 'fat':2,4A`."""

    def write(self, data: bytes, encoding: str) -> str:
        (count,) = _count.unpack_from(data)
        at = _count.size
        words: list[str] = []
        for _ in range(count):
            word, at = _word(data, at, encoding)
            (positions,) = _uint16.unpack_from(data, at)
            at += 2
            numbers = _uint16.iter_unpack(data[at : at + 2 * positions])
            at += 2 * positions
            if at > len(data):
                raise ValueError("it ends too early")
            where = [f"{n & (1 << _POSITION_BITS) - 1}{_WEIGHTS[n >> _POSITION_BITS]}" for (n,) in numbers]
            words.append(f"{word}:{','.join(where)}" if where else word)
        if at != len(data) or count < 0:
            raise ValueError("it has not the length that it says")
        return " ".join(words)


class TsqueryBinaryLoader(_WordsLoader):
    """Load tsquery from binary, as str: `'fat' & ( 'rat' | 'cat':*A )`."""

    def write(self, data: bytes, encoding: str) -> str:
        items = list(_query_items(data, encoding))
        if not items:
            return ""
        # An operator stands before its operands, the right one first; so from the end operands come before it.
        stack: list[tuple[_Rope, int]] = []
        for text, operator in reversed(items):
            priority = _PRIORITY.get(operator, _OF_A_VALUE)
            if operator == _NOT:
                stack.append((("!", _in_parentheses(*stack.pop(), priority)), priority))
            elif operator:
                right = _in_parentheses(*stack.pop(), priority + (operator == _PHRASE))
                left = _in_parentheses(*stack.pop(), priority)
                stack.append(((left, text, right), priority))
            else:
                stack.append((text, priority))
        ((rope, _),) = stack
        return "".join(_pieces(rope))


def _word(data: bytes, at: int, encoding: str) -> tuple[str, int]:
    """Return a word that ends with a byte 0, quoted, and where it ends."""
    end = data.index(b"\0", at)
    word = data[at:end].decode(encoding)
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'", end + 1


def _query_items(data: bytes, encoding: str) -> Iterator[tuple[str, int]]:
    """Yield the words and operators as they are written, and the operator, 0 for a word."""
    (count,) = _count.unpack_from(data)
    at = _count.size
    for _ in range(count):
        kind = data[at]
        if kind == _VALUE:
            weight, is_prefix = data[at + 1], data[at + 2]
            word, at = _word(data, at + 3, encoding)
            letters = "".join([letter for i, letter in enumerate("DCBA") if weight & 1 << i])[::-1]
            flags = ("*" if is_prefix else "") + letters
            yield f"{word}:{flags}" if flags else word, 0
        elif kind == _OPERATOR:
            operator = data[at + 1]
            at += 2
            if operator == _PHRASE:
                (distance,) = _uint16.unpack_from(data, at)
                at += 2
                yield f" <{'-' if distance == 1 else distance}> ", operator
            else:
                yield {_NOT: "!", _AND: " & ", _OR: " | "}[operator], operator
        else:
            raise ValueError("it has an unknown kind of item")
    if at != len(data) or count < 0:
        raise ValueError("it has not the length that it says")


def _in_parentheses(operand: _Rope, priority: int, least: int) -> _Rope:
    return ("( ", operand, " )") if priority < least else operand


def _pieces(rope: _Rope) -> Iterator[str]:
    stack = [rope]
    while stack:
        piece = stack.pop()
        if isinstance(piece, str):
            yield piece
        else:
            stack.extend(reversed(piece))


def register_default_adapters(context: AdaptContext) -> None:
    """Register tsvector and tsquery."""
    adapters = context.adapters
    for dumper in (TsvectorDumper, TsqueryDumper):
        adapters.register_dumper(None, dumper)
    # The last one of a type is preferred: text is what it becomes.
    for name, binary in (("tsvector", TsvectorBinaryLoader), ("tsquery", TsqueryBinaryLoader)):
        adapters.register_loader(name, binary)
        adapters.register_loader(name, TextLoader)
