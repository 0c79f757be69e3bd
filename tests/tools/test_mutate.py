"""Mutations are made in a copy, the tests that matter run first, and what nobody notices is said to have survived."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import mutate
from tests.tools.mutate import CORE, Copy, difference, read_modules, stages, table
from tests.tools.mutations import Mutation, mutations

pytestmark = [pytest.mark.once, pytest.mark.checkout]

SOURCE = "def is_small(number):\n    return number < 10\n\n\ndef is_big(number):\n    return number > 100\n"
TESTS = "from anyq.session.sizes import is_small\n\ndef test_sizes():\n    assert is_small(9) and not is_small(10)\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one, with a module and its test, which needs no plugins: these take most of the time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tmp_path / "checkout"
    for folder in ("anyq/session", "tests/session", "tests/sync"):
        (root / folder).mkdir(parents=True)
    for package in ("anyq", "anyq/session", "tests", "tests/session"):
        (root / package / "__init__.py").write_text("")
    (root / "anyq/session/sizes.py").write_text(SOURCE)
    (root / "tests/session/test_sizes.py").write_text(TESTS)
    (root / "tests/session/test_others.py").write_text("def test_others():\n    pass\n")
    (root / "tests/sync/test_uuid.py").write_text("def test_uuid():\n    pass\n")
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = ["-ra"]\nmarkers = ["checkout"]\n')
    return root


def mutation(text: str, number: int = 0) -> Mutation:
    """Return one of those with this text."""
    return [it for it in mutations(SOURCE, "anyq/session/sizes.py") if it.text == text][number]


def test_a_test_that_fails_kills(checkout: Path, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", checkout)
    verdict = copy.judge(3, mutation("(number <= 10)"))
    assert (verdict.number, verdict.outcome) == (3, "killed")
    assert verdict.by.startswith("tests/session/test_sizes.py::test_sizes")
    assert (checkout / "anyq/session/sizes.py").read_text() == SOURCE
    assert (copy.folder / "anyq/session/sizes.py").read_text() == SOURCE


def test_what_nobody_notices_survives(checkout: Path, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", checkout)
    # Two in a row: the second must not run the bytecode of the first.
    assert copy.judge(1, mutation("11")).outcome == "killed"
    verdict = copy.judge(2, mutation("(number >= 100)"))
    assert (verdict.outcome, verdict.by) == ("survived", "")
    report = table([verdict], {"anyq/session/sizes.py": SOURCE})
    assert "| 2 | anyq/session/sizes.py:6 | comparison | survived |  |" in report
    assert "-    return number > 100\n+    return (number >= 100)" in report


def test_the_rest_runs_too(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tests/sync/test_uuid.py").write_text(
        "from anyq.session.sizes import is_big\n\ndef test_uuid():\n    assert not is_big(100)\n"
    )
    copy = Copy(tmp_path / "copy", checkout)
    verdict = copy.judge(1, mutation("(number >= 100)"))
    assert verdict.by.startswith("tests/sync/test_uuid.py::test_uuid")
    near = Copy(tmp_path / "near", checkout, near=True)
    assert near.judge(1, mutation("(number >= 100)")).outcome == "survived"


def test_a_stage_that_takes_too_long(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "tests/session/test_sizes.py").write_text("def test_forever():\n    while True:\n        pass\n")
    monkeypatch.setattr(mutate, "STAGE_TIMEOUT", 0.01)
    assert Copy(tmp_path / "copy", checkout).judge(1, mutation("11")).outcome == "timeout"


def test_what_fails_without_a_mutation_says_nothing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "tests/session/test_others.py").write_text("def test_others():\n    assert False\n")
    monkeypatch.setattr(mutate, "Copy", lambda folder, loop, near: Copy(folder, checkout, loop, near))
    with pytest.raises(SystemExit, match="test_others"):
        list(mutate.run({1: mutation("11")}, 1, "trio", baseline=True))


def test_several_at_the_same_time(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutate, "Copy", lambda folder, loop, near: Copy(folder, checkout, loop, near))
    chosen = {1: mutation("11"), 2: mutation("(number >= 100)"), 3: mutation("None")}
    verdicts = sorted(mutate.run(chosen, 2, "trio", baseline=True))
    assert [(it.number, it.outcome) for it in verdicts] == [(1, "killed"), (2, "survived"), (3, "killed")]


def test_the_mirror_goes_first() -> None:
    tests = mutate.ROOT / "tests"
    first, second, *_, last = stages("anyq/session/wire.py", tests)
    assert first == ["tests/session/test_wire.py"]
    assert second == ["tests/session", "--ignore=tests/session/test_wire.py"]
    assert "tests/promises" in last and "tests/sync" in last
    assert "tests/session" not in last and "tests/types" not in last
    deeper = stages("anyq/protocol/auth/scram.py", tests)
    assert [stage[0] for stage in deeper[:3]] == [
        "tests/protocol/auth/test_scram.py",
        "tests/protocol/auth",
        "tests/protocol",
    ]
    top = stages("anyq/cursor.py", tests)
    assert top[0] == ["tests/test_cursor.py"] and "tests/test_connection.py" in top[1] and "tests/session" in top[2]


def test_every_pattern_of_the_core_means_something() -> None:
    for pattern in CORE:
        assert read_modules([pattern]), pattern
    assert "anyq/protocol/auth/scram.py" not in read_modules(["anyq/protocol/*.py"])


def test_a_difference_shows_the_line() -> None:
    assert "+    return number < 11" in difference(mutation("11"), SOURCE)


def test_which_test_hung() -> None:
    said = '~~~ Stack of MainThread\n  File "/tmp/x/tests/session/test_wire.py", line 7, in test_it\n    await f()\n'
    assert mutate._failed_test(said) == "tests/session/test_wire.py::test_it hangs"
    assert mutate._failed_test("..\n+++++ Timeout +++++\n~~~ Stack ~~~\n+++++ Timeout +++++\n") == "a test that hangs"
    assert mutate._failed_test("ERROR: no such file\n") == "ERROR: no such file"
