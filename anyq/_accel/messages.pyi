from collections.abc import Sequence
from typing import Any

from ..abc import Buffer

def bind(
    out: bytearray,
    portal: bytes,
    statement: bytes,
    formats: Sequence[int],
    values: Sequence[Buffer | None],
    result_formats: Sequence[int],
    after: bytes = b"",
) -> None: ...
def take_replies(session: Any, pending: Any, run: bytes, pos: int, end: int) -> int: ...
