"""Counts what a query passes through: ``python -m tests.benchmarks.path [--against FOLDER] [--calls]``.

From `cursor.execute()` to its row, on asyncio and a server, by a profiler that sees every function of anyq that is
written in Python: distinct classes whose methods run, calls, and changes of file. Those are counted twice: in the
order of calls (how often a function runs that is in another file than the one that ran before it), and with returns
(how often whoever reads along turns to another file, and back again). Of a known query what is shown is the most
frequent: a reply that takes long takes some steps more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import anyio

from . import other_anyq
from .workloads import ONE

HERE = Path(__file__).parents[2]
WARM = 10
"""Queries before the ones that are counted: the statement is prepared by then, and known."""
COUNTED = 15


class Trail:
    """The functions of a package that run, in order."""

    def __init__(self, package: Path) -> None:
        self._package = str(package) + os.sep
        self._stack: list[str] = []
        self.calls: list[tuple[str, str]] = []
        """Their files and names."""
        self.classes: set[str] = set()
        self.with_returns = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        """What the profiler has to call (sys.setprofile)."""
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(self._package):
            return
        file = code.co_filename[len(self._package) :]
        if event == "return":
            self._stack.pop()
            self.with_returns += bool(self._stack) and self._stack[-1] != file
            return
        self.with_returns += bool(self._stack) and self._stack[-1] != file
        self._stack.append(file)
        owner = _owner(frame)
        self.calls.append((file, code.co_name if owner is None else f"{owner}.{code.co_name}"))
        if owner is not None:
            self.classes.add(owner)

    @property
    def in_order(self) -> int:
        return sum(before != after for (before, _), (after, _) in pairwise(self.calls))


def _owner(frame: FrameType) -> str | None:
    """Return the name of the class whose method runs: of the object's, and not of one that it inherits from."""
    code = frame.f_code
    if not code.co_argcount or code.co_varnames[0] not in ("self", "cls"):
        return None
    first = frame.f_locals[code.co_varnames[0]]
    return (first if isinstance(first, type) else type(first)).__qualname__


class Found(NamedTuple):
    classes: tuple[str, ...]
    in_order: int
    with_returns: int
    calls: tuple[tuple[str, str], ...]

    def show(self, title: str, all_calls: bool) -> None:
        print(
            f"  {title}: {len(self.classes)} classes, {self.in_order} changes of file in the order of calls, "
            f"{self.with_returns} with returns, {len(self.calls)} calls"
        )
        print(f"    {' '.join(self.classes)}")
        if all_calls:
            print("".join(f"      {file}: {name}\n" for file, name in self.calls), end="")


async def follow(conn: Any, package: Path) -> Found:
    """Return what one query passes through."""
    cursor = conn.cursor()
    text, arguments = ONE.text(("%s", "%s")), (ONE.argument,)
    trail = Trail(package)
    sys.setprofile(trail)
    try:
        await cursor.execute(text, arguments)
        await cursor.fetchone()
    finally:
        sys.setprofile(None)
    return Found(tuple(sorted(trail.classes)), trail.in_order, trail.with_returns, tuple(trail.calls))


async def count(dsn: str, all_calls: bool) -> None:
    """Count in this process, and print it."""
    import anyq

    print(f"{anyq.__impl__}, {Path(anyq.__file__).parent}")
    package = Path(anyq.__file__).parent
    async with anyq.AsyncConnection.connect(dsn, autocommit=True) as conn:
        found = [await follow(conn, package) for _ in range(WARM + COUNTED)]
    found[0].show("a first query", all_calls)
    ((usual, _),) = Counter(found[WARM:]).most_common(1)
    usual.show("a prepared, known query", all_calls)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.path",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--against", type=lambda path: Path(path).resolve(), metavar="FOLDER", help="a folder with another anyq"
    )
    parser.add_argument("--calls", action="store_true", help="list every call")
    parser.add_argument("--dsn", help="database to use; by default an embedded server")
    parser.add_argument("--implementations", nargs="+", default=["cython", "python"], choices=["cython", "python"])
    # How this script calls itself.
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.count:
        if args.folder is not None:
            other_anyq.use(args.folder)
        anyio.run(count, args.dsn, args.calls)
        return 0
    from anyq.cli.embedded import EmbeddedServer

    if args.dsn is None:
        with EmbeddedServer() as server:
            return count_all(args, server.dsn)
    return count_all(args, args.dsn)


def count_all(args: argparse.Namespace, dsn: str) -> int:
    """Count in a process for each folder and implementation; return how many of them failed."""
    failed = 0
    for folder in [[]] if args.against is None else [["--folder", str(args.against)], []]:
        for implementation in args.implementations:
            options = ["--count", *folder, "--dsn", dsn, *(["--calls"] if args.calls else [])]
            command = [sys.executable, "-m", "tests.benchmarks.path", *options]
            failed += bool(subprocess.call(command, cwd=HERE, env=os.environ | {"ANYQ_IMPL": implementation}))
    return failed


if __name__ == "__main__":
    sys.exit(main())
