from collections import deque
from collections.abc import Sequence

from ..protocol.frontend import Buffer
from ..protocol.request import Request, Result
from ..protocol.session import ProtocolSession

def bind(
    out: bytearray,
    portal: bytes,
    statement: bytes,
    formats: Sequence[int],
    values: Sequence[Buffer | None],
    result_formats: Sequence[int],
    after: bytes = b"",
) -> None: ...
def take_replies(protocol: ProtocolSession, pending: deque[Request], run: bytes, pos: int, end: int) -> int: ...
def keep_rows(result: Result, run: bytes, pos: int, end: int) -> int: ...
def end_of_copy_data(run: bytes, pos: int, end: int) -> int: ...
def split_copy_data(run: bytes, pos: int, stop: int, most: int) -> tuple[list[bytes], int]: ...
def join_copy_data(run: bytes, pos: int, stop: int, most: int) -> tuple[bytes, int]: ...
