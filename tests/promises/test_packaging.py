"""What is in the source distribution and in the wheel, and that the wheel works where nothing could be compiled.

Both are built here as `python -m build` does it, the second from the first, but with the setuptools that is there and
without the compiled path, which takes too long. tests/tools/release.py builds and tests that, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.checkout]

ROOT = Path(__file__).parents[2]

#: What the compiled path is built from.
SOURCES = {".pyx", ".pxd", ".pxi"}

#: Files at the top that are not in a source distribution: they are of use to a checkout only.
LEFT_OUT = {".ci", ".gitignore"}

#: What setuptools adds to one.
ADDED = re.compile(r"PKG-INFO|setup\.cfg|anyq\.egg-info/.*")

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""

#: Imports all that needs nothing else, and tells what was found.
IMPORT = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import anyq
for module in pkgutil.walk_packages(anyq.__path__, "anyq."):
    if not module.name.startswith(("anyq.contrib.", "anyq.types.numpy", "anyq.types.shapely")):
        importlib.import_module(module.name)
print(anyq.__file__, anyq.__impl__, anyq.__version__, anyq.compiled.__path__[0])
"""


def run(*arguments: object, cwd: Path, **variables: str) -> str:
    """Run Python in a folder, with no path and no choice of anybody's; return the last line of what it prints."""
    ours = ("PYTHONPATH", "ANYQ_IMPL", "ANYQ_BUILD", "SETUPTOOLS_USE_DISTUTILS")
    env = {name: value for name, value in os.environ.items() if name not in ours} | variables
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def files(folder: Path) -> Iterator[str]:
    """Yield the paths of what stands in a folder, not of what was built there."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix not in (".so", ".pyc"):
            yield path.relative_to(folder).as_posix()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, unpacked. It was built in a copy where a good deal had been built before."""
    if find_spec("setuptools") is None or int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("needs setuptools 77")
    folder = tmp_path_factory.mktemp("sdist")
    copy = folder / "checkout"
    copy.mkdir()
    for name in ("anyq", "tests", "docs", "examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("_build", ".*", "__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, copy)
    for product in (
        *("anyq/_accel/loading.cpython-311-x86_64-linux-gnu.so", "anyq/compiled/protocol/buffer.cpython-311-darwin.so"),
        *("anyq/_accel/loading.c", "build/cython/anyq/cursor.c", "build/lib/anyq/gone.py", "dist/anyq-0.0.1.tar.gz"),
        *(".venv/bin/python", ".hypothesis/examples/1", "tests/__pycache__/conftest.cpython-311.pyc"),
        *("docs/_build/index.html", ".mypy_cache/1.json"),
    ):
        path = copy / product
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    name = run("-c", BUILD, "build_sdist", folder, cwd=copy, ANYQ_BUILD="python")
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder)
    return folder / name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel without the compiled path, unpacked: as installers do it."""
    folder = tmp_path_factory.mktemp("wheel")
    name = run("-c", BUILD, "build_wheel", folder, cwd=sdist, ANYQ_BUILD="python")
    assert re.fullmatch(r"anyq-[\d.]+-py3-none-any\.whl", name)
    with zipfile.ZipFile(folder / name) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    (path,) = wheel.glob("*.dist-info/METADATA")
    return HeaderParser().parsestr(path.read_text("utf-8"))


def test_the_source_distribution_has_what_is_in_the_checkout(sdist: Path) -> None:
    found = {name for name in files(sdist) if not ADDED.fullmatch(name)}
    expected = {
        *(f"{name}/{path}" for name in ("anyq", "tests", "docs", "examples") for path in files(ROOT / name)),
        *(path.name for path in ROOT.iterdir() if path.is_file() and path.name not in LEFT_OUT),
    }
    # What somebody has lying about, and what is built from the pages.
    expected = {name for name in expected if not name.startswith(("docs/_build/", "."))}
    assert found == expected
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "anyq/_accel/loading.pyx"} <= found


def test_nothing_that_was_built_is_in_the_source_distribution(sdist: Path) -> None:
    paths = [path.relative_to(sdist).as_posix() for path in sdist.rglob("*")]
    built = re.compile(r"\.(so|pyd|c|pyc|gz|whl)$|(^|/)(build|dist|__pycache__|\.[^/]+)(/|$)")
    assert [path for path in paths if built.search(path)] == []


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """Not what it is compiled from, which is of no use to whoever has installed it, and no tests."""
    found = {name for name in files(wheel) if ".dist-info/" not in name}
    package = {f"anyq/{name}" for name in files(ROOT / "anyq")}
    assert found == {name for name in package if Path(name).suffix not in SOURCES}
    assert {Path(name).suffix for name in found} == {".py", ".pyi", ".typed"}


def test_the_wheel_works_where_nothing_was_compiled(wheel: Path, tmp_path: Path) -> None:
    """In a fresh interpreter, with no checkout in sight. Every module can be imported."""
    file, implementation, released, compiled = run("-I", "-c", IMPORT, wheel, cwd=tmp_path).split()
    assert [file, implementation] == [str(wheel / "anyq" / "__init__.py"), "python"]
    assert compiled == str(wheel / "anyq" / "compiled")
    assert [path.name for path in wheel.glob("*.dist-info")] == [f"anyq-{released}.dist-info"]


def test_its_commands_and_dialects_are_there(wheel: Path, tmp_path: Path) -> None:
    (path,) = wheel.glob("*.dist-info/entry_points.txt")
    found = re.findall(r"^([\w.]+) = ([\w.]+):(\w+)$", path.read_text("utf-8"), re.MULTILINE)
    assert {name for name, _, _ in found} == {"anyq", "postgresql.anyq", "postgresql.anyq_async"}
    for _, module, attribute in found:
        if "sqlalchemy" in module and find_spec("sqlalchemy") is None:
            continue
        load = (
            f"import sys; sys.path.insert(0, sys.argv[1]); from {module} import {attribute} as it; print(it.__name__)"
        )
        assert run("-I", "-c", load, wheel, cwd=tmp_path) == attribute


def test_the_licence(wheel: Path, metadata: Message) -> None:
    """One, of the package's own: nothing of anybody else's is in it."""
    assert (metadata["License-Expression"], metadata.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert not [name for name in metadata.get_all("Classifier", []) if name.startswith("License ::")]
    (path,) = wheel.glob("*.dist-info/licenses/LICENSE")
    assert path.read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert path.read_text("utf-8").startswith("MIT License")


def test_the_classifiers_are_true(metadata: Message) -> None:
    classifiers = metadata.get_all("Classifier", [])
    minors = [int(name.rpartition(".")[2]) for name in classifiers if re.fullmatch(r".* :: Python :: 3\.\d+", name)]
    # The oldest that pip installs it on, and those that .ci/run looks for, with none left out.
    assert metadata["Requires-Python"] == f">=3.{minors[0]}"
    assert f"for minor in {' '.join(map(str, minors))};" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert ("Typing :: Typed" in classifiers) == (ROOT / "anyq" / "py.typed").is_file()
    for loop in ("AnyIO", "AsyncIO", "Trio"):
        assert f"Framework :: {loop}" in classifiers


def test_the_readme_is_the_description(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text("utf-8")
