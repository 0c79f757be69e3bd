"""What compiled modules look at in C where these look at it in Python: the thread that runs, and objects of others.

Knows nothing of either. Must not know who looks at them.
"""

from __future__ import annotations

from threading import get_ident

__all__ = ["Anything", "Thread"]

Anything = object
"""What every object is an instance of, by a name that can be used in a ``.pxd`` for one whose attributes are slots."""


class Thread:
    """The thread that runs, whoever asks."""

    __slots__ = ()

    @property
    def ident(self) -> int:
        """Its number, as :func:`threading.get_ident` gives it."""
        return get_ident()
