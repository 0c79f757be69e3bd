"""Set up a virtual environment inside the checkout, then run the demo or the tests in it.

    python3 tests/bootstrap.py try  [arguments of `anyq demo`]
    python3 tests/bootstrap.py test [--no-checks] [arguments of pytest]

Knows the standard library only, since it runs before anything is installed; works as root and as a normal
user. A second run installs nothing, unless pyproject.toml or the sources of the compiled path have changed. Each
interpreter has an environment of its own, so that several versions can be tested in one checkout.
"""

import os
import sys

# Python put this folder first on the path, where tests/types/ would hide the standard library's `types`.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]

import hashlib  # noqa: E402
import json  # noqa: E402
import shlex  # noqa: E402
import subprocess  # noqa: E402
from glob import glob  # noqa: E402

MINIMUM = (3, 10)
ROOT = os.path.dirname(HERE)
VENV = os.path.join(ROOT, ".venv", "%s-%d.%d" % ((sys.implementation.name,) + sys.version_info[:2]))  # noqa: UP031
MARKER = os.path.join(VENV, "anyq-installed.json")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(BIN, "python.exe" if os.name == "nt" else "python")
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


def installed_state(extra):
    """What a finished installation is recorded as: the same value means that nothing is left to do."""
    digest = hashlib.sha256()
    compiled = sorted(glob(os.path.join(ROOT, "anyq", "_accel", "*.p[yx][xdi]")))
    for path in [os.path.join(ROOT, "pyproject.toml"), os.path.join(ROOT, "setup.py"), *compiled]:
        with open(path, "rb") as file:
            digest.update(file.read())
    # The checkout's place counts too: environments and editable installs do not survive being moved.
    return {"root": ROOT, "sources": digest.hexdigest(), "extra": extra, "build": os.environ.get("ANYQ_BUILD", "")}


def recorded_state():
    """Return what the last installation that finished is recorded as, an empty record if none did."""
    try:
        with open(MARKER) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def has_pip():
    return quietly(PYTHON, "-m", "pip", "--version") == 0


def make_environment():
    """Create the environment, with pip in it even where the interpreter comes without ensurepip (Debian)."""
    say("making a virtual environment in " + os.path.relpath(VENV, ROOT))
    if quietly(sys.executable, "-c", "import ensurepip") == 0:
        if run(sys.executable, "-m", "venv", "--clear", VENV) == 0 and has_pip():
            return
        say("that did not bring pip; putting it there with the pip of " + sys.executable)
    if run(sys.executable, "-m", "venv", "--clear", "--without-pip", VENV) != 0:
        fail("cannot make a virtual environment with " + sys.executable + "; see above")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
    site = subprocess.check_output([PYTHON, "-c", ask]).decode()
    if run(sys.executable, "-m", "pip", "install", "--quiet", "--target", site, "pip") != 0 or not has_pip():
        fail("cannot install pip into the environment; install pip (or ensurepip) for " + sys.executable)


def set_up(extra):
    found = recorded_state()
    # Everything of `demo` is in `test` as well.
    if found in (installed_state(extra), installed_state("test")) and quietly(PYTHON, "-c", "import anyio") == 0:
        return
    if found.get("root") != ROOT or not has_pip():
        make_environment()
    else:
        os.remove(MARKER)
    say("installing anyq with the extra '" + extra + "' (a minute or two at the first run, nothing later)")
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if run(*pip, "--editable", ".[" + extra + "]") != 0:
        fail("installing failed; see above")
    with open(MARKER, "w") as file:
        json.dump(installed_state(extra), file)


def try_it(arguments):
    set_up("demo")
    say("running the demo")
    return run(PYTHON, "-m", "anyq", "demo", *arguments)


def run_checks():
    """Run linter and type checkers, return the names of those that failed."""
    # The interpreter's own Node.js, installed with the extra, and not whatever version the machine may have.
    os.environ["PYRIGHT_PYTHON_GLOBAL_NODE"] = "off"
    os.environ["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
    failed = []
    for name, command in (
        ("ruff", ["-m", "ruff", "check", "."]),
        ("mypy", ["-m", "mypy"]),
        ("pyright", ["-m", "pyright", "--pythonpath", PYTHON]),
    ):
        say("checking with " + name)
        if name == "pyright" and quietly(PYTHON, "-m", "pyright", "--version") != 0:
            print("!" * 78)
            print("!! PYRIGHT WAS NOT RUN: it needs Node.js, and has none that works on this machine.")
            print("!" * 78, flush=True)
        elif run(PYTHON, *command) != 0:
            failed.append(name)
    return failed


def test_it(arguments):
    set_up("test")
    failed = []
    if "--no-checks" in arguments:
        arguments = [argument for argument in arguments if argument != "--no-checks"]
    else:
        failed = run_checks()
    ask = "import anyq; print(anyq.__impl__)"
    implementation = subprocess.run([PYTHON, "-c", ask], cwd=ROOT, stdout=subprocess.PIPE).stdout.decode().strip()
    say("testing with pytest on Python %s, implementation: %s" % (sys.version.split()[0], implementation or "none"))  # noqa: UP031
    # One more than there are processors: a test waits for its server for a part of the time.
    workers = str(min((os.cpu_count() or 1) + 1, MAX_WORKERS))
    # Later options win, so `-n 0` among the caller's gives a single process again.
    if run(PYTHON, "-m", "pytest", "-n", workers, *arguments) != 0:
        failed.append("pytest")
    say("failed: " + ", ".join(failed) if failed else "everything passed")
    return 1 if failed else 0


def main():
    commands = {"try": try_it, "test": test_it}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print(__doc__.strip())
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    if sys.version_info < MINIMUM:
        fail("needs Python 3.10 or newer, and this is %s (%s)" % (sys.version.split()[0], sys.executable))  # noqa: UP031
    # A Python that runs inside another environment must not leak that one's settings into ours.
    for name in ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX", "PIP_USER"):
        os.environ.pop(name, None)
    try:
        return commands[sys.argv[1]](sys.argv[2:])
    except PermissionError as error:
        fail("cannot write in the checkout (%s); copy it to a folder of your own" % error)  # noqa: UP031
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
