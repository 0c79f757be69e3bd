"""Finds calls that could block an event loop: files, directory services, name resolution, sleeping.

By what is called and in which thread, and not by how long it takes. Knows no more than the functions of CPython.
"""

from __future__ import annotations

import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Built-in functions by module; "*" for all of them.
_BLOCKING: dict[str, set[str]] = {
    "posix": {"stat", "lstat", "open", "access", "listdir", "scandir", "readlink", "getlogin", "system", "waitpid"},
    "_io": {"open"},
    "io": {"open", "open_code"},
    "pwd": {"*"},
    "grp": {"*"},
    "_socket": {"getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"},
    "time": {"sleep"},
    "_posixsubprocess": {"*"},
}

#: Methods of built-in classes.
_BLOCKING_METHODS = {"load_verify_locations", "load_cert_chain", "load_default_certs", "set_default_verify_paths"}


@contextmanager
def calls_that_block() -> Iterator[list[str]]:
    """Collect the calls of this thread that could block, each with its place, until the block is left."""
    found: list[str] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and _blocks(frame, called):
            place = "".join(traceback.format_stack(frame, 14))
            found.append(f"{called.__module__}.{called.__name__}()\n{place}")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _blocks(frame: FrameType, called: Any) -> bool:
    name = getattr(called, "__name__", "")
    names = _BLOCKING.get(getattr(called, "__module__", None) or "", set())
    if name == "getaddrinfo" and int(frame.f_locals.get("flags", 0)) & socket.AI_NUMERICHOST:
        # Looks nothing up.
        return False
    return name in names or "*" in names or name in _BLOCKING_METHODS
