from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# A class of its own, with what the one in Python has: so checkers are told of one.
from .python import Dumping
from .python import DumpPlan as DumpPlan

def compile_dump(dump: Callable[[Any], Any]) -> Callable[[Any], Any]: ...
def compile_key(get_key: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]: ...
def dump_values(
    params: Sequence[object],
    formats: Sequence[Any],
    plans: Mapping[Any, Mapping[type, DumpPlan]],
    make_plan: Callable[[Any, Any], DumpPlan],
    make_key_plan: Callable[[DumpPlan, Any, Any], DumpPlan],
    values: list[Any],
    oids: list[int],
    wire: list[int],
) -> None: ...
def bind_sets(
    out: bytearray, sets: Iterator[Any], most: int, size: int, add: Callable[[bytearray, Any], tuple[Any, ...] | None]
) -> int: ...

class Nesting:
    level: int

class Alike:
    def __init__(
        self,
        tx: Dumping,
        formats: tuple[Any, ...],
        oids: tuple[int, ...],
        wire: Sequence[int],
        statement: bytes,
        results: Sequence[int],
        after: bytes,
    ) -> None: ...
    def bind(self, out: bytearray, params: Any) -> bool: ...
