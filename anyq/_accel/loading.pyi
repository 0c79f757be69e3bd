from collections.abc import Callable, Sequence
from typing import Any

def load_rows(
    data: Any,
    start: int,
    stop: int,
    loads: Sequence[Callable[[bytes], Any]],
    rows: list[tuple[Any, ...]],
) -> None: ...
def compile_load(load: Callable[[bytes], Any]) -> Callable[[bytes], Any]: ...
