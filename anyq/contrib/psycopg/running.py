"""Running: a script, a module or a command as the interpreter runs it, with anyq in psycopg's place.

Knows how the interpreter begins a program. Must not know what is put in which place.
"""

from __future__ import annotations

import builtins
import os
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from zipfile import is_zipfile

from . import install

USAGE = """\
usage: python -m anyq.contrib.psycopg SCRIPT [ARGUMENT ...]
       python -m anyq.contrib.psycopg -m MODULE [ARGUMENT ...]
       python -m anyq.contrib.psycopg -c COMMAND [ARGUMENT ...]

Run a program that was written for psycopg and psycopg_pool with anyq in their place."""


def main(argv: Sequence[str]) -> int:
    """Run a program; return the exit code: 0 done, 2 bad arguments. What the program raises comes out."""
    option, *arguments = argv or [""]
    if option in ("-h", "--help"):
        print(USAGE)
        return 0
    if option in ("-m", "-c"):
        if not arguments:
            return _bad(f"{option} needs an argument")
        what, *arguments = arguments
    elif not option or option.startswith("-"):
        return _bad(f"there is no option {option}" if option else "there is nothing to run")
    else:
        what = option
    install()
    if option == "-m":
        sys.argv[:] = [what, *arguments]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif option == "-c":
        sys.argv[:] = ["-c", *arguments]
        _run(compile(what, "<string>", "exec", dont_inherit=True))
    else:
        sys.argv[:] = [what, *arguments]
        _run_path(what)
    return 0


def _bad(why: str) -> int:
    print(f"{why}\n{USAGE}", file=sys.stderr)
    return 2


def _run_path(path: str) -> None:
    """Run a script, or a folder or archive that has a program in it."""
    if not os.path.isfile(path) or is_zipfile(path):
        runpy.run_path(path, run_name="__main__")
        return
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    # As the interpreter does: modules beside the script are found, and not those of the working directory, which is
    # what "-m" has put there.
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    _run(code, path)


def _run(code: CodeType, path: str | None = None) -> None:
    """Run a program as the module ``__main__``, where it is found later on too, by pickle and its like."""
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    if path is not None:
        module.__file__ = path
    sys.modules["__main__"] = module
    exec(code, module.__dict__)
