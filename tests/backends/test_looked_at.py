"""What compiled modules look at in C says what it says in Python."""

from __future__ import annotations

import threading

from anyq.backends.looked_at import Anything, Thread


def test_the_thread_is_the_one_that_asks() -> None:
    thread = Thread()
    seen: list[tuple[int, int]] = []
    other = threading.Thread(target=lambda: seen.append((thread.ident, threading.get_ident())))
    other.start()
    other.join()
    assert thread.ident == threading.get_ident()
    assert [left for left, _ in seen] == [right for _, right in seen] != [thread.ident]


def test_every_object_is_anything() -> None:
    assert all(isinstance(one, Anything) for one in (None, 1, Thread, Thread()))
