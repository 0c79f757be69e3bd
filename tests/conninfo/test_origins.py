"""Which options are given, and where each comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyq.conninfo.origins import Origin, collect
from anyq.errors import ProgrammingError


@pytest.fixture
def services(tmp_path: Path) -> str:
    path = tmp_path / "services"
    path.write_text("[app]\nhost=service\nport=1\nuser=service\npassword=s\n")
    return str(path)


def test_each_has_its_origin(services: str) -> None:
    environ = {"PGHOST": "environment", "PGDATABASE": "environment", "PGPORT": "2", "PGSERVICEFILE": services}
    values, origins = collect("service=app host=string", {"port": 3, "sslmode": "disable"}, environ)
    assert values == {
        "service": "app",
        "host": "string",
        "port": "3",
        "sslmode": "disable",
        "user": "service",
        "password": "s",
        "dbname": "environment",
        "servicefile": services,
    }
    assert origins["host"] == origins["host"]._replace(kind="argument")
    assert origins["user"] == Origin("user", "service", "app", services)
    assert origins["dbname"] == Origin("dbname", "environment", "PGDATABASE")
    assert {keyword: str(origin) for keyword, origin in origins.items() if keyword in ("port", "user", "dbname")} == {
        "port": "connection option 'port'",
        "user": "option 'user' of the service 'app'",
        "dbname": "environment variable PGDATABASE",
    }


def test_an_empty_value_hides_what_comes_after() -> None:
    values, origins = collect("host=''", {}, {"PGHOST": "h", "PGPORT": ""})
    assert values == {}
    assert (origins["host"].kind, origins["port"].kind) == ("argument", "environment")


@pytest.mark.parametrize("value", ["1", "123"])
def test_the_obsolete_form_of_sslmode(value: str) -> None:
    values, origins = collect("", {}, {"PGREQUIRESSL": value})
    assert (values, str(origins["sslmode"])) == ({"sslmode": "require"}, "environment variable PGREQUIRESSL")
    values, _ = collect("", {}, {"PGREQUIRESSL": value, "PGSSLMODE": "disable"})
    assert values == {"sslmode": "disable"}
    assert collect("", {}, {"PGREQUIRESSL": "0"}) == ({}, {})


def test_a_service_that_is_not_there(services: str) -> None:
    with pytest.raises(ProgrammingError, match="has no definition"):
        collect("", {}, {"PGSERVICE": "other", "PGSERVICEFILE": services, "PGSYSCONFDIR": "/nowhere"})
