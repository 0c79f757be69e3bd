"""Change the core in small ways, one at a time, and look whether a test fails: `python -m tests.tools.mutate`.

    python -m tests.tools.mutate --seed 1 [--count 60] [--jobs 2] [--module anyq/session/*.py ...]
    python -m tests.tools.mutate --seed 1 --list

Mutations are drawn from the syntax trees of the modules by the seed: the same ones for the same sources. Each is made
in a copy of the checkout, never in the checkout itself, and the tests run there in pure Python, on one event loop,
until one fails: first the test file of the module's name, then its folder, then all that could. A mutation that none
notices has *survived*. A person judges that: either nothing could notice it, since the changed program does the same
(it is *equivalent*, and gets its reason in the report), or a test is missing.

``--near`` leaves out the last of these, which takes the longest by far; what survives then can be run again in full, as
``--only 3,17`` runs some of the draw. ``--report FILE`` writes a table.

Knows where a module's tests are and how to run them; mutations are made by `mutations`. Knows nothing of anyq.
"""

from __future__ import annotations

import argparse
import compileall
import difflib
import fnmatch
import os
import py_compile
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.tools.mutations import Mutation, draw

ROOT = Path(__file__).parents[2]

CORE = (
    "anyq/backends/*.py",
    "anyq/notifications/*.py",
    "anyq/protocol/*.py",
    "anyq/protocol/auth/*.py",
    "anyq/session/*.py",
    "anyq/startup/*.py",
    "anyq/statements/*.py",
    "anyq/sync/*.py",
    "anyq/transport/*.py",
    "anyq/connection.py",
    "anyq/cursor.py",
    "anyq/listener.py",
    "anyq/row_stream.py",
    "anyq/transaction.py",
)
"""The modules that are mutated unless others are named: what sends, receives, waits and cancels. Tables and types have
tests of another kind, which compare with PostgreSQL and with each other."""

NOT_RUN = ("_accel", "adapt", "benchmarks", "cli", "conninfo", "errors", "support", "tools", "types", "typing")
"""Folders of tests that say nothing of the core; those of a module that is mutated run nevertheless."""

STAGE_TIMEOUT = 1200
"""Seconds that the tests of one stage may take; a single test that hangs is ended much earlier, by pytest-timeout."""


class Verdict(NamedTuple):
    """What became of one mutation."""

    number: int
    mutation: Mutation
    outcome: str
    """killed, timeout or survived."""
    by: str
    """The test that failed."""


def stages(path: str, tests: Path) -> list[list[str]]:
    """Return the tests that run for a module, one list after the other, each without what has been run before.

    As arguments of pytest, relative to the folder above `tests`.
    """
    *folders, name = Path(path).relative_to("anyq").with_suffix("").parts
    mirror = Path(*folders, f"test_{name}.py")
    top = [path.name for path in sorted(tests.glob("test_*.py"))]
    found: list[list[str]] = []
    done: list[str] = []
    if (tests / mirror).exists():
        found.append([str(mirror)])
        done.append(f"--ignore=tests/{mirror}")
    if folders:
        for depth in range(len(folders), 0, -1):
            folder = str(Path(*folders[:depth]))
            found.append([folder, *done])
            done.append(f"--ignore=tests/{folder}")
    else:
        found.append([path for path in top if path != str(mirror)])
    rest = [path for path in sorted(tests.iterdir()) if path.name not in {*(folders[:1] or top), *NOT_RUN}]
    # What cuts across is the likeliest to notice.
    rest.sort(key=lambda path: (path.name != "session", path.name != "promises", path.is_dir(), path.name))
    found.append([path.name for path in rest if path.match("test_*.py") or any(path.glob("test_*.py"))])
    return [[word if word.startswith("--") else f"tests/{word}" for word in stage] for stage in found if stage]


class Copy:
    """A copy of the checkout to mutate and to run tests in, in pure Python and on one event loop."""

    def __init__(self, folder: Path, source: Path = ROOT, loop: str = "trio", near: bool = False) -> None:
        self.folder = folder
        self._near = near
        left_out = shutil.ignore_patterns(".*", "*.so", "build", "dist", "__pycache__", "*.egg-info")
        shutil.copytree(source, folder, ignore=left_out, dirs_exist_ok=True)
        # By the sources' digests: a mutation may change neither the size of a file nor the second it was written in.
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(folder, quiet=2, invalidation_mode=mode)
        self._env = {
            **{name: value for name, value in os.environ.items() if name not in ("ANYQ_IMPL", "ANYQ_TEST_LOOPS")},
            "ANYQ_IMPL": "python",
            "ANYQ_TEST_LOOPS": loop,
            "ANYQ_TEST_EXAMPLES": os.environ.get("ANYQ_TEST_EXAMPLES", "25"),
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def test(self, arguments: Sequence[str], loop: str | None = None) -> tuple[str, str]:
        """Run tests; return "passed", "killed" or "timeout", and the test that failed or what pytest says.

        :param loop: an event loop instead of the usual one.
        """
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        # What is about sources, or for type checkers, does not notice what a program does.
        command += ["-m", "not checkout", "--ignore=tests/promises/test_typing.py"]
        with tempfile.TemporaryFile("w+", dir=self.folder) as output:
            # Into a file and not a pipe, which servers would inherit.
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=self.folder,
                env=self._env if loop is None else {**self._env, "ANYQ_TEST_LOOPS": loop},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                status = process.wait(STAGE_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return "timeout", " ".join(arguments)
            output.seek(0)
            said = output.read()
        # 5: all tests of a file may be deselected, or be for another implementation.
        return ("passed", "") if status in (0, 5) else ("killed", _failed_test(said))

    def judge(self, number: int, mutation: Mutation) -> Verdict:
        """Run a module's tests with a mutation, until one fails."""
        path = self.folder / mutation.path
        source = path.read_text(encoding="utf-8")
        # What one event loop has to itself shows on that one only.
        loop = "asyncio" if "asyncio" in path.name else None
        try:
            path.write_text(mutation.apply(source), encoding="utf-8")
            every = stages(mutation.path, self.folder / "tests")
            for stage in every[:-1] if self._near else every:
                outcome, by = self.test(stage, loop)
                if outcome != "passed":
                    return Verdict(number, mutation, outcome, by)
        finally:
            path.write_text(source, encoding="utf-8")
        return Verdict(number, mutation, "survived", "")


def _failed_test(output: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) (.*)", output, re.MULTILINE)
    if found:
        return found.group(1)
    # pytest-timeout ends the process of a test that hangs, and shows where it is.
    if found := re.search(
        r'^  File ".*?/(tests/\S+/test_\w+\.py|tests/test_\w+\.py)", line \d+, in (test_\w+)', output, re.M
    ):
        return f"{found.group(1)}::{found.group(2)} hangs"
    if "+ Timeout +" in output:
        return "a test that hangs"
    return (output.strip().splitlines() or ["pytest said nothing"])[-1]


def difference(mutation: Mutation, source: str) -> str:
    """Return what a mutation changes."""
    before, after = source.splitlines(), mutation.apply(source).splitlines()
    lines = difflib.unified_diff(before, after, mutation.path, mutation.operator, lineterm="", n=2)
    return "\n".join(lines)


def read_modules(patterns: Sequence[str], root: Path = ROOT) -> dict[str, str]:
    """Return the texts, by path, of the modules that patterns mean."""
    paths = [path.relative_to(root).as_posix() for path in sorted((root / "anyq").rglob("*.py"))]
    # In a pattern a star stands for a part of a file's name, not of a path.
    chosen = [path for path in paths if any(_matches(path, pattern) for pattern in patterns)]
    return {path: (root / path).read_text(encoding="utf-8") for path in chosen}


def _matches(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def run(chosen: Mapping[int, Mutation], jobs: int, loop: str, baseline: bool, near: bool = False) -> Iterator[Verdict]:
    """Judge mutations, so many at the same time; yield the verdicts as they come."""
    with tempfile.TemporaryDirectory(prefix="anyq-mutate-") as scratch:
        # Programs that tests start as another user have to get in.
        Path(scratch).chmod(0o755)
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for job in range(jobs):
            copies.put(Copy(Path(scratch) / str(job), loop=loop, near=near))
        if baseline:
            _check_baseline(copies)

        def judge(item: tuple[int, Mutation]) -> Verdict:
            copy = copies.get()
            try:
                return copy.judge(*item)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(jobs) as pool:
            # As they end, not as they began: who watches wants to know.
            done: queue.SimpleQueue[Verdict | BaseException] = queue.SimpleQueue()
            for item in chosen.items():
                pool.submit(judge, item).add_done_callback(lambda it: done.put(it.exception() or it.result()))
            for _ in chosen:
                verdict = done.get()
                if isinstance(verdict, BaseException):
                    raise verdict
                yield verdict


def _check_baseline(copies: queue.SimpleQueue[Copy]) -> None:
    """Have the tests pass without a mutation: what fails anyway says nothing."""
    copy = copies.get()
    folders = [f"--ignore=tests/{name}" for name in NOT_RUN]
    outcome, by = copy.test(["tests", *folders])
    if outcome != "passed":
        sys.exit(f"without any mutation a test fails: {by}")
    copies.put(copy)


def table(verdicts: Sequence[Verdict], sources: Mapping[str, str]) -> str:
    """Return the report: a table of all, and the differences of those that survived."""
    lines = ["| | where | what | outcome | by |", "|---|---|---|---|---|"]
    for number, mutation, outcome, by in verdicts:
        by = by.partition(" - ")[0].replace("|", "\\|")
        lines.append(f"| {number} | {mutation.path}:{mutation.line} | {mutation.operator} | {outcome} | {by} |")
    for verdict in verdicts:
        if verdict.outcome == "survived":
            text = difference(verdict.mutation, sources[verdict.mutation.path])
            lines += ["", f"{verdict.number}. Equivalent? Why?", "", "```diff", text, "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutate the core and look whether a test fails.")
    parser.add_argument("--seed", type=int, required=True, help="what the draw begins with")
    parser.add_argument("--count", type=int, default=60, help="how many mutations")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time")
    parser.add_argument("--loop", default="trio", help="the event loop to test on")
    parser.add_argument("--module", nargs="+", default=CORE, help="patterns of paths; the core by default")
    parser.add_argument("--only", help="numbers of the draw, with commas")
    parser.add_argument("--list", action="store_true", help="show the draw and run nothing")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests without a mutation first")
    parser.add_argument("--near", action="store_true", help="run the module's own tests and its folder's only")
    parser.add_argument("--report", type=Path, help="a file for the table")
    options = parser.parse_args()
    sources = read_modules(options.module)
    drawn = dict(enumerate(draw(sources, options.count, options.seed), 1))
    chosen = {int(number): drawn[int(number)] for number in options.only.split(",")} if options.only else drawn
    if options.list:
        for number, mutation in chosen.items():
            print(f"\n{number}. {mutation.operator}\n{difference(mutation, sources[mutation.path])}")
        return 0
    verdicts: list[Verdict] = []
    for verdict in run(chosen, options.jobs, options.loop, not options.no_baseline, options.near):
        verdicts.append(verdict)
        number, mutation, outcome, by = verdict
        print(f"[{len(verdicts)}/{len(chosen)}] {number}. {outcome} {by}")
        print(difference(mutation, sources[mutation.path]), flush=True)
    verdicts.sort()
    survivors = [str(verdict.number) for verdict in verdicts if verdict.outcome == "survived"]
    if options.report:
        options.report.write_text(table(verdicts, sources), encoding="utf-8")
    print(f"{len(survivors)} of {len(verdicts)} survived: {', '.join(survivors) or 'none'}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
