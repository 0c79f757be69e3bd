"""Django, on its backend for PostgreSQL, which is written for psycopg."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import LONG_PATIENCE, PATIENCE, run_checks, run_for_psycopg
from tests.support.server import Server

#: It is three processes, one after the other.
pytestmark = [pytest.mark.once, pytest.mark.checkout, pytest.mark.timeout(2 * PATIENCE + LONG_PATIENCE + 15)]


def test_a_project(server: Server, own_schema: str, tmp_path: Path) -> None:
    """Its migrations are made and run by Django's command line, then what `programs/django_checks.py` has."""
    django = pytest.importorskip("django", reason="needs Django")
    if django.VERSION >= (6, 1) and int(server.psql("SHOW server_version_num")) < 150000:
        pytest.skip("this version of Django needs PostgreSQL 15")
    migrations = tmp_path / "planets_migrations"
    migrations.mkdir()
    (migrations / "__init__.py").touch()
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.programs.django_settings",
        "ANYQ_PROGRAM_MIGRATIONS": migrations.name,
        "PYTHONPATH": str(tmp_path),
    }
    program = {**env, "ANYQ_PROGRAM_DSN": server.dsn, "ANYQ_PROGRAM_SCHEMA": own_schema}
    assert "Create model Planet" in run_for_psycopg(
        "-m", "django", "makemigrations", "planets", patience=PATIENCE, **program
    )
    assert "Applying planets.0001_initial... OK" in run_for_psycopg(
        "-m", "django", "migrate", patience=PATIENCE, **program
    )
    run_checks("django_checks", server.dsn, own_schema, **env)
