from collections.abc import Callable, Sequence
from typing import Any

from .python import RowFormatting, RowParsing

def compile_format(formatter: RowFormatting) -> Callable[[Sequence[Any], bytearray], bool]: ...
def compile_parse(parser: RowParsing) -> Callable[[bytes], list[tuple[Any, ...]]]: ...
