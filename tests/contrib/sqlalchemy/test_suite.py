"""SQLAlchemy's own tests for dialects pass, on engines of both kinds.

They come with SQLAlchemy and run in a process of their own, with its plugin for pytest, on a database of their own.
Half of them, the slower ones, make tables and look at them in many variants that differ in SQLAlchemy only. They run
where ANYQ_TEST_SQLALCHEMY is `all`; of what a driver has to do with them, test_dialect.py has a test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import anyq
from anyq.conninfo import make_conninfo
from tests.support.engines import url_of

pytestmark = pytest.mark.once

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

LEFT_OUT = ["ComponentReflectionTest", "BizarroCharacterTest", "TableViaSelectTest", "InsertBehaviorTest", "DDLTest"]

#: Tests that pass at least, of SQLAlchemy 2.0, which has fewer: less would say that the suite was not found, or that
#: its requirements are not met.
LEAST = {"all": 1500, "": 700}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("driver", ["anyq", "anyq_async"])
def test_suite(driver: str, dsn: str) -> None:
    which = os.environ.get("ANYQ_TEST_SQLALCHEMY", "")
    name = f"anyq_suite_{driver}"
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        # Some tests are about several schemas, whose names the suite knows.
        with anyq.connect(make_conninfo(dsn, dbname=name), autocommit=True) as conn:
            conn.execute("CREATE SCHEMA test_schema; CREATE SCHEMA test_schema_2")
        passed = run(url_of(make_conninfo(dsn, dbname=name), driver).render_as_string(hide_password=False), which)
    finally:
        with anyq.connect(dsn, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert passed >= LEAST[which]


def run(url: str, which: str) -> int:
    """Run the suite on a database; return how many tests have passed."""
    options = ["--rootdir", str(HERE), "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider", "-q", "--tb=short"]
    plugins = ["-p", "tests.contrib.sqlalchemy.suite_plugin", "-p", "no:anyio", "-p", "no:trio"]
    found = ["-o", "python_files=dialect_suite.py", str(HERE / "dialect_suite.py")]
    chosen = [] if which == "all" else ["-k", " and ".join(f"not {name}" for name in LEFT_OUT)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugins, *found, *chosen, "--dburi", url],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    return int(passed[1])
