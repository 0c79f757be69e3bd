from collections.abc import Callable, Sequence
from typing import Any

def decode_rows(
    run: bytes,
    pos: int,
    end: int,
    loads: Sequence[Callable[[bytes], Any]],
    rows: list[tuple[Any, ...]],
) -> int: ...
def compile_load(load: Callable[[bytes], Any]) -> Callable[[bytes], Any]: ...
def dict_maker(names: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Any]]: ...
