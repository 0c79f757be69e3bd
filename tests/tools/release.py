"""Build what is released, and test what was built as its users get it.

    python3 tests/tools/release.py [--quick] [--only NAME ...] [--out FOLDER] [arguments of pytest]

Exports HEAD of this checkout from git (so nothing comes along that is not committed), builds a source distribution and,
from that, a compiled wheel and a pure one. Then each of them is installed into an environment that has nothing in it,
the source distribution twice: as it is, and where no compiler can be found. The compiled wheel must have all that can
be compiled and nothing of what that is built from; what is imported must be the installed package, of the version and
the implementation that are expected. Last, the test suite runs against that installation, in a folder that has the
tests, the documentation and the examples but no `anyq/`.

The compiled wheel is tested on every event loop, the others in pure Python or once more on trio. ``--quick`` runs a few
files of tests for each. Tests with the mark `checkout` are about the sources themselves and left out.

Knows the standard library only. See RELEASING.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]

QUICK = ["tests/test_connection.py", "tests/types", "tests/_accel", "tests/cli", "tests/promises/test_typing.py"]
"""A few tests of everything that may be missing in a package: modules, compiled ones, the command, `py.typed`."""

# What would have a child process see another anyq, or other packages, than those of its environment.
_LEAKING = ("PYTHONPATH", "PYTHONHOME", "ANYQ_IMPL", "ANYQ_BUILD", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")


class Installation(NamedTuple):
    """One way that a user comes to have anyq."""

    name: str
    pattern: str
    """Which file it is installed from."""
    variables: dict[str, str]
    """What of the environment is said meanwhile."""
    implementation: str
    loops: str
    """The event loops to test on; none for all."""


INSTALLATIONS = [
    Installation("wheel", "*-cp*.whl", {}, "cython", ""),
    Installation("pure-wheel", "*-none-any.whl", {}, "python", "trio"),
    Installation("sdist", "*.tar.gz", {"ANYQ_BUILD": "cython"}, "cython", "trio"),
    Installation("pure-sdist", "*.tar.gz", {"CC": "no-compiler", "CXX": "no-compiler"}, "python", "trio"),
]


def say(message: str) -> None:
    print(f"== {message}", flush=True)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LEAKING}


def run(*command: str | Path, cwd: Path, **variables: str) -> None:
    """Run a command in a folder; the script ends where it fails."""
    shown = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    print(f"{cwd}$ {' '.join([*shown, *(shlex.quote(str(word)) for word in command)])}", flush=True)
    if subprocess.call(command, cwd=cwd, env=environment() | variables) != 0:
        sys.exit("anyq: that failed; see above")


def export(target: Path) -> None:
    """Write HEAD's files, and nothing else, into a new folder."""
    target.mkdir()
    changed = subprocess.check_output(["git", "status", "--porcelain"], cwd=CHECKOUT, text=True)
    if changed:
        say("these changes are not committed, and so not part of what is built:\n" + changed.rstrip())
    with tempfile.TemporaryFile() as file:
        subprocess.run(["git", "archive", "--format=tar", "HEAD"], cwd=CHECKOUT, stdout=file, check=True)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            archive.extractall(target)


def make_environment(folder: Path) -> Path:
    """Make a virtual environment with nothing but pip in it; return its interpreter."""
    venv.create(folder, clear=True, with_pip=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def version_of(source: Path) -> str:
    """Return the version that the sources say they are.

    Ends the script if the changelog does not know it.
    """
    found = re.search(r'^__version__ = "([^"]+)"$', (source / "anyq/__init__.py").read_text("utf-8"), re.MULTILINE)
    if found is None:
        sys.exit("anyq: there is no __version__ in anyq/__init__.py")
    version = found[1]
    if not re.search(rf"^## {re.escape(version)}\b", (source / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE):
        sys.exit(f"anyq: CHANGELOG.md has no section for {version}")
    return version


def build(source: Path, work: Path, out: Path) -> None:
    """Build the source distribution, and the wheels from what is in that, into `out`."""
    python = make_environment(work / "build")
    run(python, "-m", "pip", "install", "--quiet", "build", cwd=work)
    run(python, "-m", "build", "--sdist", "--outdir", out, source, cwd=work)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(work)
    unpacked = work / sdist.name.removesuffix(".tar.gz")
    for wanted in ("cython", "python"):
        run(python, "-m", "build", "--wheel", "--outdir", out, unpacked, cwd=work, ANYQ_BUILD=wanted)


def check_contents(wheel: Path, source: Path) -> None:
    """Check that all that can be compiled is there, and nothing of what it is built from."""
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name) for name in archive.namelist() if not name.partition("/")[0].endswith(".dist-info")]
    modules = [path.with_suffix("") for path in (source / "anyq" / "_accel").glob("*.pyx")]
    declared = [path.with_suffix("") for path in (source / "anyq").rglob("*.pxd") if path.with_suffix(".py").exists()]
    expected = {path.relative_to(source) for path in modules}
    expected |= {Path("anyq", "compiled", path.relative_to(source / "anyq")) for path in declared}
    found = {path.with_name(path.name.partition(".")[0]) for path in names if path.suffix in (".so", ".pyd")}
    odd = [path for path in names if path.suffix not in (".py", ".pyi", ".typed", ".so", ".pyd")]
    if found != expected or odd:
        sys.exit(f"anyq: {wheel.name} has {sorted(found ^ expected)} too many or too few, and {odd}")
    say(f"{wheel.name} has {len(found)} compiled modules, {wheel.stat().st_size} bytes")


def copy_tests(source: Path, target: Path) -> None:
    """Copy all that the tests need besides anyq."""
    shutil.copytree(source, target, ignore=lambda folder, names: ["anyq"] if Path(folder) == source else [])


# Tells where anyq was imported from; an interpreter that is isolated (-I) has neither folder nor variables on its path.
_WHAT_IS_IMPORTED = "import anyq; print(anyq.__file__, anyq.__version__, anyq.__impl__, sep='\\n')"


def check_import(python: Path, tests: Path, version: str, implementation: str) -> None:
    """Check that the installed package is imported: by itself, and in the folder of the tests as pytest does it."""
    for options in (["-I"], []):
        output = subprocess.check_output(
            [python, *options, "-c", _WHAT_IS_IMPORTED], cwd=tests, env=environment(), text=True
        )
        file, *rest = output.splitlines()
        say(f"imported {file}, {' '.join(rest)}")
        if python.parents[1] not in Path(file).parents or rest != [version, implementation]:
            sys.exit(f"anyq: expected {version}, {implementation}, below {python.parents[1]}")


def check(installation: Installation, out: Path, work: Path, tests: Path, version: str, arguments: list[str]) -> None:
    """Install it into an empty environment and test it there."""
    (file,) = out.glob(installation.pattern)
    say(f"{installation.name}: installing {file.name} into an empty environment")
    python = make_environment(work / installation.name)
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    # Without its cache, where the same file may lie as it was built another time.
    run(*pip, "--no-cache-dir", file, cwd=work, **installation.variables)
    check_import(python, tests, version, installation.implementation)
    run(python.with_name("anyq"), "--version", cwd=work)
    run(python, "-m", "pip", "check", cwd=work)
    say(f"{installation.name}: testing it with what its extra 'test' asks for")
    # What is installed is this version already, so that only the requirements of the extra are added.
    run(*pip, f"anyq[test]=={version}", cwd=work)
    check_import(python, tests, version, installation.implementation)
    workers = str(min((os.cpu_count() or 1) + 1, 4))
    variables = {"ANYQ_TEST_LOOPS": installation.loops, "ANYQ_TEST_EXAMPLES": "25"} if installation.loops else {}
    marks = "not checkout and not once" if installation.loops else "not checkout"
    run(python, "-m", "pytest", "-n", workers, "-m", marks, *arguments, cwd=tests, **variables)


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="run a few files of tests for each")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in INSTALLATIONS], help="test only these")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "dist", help="where the files go, by default dist/")
    args, arguments = parser.parse_known_args()
    out: Path = args.out.resolve()
    if out.exists() and any(out.iterdir()):
        sys.exit(f"anyq: {out} is not empty; what was built before must not be mixed with this")
    with tempfile.TemporaryDirectory(prefix="anyq-release-") as folder:
        work = Path(folder).resolve()
        source, tests = work / "source", work / "tests-of-anyq"
        export(source)
        version = version_of(source)
        say(f"building anyq {version} from {source}")
        build(source, work, out)
        check_contents(next(out.glob(INSTALLATIONS[0].pattern)), source)
        copy_tests(source, tests)
        for installation in INSTALLATIONS:
            if args.only is None or installation.name in args.only:
                check(installation, out, work, tests, version, [*(QUICK if args.quick else []), *arguments])
    say(f"built and tested, in {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
