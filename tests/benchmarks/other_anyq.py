"""Takes anyq from another folder than these modules are taken from. Must import nothing of it before that."""

from __future__ import annotations

import sys
from pathlib import Path


def use(folder: Path) -> None:
    """Have this process import anyq from there.

    :raises ImportError: there is none, or it was imported already.
    """
    if "anyq" in sys.modules:
        raise ImportError("anyq was imported before it was said which one")
    sys.path.insert(0, str(folder))
    import anyq

    found = Path(anyq.__file__).parents[1]
    if found != folder.resolve():
        raise ImportError(f"anyq was imported from {found} and not from {folder.resolve()}")
