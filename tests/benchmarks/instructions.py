"""Counts the processor's instructions of a query: ``python -m tests.benchmarks.instructions [--against FOLDER]``.

A prepared query of one row, known by its text: making the cursor, `execute()` and `fetchone()`, against ready-made
replies and without an event loop. Valgrind counts, so the figure is the same on a busy machine; what is printed is
the difference of two processes that run the query a different number of times, by the difference of these numbers.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import other_anyq
from .canned import CannedConnection
from .tracing import TRACERS, tracer_of

HERE = Path(__file__).parents[2]
WARM = 200
"""Queries before any are counted: the statement is prepared, and the interpreter has specialised its code."""
FEW, MANY = 200, 1200


def run(count: int, tracer: str = "off") -> None:
    connection = CannedConnection(tracer_of(tracer))
    gc.collect()
    gc.disable()  # when it runs, and how long, depends on what else has been allocated
    for _ in range(WARM + count):
        connection.query()
    connection.close()


def counted(folder: Path | None, implementation: str, tracer: str, count: int) -> int:
    """Return the instructions of a process that runs the query so many times.

    :param folder: where to take anyq from; None for where this process would take it from.
    :param tracer: who watches the connection, see `tests.benchmarks.tracing`.
    """
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    done = subprocess.run(
        [
            *(*command, "-m", "tests.benchmarks.instructions", "--run", str(count), "--tracer", tracer),
            *([] if folder is None else ["--folder", str(folder)]),
        ],
        cwd=HERE,
        env=os.environ | {"ANYQ_IMPL": implementation, "PYTHONHASHSEED": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{folder or HERE}, {implementation}: {done.stderr}")
    return int(found[1])


def instructions(folder: Path | None, implementation: str, tracer: str) -> float:
    """Return the instructions of one query."""
    few, many = (counted(folder, implementation, tracer, count) for count in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--against", type=lambda path: Path(path).resolve(), metavar="FOLDER", help="a folder with another anyq"
    )
    parser.add_argument("--implementations", nargs="+", default=["cython", "python"], choices=["cython", "python"])
    parser.add_argument("--tracer", default="off", choices=TRACERS, help="a tracer that does nothing watches")
    # How this script calls itself.
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run is not None:
        if args.folder is not None:
            other_anyq.use(args.folder)
        run(args.run, args.tracer)
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    for implementation in args.implementations:
        own = instructions(None, implementation, args.tracer)
        line = f"{implementation}: {own:,.0f} instructions a query"
        if args.against is not None:
            other = instructions(args.against, implementation, args.tracer)
            line += f"; {other:,.0f} in {args.against}; {(own - other) / other:+.1%}"
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
