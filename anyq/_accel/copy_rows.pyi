from collections.abc import Callable, Sequence
from typing import Any

from .python import RowFormatting, RowParsing

def compile_format(formatter: RowFormatting) -> Callable[[Sequence[Any], bytearray], None]: ...
def compile_parse(parser: RowParsing) -> Callable[[bytes], list[tuple[Any, ...]]]: ...
