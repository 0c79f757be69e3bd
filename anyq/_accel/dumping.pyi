from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

def compile_dump(dump: Callable[[Any], Any]) -> Callable[[Any], Any]: ...
def compile_key(get_key: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]: ...
def dump_values(
    params: Sequence[object],
    formats: Sequence[Any],
    plans: Mapping[Any, Mapping[type, Any]],
    make_plan: Callable[[Any, Any], Any],
    make_key_plan: Callable[[Any, Any, Any], Any],
    values: list[Any],
    oids: list[int],
    wire: list[int],
) -> None: ...
def bind_sets(
    out: bytearray, sets: Iterator[Any], most: int, size: int, add: Callable[[bytearray, Any], tuple[Any, ...] | None]
) -> int: ...

class Alike:
    def __init__(
        self,
        tx: Any,
        formats: tuple[Any, ...],
        oids: tuple[int, ...],
        wire: Sequence[int],
        statement: bytes,
        results: Sequence[int],
        after: bytes,
    ) -> None: ...
    def bind(self, out: bytearray, params: Any) -> bool: ...
