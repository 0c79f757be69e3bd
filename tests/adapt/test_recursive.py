"""Dumpers and loaders of values that contain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyq.adapt import AdaptersMap, Format, PyFormat, RecursiveDumper, RecursiveLoader, Transformer
from anyq.adapt.base import BinaryLoaders
from anyq.adapt.typeinfo import TypeInfo
from tests.support.values import dump, load


def test_recursive_ones_share_the_transformer(context: AdaptersMap) -> None:
    class PairDumper(RecursiveDumper):
        def shared(self) -> Transformer:
            return self._tx

        def dump(self, obj: Sequence[Any]) -> bytes:
            values, _, _ = self._tx.dump_sequence(obj, [PyFormat.TEXT] * len(obj))
            return b"/".join(bytes(value or b"") for value in values)

    class PairLoader(RecursiveLoader):
        def shared(self) -> Transformer:
            return self._tx

        def load(self, data: bytes) -> tuple[Any, ...]:
            return tuple(self._tx.get_load_function(23, Format.TEXT)(part) for part in data.split(b"/"))

    context.register_dumper(tuple, PairDumper)
    context.register_loader(60_000, PairLoader)
    tx = Transformer(context)
    assert Transformer.from_context(tx) is tx
    assert dump((1, (2, "a")), PyFormat.TEXT, tx)[0] == b"1/2/a"
    assert load(b"1/2", 60_000, Format.TEXT, tx) == (1, 2)
    dumper, loader = tx.get_dumper((1,), PyFormat.TEXT), tx.get_loader(60_000, Format.TEXT)
    assert isinstance(dumper, PairDumper)
    assert isinstance(loader, PairLoader)
    assert dumper.shared() is loader.shared() is tx


def test_type_that_contains_itself(context: AdaptersMap) -> None:
    class Tree(RecursiveLoader):
        format = Format.BINARY

        @classmethod
        def is_usable(cls, oid: int, tx: BinaryLoaders) -> bool:
            return tx.has_binary_loader(60_001)

        def load(self, data: bytes) -> Any:
            return data

    TypeInfo("tree", 60_000, 60_001).register(context)
    context.register_loader("tree", Tree)
    assert Transformer(context).has_binary_loader(60_000)
    assert Transformer(context).has_binary_loader(60_001)
