"""anyq in the place of psycopg and psycopg_pool, for programs that were written for these.

Knows when it takes that place and when it gives it up. Must not know what is there under which name: begin reading with
`modules`.
"""

from __future__ import annotations

import sys

from .finder import FINDER, is_standing_in
from .modules import PACKAGES
from .undocumented import add_names, remove_names

__all__ = ["install", "uninstall"]


def install() -> None:
    """Have ``import psycopg`` and ``import psycopg_pool`` find anyq, and their modules, from now on.

    Call it before anything imports psycopg: what was imported before stays what it is. Whether psycopg is installed
    does not matter. To call it again does nothing. It is for this process: one that is started anew, and not forked,
    calls it itself.

    :raises ImportError: psycopg, or psycopg_pool, is imported already.
    """
    if FINDER in sys.meta_path:
        return
    for name in PACKAGES:
        module = sys.modules.get(name)
        if module is not None and not is_standing_in(module):
            raise ImportError(
                f"{name} is imported already, from {getattr(module, '__file__', None) or 'somewhere'}: call "
                "anyq.contrib.psycopg.install() before whatever imports it",
                name=name,
            )
    add_names()
    sys.meta_path.insert(0, FINDER)


def uninstall() -> None:
    """Give the place back: what imports psycopg from now on gets psycopg, if it is installed.

    For tests. Modules that have imported it keep what they have.
    """
    if FINDER not in sys.meta_path:
        return
    sys.meta_path.remove(FINDER)
    remove_names()
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
