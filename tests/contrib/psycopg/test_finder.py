"""Modules of anyq's under psycopg's names: who finds them, when, and what they are."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from types import ModuleType

import pytest

import anyq.contrib.psycopg
from anyq.contrib.psycopg.finder import FINDER, is_standing_in
from anyq.contrib.psycopg.modules import POOL_VERSION, PSYCOPG_VERSION
from tests.support.programs import run_for_psycopg, run_python

pytestmark = pytest.mark.checkout

INSTALLED = "import sys, anyq.contrib.psycopg\nanyq.contrib.psycopg.install()\n"


def test_names_are_anyq_s() -> None:
    """Identical, so that isinstance() and `except` hold on both sides; and what anyq's modules are does not change."""
    run_for_psycopg(
        "-c",
        "import psycopg, psycopg_pool, anyq, anyq.pool, importlib\n"
        "import psycopg.rows, psycopg.types.json, psycopg.types.hstore, psycopg.client_cursor, psycopg.sql as sql\n"
        "from psycopg import Connection, errors, pq\n"
        "from psycopg.types import range as ranges\n"
        "import psycopg_pool.pool_async\n"
        "assert Connection is psycopg.Connection is psycopg.connection.Connection is anyq.Connection\n"
        "assert psycopg.AsyncConnection is anyq.AsyncConnection\n"
        "assert psycopg.errors is errors is anyq.errors and pq is anyq.pq and sql is anyq.sql\n"
        "assert psycopg.rows is anyq.rows and psycopg.types.json is anyq.types.json and ranges is anyq.types.range\n"
        "assert psycopg.types.hstore is anyq.types.hstore and psycopg.adapters is anyq.adapters\n"
        "assert psycopg_pool.AsyncConnectionPool is anyq.pool.AsyncConnectionPool\n"
        "assert psycopg_pool.pool_async.AsyncConnectionPool is anyq.pool.AsyncConnectionPool\n"
        "assert psycopg.client_cursor.ClientCursor is psycopg.ClientCursor is anyq.ClientCursor\n"
        "assert issubclass(psycopg.Connection, psycopg.BaseConnection)\n"
        "assert anyq.rows.__name__ == anyq.rows.__spec__.name == 'anyq.rows' and anyq.rows.__package__ == 'anyq'\n"
        "assert importlib.reload(psycopg).Connection is anyq.Connection\n"
        "assert anyq.types.__spec__.name == 'anyq.types'\n",
    )


def test_names_do_not_come_late() -> None:
    """SQLAlchemy copies the names of the module, so that they have to be there."""
    run_for_psycopg(
        "-c",
        "import psycopg\n"
        "names = dict(psycopg.__dict__)\n"
        "for name in (*psycopg.__all__, 'rows', 'sql', 'types', 'client_cursor', 'adapters', '__version__'):\n"
        "    assert name in names, name\n"
        "assert 'json' in vars(psycopg.types)\n",
    )


NOT_THERE = {
    "import psycopg.crdb": r"ModuleNotFoundError: .*'psycopg\.crdb': psycopg is anyq here.* CockroachDB is not",
    "import psycopg.types.nothing": r"ModuleNotFoundError: .*'psycopg\.types\.nothing': psycopg is anyq here",
    "import psycopg.types._range_values": r"ModuleNotFoundError: .* psycopg is anyq here",
    "import psycopg.session.wire": r"ModuleNotFoundError: .* psycopg is anyq here",
    "import psycopg_pool.sched": r"ModuleNotFoundError: .*'psycopg_pool\.sched': psycopg_pool is anyq here",
    "from psycopg import crdb": r"ImportError: cannot import name 'crdb' from 'psycopg' .*anyq.contrib.psycopg",
    "from psycopg.pq import PGconn": r"ImportError: cannot import name 'PGconn' from 'anyq\.pq'",
    "import psycopg; psycopg.nothing": r"AttributeError: .*'psycopg' has no attribute 'nothing': it is anyq here",
    "import psycopg; assert not hasattr(psycopg, 'crdb'); psycopg.connect(0)": "TypeError",
}
"""Statements, and what becomes of them."""


def test_what_is_not_there() -> None:
    """The error says that it is not psycopg that has been asked."""
    output = run_for_psycopg(
        "-c",
        f"for statement in {list(NOT_THERE)}:\n"
        "    try: exec(statement, {})\n"
        "    except Exception as error: print(f'{type(error).__name__}: {error}')\n"
        "    else: print('nothing')",
    )
    for line, why in zip(output.splitlines(), NOT_THERE.values(), strict=True):
        assert re.match(why, line.replace(os.sep, ".")), line


def test_psycopg_that_is_imported_already() -> None:
    done = run_python(
        "-c",
        "import sys, types, anyq.contrib.psycopg\n"
        "before = list(sys.meta_path)\n"
        "for name, file in (('psycopg', None), ('psycopg_pool', '/somewhere/__init__.py')):\n"
        "    sys.modules[name] = module = types.ModuleType(name)\n"
        "    module.__file__ = file\n"
        "    try: anyq.contrib.psycopg.install()\n"
        "    except ImportError as error: print(error.name, error)\n"
        "    del sys.modules[name]\n"
        "assert sys.meta_path == before and not hasattr(anyq.Connection, '_pool')\n",
    )
    advice = "call anyq.contrib.psycopg.install() before whatever imports it"
    assert (done.stderr, done.stdout.splitlines()) == (
        "",
        [
            f"psycopg psycopg is imported already, from somewhere: {advice}",
            f"psycopg_pool psycopg_pool is imported already, from /somewhere/__init__.py: {advice}",
        ],
    )


def test_in_place_twice_and_given_up() -> None:
    done = run_python(
        "-c",
        f"{INSTALLED}import psycopg, psycopg_pool, anyq\n"
        "standing_in = psycopg\n"
        "anyq.contrib.psycopg.install()\n"
        "import psycopg\n"
        "assert psycopg is standing_in and len(sys.meta_path) == len(set(map(id, sys.meta_path)))\n"
        "assert hasattr(anyq.Connection, '_pool')\n"
        "anyq.contrib.psycopg.uninstall()\n"
        "anyq.contrib.psycopg.uninstall()\n"
        "assert not [name for name in sys.modules if name.startswith('psycopg')]\n"
        "assert not hasattr(anyq.Connection, '_pool') and 'anyq.rows' in sys.modules\n"
        "try: import psycopg\n"
        "except ImportError: pass\n"
        "else: assert psycopg.Connection is not anyq.Connection and not hasattr(psycopg, 'listen')\n"
        "for name in [name for name in sys.modules if name.startswith('psycopg')]: del sys.modules[name]\n"
        "anyq.contrib.psycopg.install()\n"
        "import psycopg\n"
        "assert psycopg is not standing_in and psycopg.Connection is anyq.Connection\n",
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    code = "import sys, anyq, anyq.pool\nassert not [name for name in sys.modules if name.startswith('anyq.contrib')]"
    assert run_python("-c", code).stderr == ""


def test_the_version_that_is_installed() -> None:
    found = run_for_psycopg(
        "-c",
        "from importlib.metadata import version, metadata\n"
        "print(version('psycopg'), version('Psycopg-Pool'), version('psycopg_pool'), metadata('psycopg')['Name'])\n"
        "print(version('anyio'))",
    )
    assert found.splitlines() == [
        f"{PSYCOPG_VERSION} {POOL_VERSION} {POOL_VERSION} psycopg",
        importlib.metadata.version("anyio"),
    ]


def test_other_modules_are_not_its_concern() -> None:
    assert FINDER not in sys.meta_path
    for name in ("psycopg2", "psycopg_binary", "anyq", "json"):
        assert FINDER.find_spec(name, None) is None
    assert not list(FINDER.find_distributions())
    assert not is_standing_in(ModuleType("psycopg"))
    assert not is_standing_in(sys)


def test_giving_up_what_is_not_held() -> None:
    before = list(sys.meta_path), set(sys.modules)
    anyq.contrib.psycopg.uninstall()
    assert (list(sys.meta_path), set(sys.modules)) == before
