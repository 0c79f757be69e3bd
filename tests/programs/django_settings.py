"""Settings of a Django project, as they are for psycopg but for the first two lines.

`ANYQ_PROGRAM_DSN` has a connection string of anyq's kind, `ANYQ_PROGRAM_SCHEMA` the schema that the tables are in, and
`ANYQ_PROGRAM_MIGRATIONS` the package of the migrations.
"""

from __future__ import annotations

import os
from typing import Any

import anyq.contrib.psycopg
from anyq.conninfo import conninfo_to_dict

anyq.contrib.psycopg.install()

_given = conninfo_to_dict(os.environ["ANYQ_PROGRAM_DSN"])
_options = {"options": f"-c search_path={os.environ['ANYQ_PROGRAM_SCHEMA']},public"}


def _database(**options: Any) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _given.get("dbname", ""),
        "USER": _given.get("user", ""),
        "PASSWORD": _given.get("password", ""),
        "HOST": _given.get("host", ""),
        "PORT": _given.get("port", ""),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**_options, **options},
    }


DATABASES = {
    "default": _database(),
    "binding": _database(server_side_binding=True, prepare_threshold=2),
    "pooled": _database(pool={"min_size": 1, "max_size": 4, "timeout": 10}),
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.postgres",
    "tests.programs.planets",
]
MIGRATION_MODULES = {"planets": os.environ["ANYQ_PROGRAM_MIGRATIONS"]}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
# The quickest one that Django has.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "of no use"
