"""What a Django project does with its database, looked at by Django's own means.

Tests of an inner pytest, which `tests/contrib/psycopg/test_django.py` runs once the project is migrated.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.programs.django_settings"

import django

django.setup()

import psycopg  # noqa: E402 - the settings have put anyq in its place
from asgiref.sync import sync_to_async  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402 - after setup()
from django.contrib.postgres.aggregates import ArrayAgg  # noqa: E402
from django.contrib.postgres.search import SearchVector  # noqa: E402
from django.contrib.postgres.signals import get_citext_oids  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, IntegrityError, OperationalError, connections, models, transaction  # noqa: E402
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange, NumericRange  # noqa: E402
from django.db.models import Avg, Count, F, Q, Value  # noqa: E402
from django.db.models.functions import Concat, Now, TruncDay  # noqa: E402
from django.db.transaction import TransactionManagementError  # noqa: E402
from django.utils import timezone  # noqa: E402
from psycopg.types import range as ranges  # noqa: E402

import anyq  # noqa: E402
from tests.programs.planets.models import Planet, Reading, Star  # noqa: E402
from tests.support.types import stand_in_script  # noqa: E402

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(params=["default", "binding", "pooled"])
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database whose tables are empty before and after."""
    name: str = request.param
    yield name
    for model in (Planet, Star, Reading, User):
        model.objects.using(name).all().delete()
    connections[name].close()


@pytest.fixture
def sun(alias: str) -> Any:
    sun = Star.objects.using(alias).create(name="Sun", seen=datetime.datetime(2026, 7, 1, 12, tzinfo=BERLIN))
    names = [("Mercury", 0), ("Earth", 1), ("Mars", 2), ("Neptune", 16)]
    Planet.objects.using(alias).bulk_create(Planet(star=sun, name=name, moons=moons) for name, moons in names)
    return sun


@pytest.fixture(scope="session", autouse=True)
def pools_closed() -> Iterator[None]:
    yield
    for connection in connections.all():
        connection.close()
    connections["pooled"].close_pool()


@pytest.fixture
def citext(alias: str) -> Iterator[None]:
    """A database that has a type of that name, to which nothing is connected yet that does not know it."""

    def execute(script: str) -> None:
        with anyq.connect(os.environ["ANYQ_PROGRAM_DSN"], autocommit=True) as conn:
            conn.execute(f"SET search_path = {os.environ['ANYQ_PROGRAM_SCHEMA']}; {script}")

    def connect_anew() -> None:
        get_citext_oids.cache_clear()
        connections[alias].close()
        connections["pooled"].close_pool()

    try:
        execute(stand_in_script("citext", "text"))
    except anyq.errors.InsufficientPrivilege:
        pytest.skip("needs a superuser")
    connect_anew()
    yield
    execute("DROP TYPE citext CASCADE")
    connect_anew()


def value_of(alias: str, query: str, parameters: Any = None) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


def test_it_is_anyq(alias: str) -> None:
    connections[alias].ensure_connection()
    driver: Any = psycopg
    assert driver.Connection is anyq.Connection
    assert type(connections[alias].connection) is anyq.Connection
    assert isinstance(connections[alias].connection, psycopg.BaseConnection)
    assert connections[alias].pg_version == connections[alias].connection.info.server_version


def test_the_orm(alias: str, sun: Any) -> None:
    planets = Planet.objects.using(alias)
    assert list(planets.filter(moons__gt=0).order_by("name").values_list("name", flat=True)) == [
        "Earth",
        "Mars",
        "Neptune",
    ]
    assert list(planets.filter(Q(name__icontains="AR") & ~Q(name__startswith="M"))) == [planets.get(name="Earth")]
    assert planets.filter(name__contains="%").count() == 0
    assert planets.filter(name__in=["Mars", "Pluto"], star__name="Sun").exists()
    assert planets.filter(pk__in=planets.filter(moons=2).values("pk")).update(moons=F("moons") + 1) == 1
    assert planets.aggregate(Avg("moons"), Count("pk")) == {"moons__avg": 5.0, "pk__count": 4}
    assert planets.get(name="Mars").moons == 3
    assert planets.filter(name__regex=r"^M.*s$").annotate(
        full=Concat("star__name", Value(": "), "name")
    ).get().full == ("Sun: Mars")
    named = Star.objects.using(alias).annotate(names=ArrayAgg("planets__name", order_by=["planets__name"]))
    assert named.get().names == ["Earth", "Mars", "Mercury", "Neptune"]
    again, created = planets.get_or_create(star=sun, name="Earth")
    assert (again.moons, created) == (1, False)
    assert planets.update_or_create(star=sun, name="Venus", defaults={"mass": Decimal("0.8150")})[1]
    assert planets.get(name="Venus").mass == Decimal("0.8150")
    assert planets.create(star=sun).name == "it's 100% new"
    assert [planet.star.name for planet in planets.select_related("star")[:2]] == ["Sun", "Sun"]
    assert len(Star.objects.using(alias).prefetch_related("planets").get().planets.all()) == 6
    assert planets.annotate(search=SearchVector("name", config="english")).filter(search="Neptune").count() == 1
    assert sun.delete() == (7, {"planets.Planet": 6, "planets.Star": 1})


def test_values_of_each_type(alias: str) -> None:
    utc = datetime.timezone.utc
    begin = datetime.datetime(2026, 1, 1, tzinfo=utc)
    given: dict[str, Any] = {
        "data": {"name": "it's %s", "list": [1, 2.5, None, True], "deep": {"ä": "\\"}},
        "tags": ["a", "it's", 'quo"te', "", "ä,{}"],
        "grid": [[1, 2], [3, 4]],
        "numbers": NumericRange(1, 10),
        "share": NumericRange(Decimal("0.5"), None),
        "days": ranges.Range(datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)),
        "period": DateTimeTZRange(begin, begin + datetime.timedelta(days=1)),
        "raw": b"\x00\xff'\\",
        "address": "fe80::1",
        "took": datetime.timedelta(days=2, seconds=3, microseconds=4),
        "at": datetime.time(12, 30, 1, 5),
        "day": datetime.date(2026, 2, 28),
        "level": 0.1,
        "big": -(2**63),
    }
    key = uuid.uuid4()
    readings = Reading.objects.using(alias)
    readings.create(key=key, **given)
    found = readings.get(pk=key)
    assert {
        name: bytes(value) if isinstance(value := getattr(found, name), memoryview) else value for name in given
    } == given
    for name, value in given.items():
        if name not in ("data", "raw"):
            assert readings.filter(**{name: value}).get() == found, name
    empty = readings.create(key=uuid.uuid4())
    empty.refresh_from_db()
    assert all(getattr(empty, name) is None for name in given if name != "tags")
    readings.filter(pk=key).update(data=Value(None, models.JSONField()))
    assert readings.filter(data=Value(None, models.JSONField())).get().data is None


def test_lookups_of_postgresql(alias: str) -> None:
    readings = Reading.objects.using(alias)
    one = readings.create(
        key=uuid.uuid4(),
        data={"a": {"b": [10, 20]}, "name": "x"},
        tags=["red", "green"],
        numbers=NumericRange(1, 10),
        period=DateTimeTZRange(datetime.datetime(2026, 1, 1, tzinfo=BERLIN), None),
        address="10.0.0.1",
    )
    for lookup in (
        {"data__a__b__1": 20},
        {"data__contains": {"name": "x"}},
        {"data__has_key": "a"},
        {"data__has_any_keys": ["a", "nothing"]},
        {"data__name__in": ["x", "y"]},
        {"data__name__icontains": "X"},
        {"tags__contains": ["red"]},
        {"tags__overlap": ["red", "blue"]},
        {"tags__contained_by": ["red", "green", "blue"]},
        {"tags__len": 2},
        {"tags__0": "red"},
        {"tags__0__startswith": "r"},
        {"numbers__contains": 5},
        {"numbers__contains": NumericRange(2, 3)},
        {"numbers__overlap": NumericRange(9, 12)},
        {"numbers__fully_lt": NumericRange(11, 15)},
        {"numbers__startswith__lte": 1},
        {"period__contains": timezone.now()},
        {"period__upper_inf": True},
        {"address": "10.0.0.1"},
        {"address__startswith": "10."},
    ):
        assert list(readings.filter(**lookup)) == [one], lookup
        assert list(readings.exclude(**lookup)) == [], lookup


def test_times_are_in_the_zone_that_is_set(alias: str, sun: Any) -> None:
    assert value_of(alias, "SHOW timezone") == "UTC"
    found = Star.objects.using(alias).get()
    assert found.seen == sun.seen
    assert found.seen.tzinfo is datetime.timezone.utc
    day = Star.objects.using(alias).annotate(day=TruncDay("seen")).get().day
    assert (day.isoformat(), day.tzinfo) == ("2026-07-01T00:00:00+02:00", BERLIN)
    assert value_of(alias, "SELECT now() - %s < interval '1 minute'", [timezone.now()])
    assert abs(Star.objects.using(alias).annotate(now=Now()).get().now - timezone.now()) < datetime.timedelta(minutes=1)


def test_transactions(alias: str, sun: Any) -> None:
    done: list[str] = []
    planets = Planet.objects.using(alias)
    with transaction.atomic(using=alias):
        planets.create(star=sun, name="Venus")
        with pytest.raises(IntegrityError) as caught, transaction.atomic(using=alias):
            planets.create(star=sun, name="Jupiter", moons=1000)
        assert isinstance(caught.value.__cause__, psycopg.errors.CheckViolation)
        assert caught.value.__cause__.diag.constraint_name == "not_too_many"
        transaction.on_commit(lambda: done.append("committed"), using=alias)
        assert planets.select_for_update(of=("self",), skip_locked=True).filter(name="Venus").count() == 1
        assert done == []
    assert done == ["committed"]
    assert planets.filter(name__in=["Venus", "Jupiter"]).count() == 1
    with pytest.raises(IntegrityError, match="one_of_a_name"), transaction.atomic(using=alias):
        planets.create(star=sun, name="Venus")  # the constraint is deferred, so this is what COMMIT says
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
        planets.all().delete()
        raise ZeroDivisionError
    assert planets.count() == 5
    with pytest.raises(TransactionManagementError):
        list(planets.select_for_update())
    with pytest.raises(TransactionManagementError), transaction.atomic(using=alias):
        with pytest.raises(DatabaseError):
            value_of(alias, "SELECT 1 / 0")
        connections[alias].needs_rollback = True
        planets.count()
    transaction.set_autocommit(False, using=alias)
    try:
        planets.all().delete()
        transaction.rollback(using=alias)
        planets.filter(name="Venus").delete()
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    assert planets.count() == 4


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "autocommit"])
def test_server_side_cursors(alias: str, sun: Any, atomic: bool) -> None:
    planets = Planet.objects.using(alias)
    planets.bulk_create([Planet(star=sun, name=f"P{number:04}") for number in range(250)], batch_size=100)

    def look() -> None:
        rows = planets.filter(name__startswith="P").order_by("name").iterator(chunk_size=100)
        names = [next(rows).name]
        open_cursors = "SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_django%%' AND is_holdable = %s"
        assert value_of(alias, open_cursors, [not atomic]) == 1
        names += [planet.name for planet in rows]
        assert names == [f"P{number:04}" for number in range(250)]
        # Left early.
        rows = planets.order_by("name").iterator(chunk_size=2)
        next(rows)
        rows.close()
        assert value_of(alias, "SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_django%%'") == 0
        stars = Star.objects.using(alias).values_list("seen", flat=True).iterator()
        assert [seen.tzinfo for seen in stars] == [datetime.timezone.utc]

    if atomic:
        with transaction.atomic(using=alias):
            look()
    else:
        look()


def test_a_lost_connection(alias: str, sun: Any) -> None:
    before = value_of(alias, "SELECT pg_backend_pid()")
    other = "binding" if alias != "binding" else "default"
    value_of(other, "SELECT pg_terminate_backend(%s, 10000)", [before])
    connections[other].close()
    if alias == "pooled":
        # Django gives it back, and the pool has another one.
        connections[alias].close()
    else:
        with pytest.raises(OperationalError) as caught:
            Star.objects.using(alias).count()
        assert isinstance(caught.value.__cause__, psycopg.errors.AdminShutdown)
        assert not connections[alias].is_usable()
        # As at the end of each request.
        connections[alias].close_if_unusable_or_obsolete()
    assert Star.objects.using(alias).count() == 1
    assert value_of(alias, "SELECT pg_backend_pid()") != before
    # With health checks it is seen at the beginning of a request, and nothing fails.
    connections[alias].close_if_unusable_or_obsolete()
    value_of(other, "SELECT pg_terminate_backend(%s, 10000)", [value_of(alias, "SELECT pg_backend_pid()")])
    connections[other].close()
    connections[alias].close_if_unusable_or_obsolete()
    if alias == "pooled":
        connections[alias].close()
    assert Star.objects.using(alias).count() == 1


def test_what_is_prepared(alias: str, sun: Any) -> None:
    with transaction.atomic(using=alias):
        for number in range(20):
            Planet.objects.using(alias).filter(moons=number).count()
            list(Planet.objects.using(alias).filter(moons=number).iterator())
        prepared = value_of(alias, "SELECT count(*) FROM pg_prepared_statements")
    assert prepared == 0 if alias != "binding" else prepared > 0


def test_cursors(alias: str, sun: Any) -> None:
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, moons FROM planets_planet WHERE moons > %s ORDER BY name", [0])
        assert [column.name for column in cursor.description] == ["name", "moons"]
        assert (cursor.rowcount, cursor.fetchmany(2), cursor.fetchall()) == (
            3,
            [("Earth", 1), ("Mars", 2)],
            [("Neptune", 16)],
        )
        cursor.executemany(
            "UPDATE planets_planet SET moons = %s WHERE name = %s", [(5, "Mars"), (6, "none"), (7, "Earth")]
        )
        assert cursor.rowcount == 2
        cursor.callproc("lower", ["ABC"])
        assert cursor.fetchone() == ("abc",)
        cursor.execute("SELECT %(a)s || '%%', %(b)s", {"a": "x", "b": None})
        assert cursor.fetchone() == ("x%", None)
        with cursor.copy("COPY (SELECT name FROM planets_planet ORDER BY name LIMIT 2) TO STDOUT") as copy:
            assert list(copy.rows()) == [("Earth",), ("Mars",)]
    # What was executed last, as Django shows it, and what its debug cursor notes.
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, %s", ["it's", 1])
        assert connection.ops.last_executed_query(cursor, "SELECT %s, %s", ["it's", 1]) == "SELECT 'it''s', 1"
        with pytest.raises(DatabaseError):
            cursor.execute("SELECT %s / 0", [1])
        assert connection.ops.last_executed_query(cursor, "SELECT %s / 0", [1]) == "SELECT 1 / 0"
    connection.force_debug_cursor = True
    try:
        Planet.objects.using(alias).filter(name="Mars").exists()
        assert "\"name\" = 'Mars'" in connection.queries[-1]["sql"]
    finally:
        connection.force_debug_cursor = False
    assert Planet.objects.using(alias).filter(name="Mars").explain(analyze=True).startswith("Seq Scan")


def test_the_schema(alias: str, sun: Any) -> None:
    connection = connections[alias]
    field = models.CharField(max_length=40, default="it's 100%")
    field.set_attributes_from_name("remark")
    with connection.schema_editor() as editor:
        editor.add_field(Planet, field)
    try:
        with connection.cursor() as cursor:
            columns = {
                column.name: column
                for column in connection.introspection.get_table_description(cursor, "planets_planet")
            }
            constraints = connection.introspection.get_constraints(cursor, "planets_planet")
            assert "planets_star" in connection.introspection.table_names(cursor)
        assert (columns["remark"].display_size, columns["mass"].precision, columns["mass"].scale) == (40, 12, 4)
        assert constraints["one_of_a_name"]["columns"] == ["star_id", "name"]
        assert constraints["not_too_many"]["check"]
        assert value_of(alias, "SELECT DISTINCT remark FROM planets_planet") == "it's 100%"
    finally:
        with connection.schema_editor() as editor:
            editor.remove_field(Planet, field)


def test_django_s_own_applications(alias: str) -> None:
    user = User.objects.using(alias).create(username="ada", date_joined=datetime.datetime(2026, 1, 1, tzinfo=BERLIN))
    user.set_password("secret")
    user.save()
    found = User.objects.using(alias).get(date_joined__year=2026, is_active=True)
    assert (found, found.check_password("secret")) == (user, True)


def test_a_type_that_is_registered_for_its_arrays_only(alias: str, citext: None) -> None:
    """Django registers citext with the oid 0, so that the array is known and the type is not."""
    for _ in range(5):
        # It is prepared meanwhile, where that is so.
        assert value_of(alias, "SELECT ARRAY['It''s', NULL]::citext[]") == ["It's", None]
        assert value_of(alias, "SELECT 'It''s'::citext") == "It's"
    # Nothing else is of that type.
    assert connections[alias].connection.adapters.types.get(0) is None
    assert value_of(alias, "SELECT pg_typeof(coalesce(%s, ARRAY['x']))::text", [["a", "b"]]) == "text[]"
    assert value_of(alias, "SELECT %s || 'b'", ["a"]) == "ab"


def test_from_coroutines(alias: str, sun: Any) -> None:
    async def main() -> list[str]:
        await Planet.objects.using(alias).acreate(star=sun, name="Venus")
        found = [planet.name async for planet in Planet.objects.using(alias).filter(name__startswith="V")]
        # The one of the thread that this was done in.
        await sync_to_async(connections.close_all)()
        return found

    assert asyncio.run(main()) == ["Venus"]


def test_migrating_back(alias: str) -> None:
    if alias != "default":
        pytest.skip("the databases are one")
    call_command("migrate", "planets", "zero", verbosity=0)
    assert "planets_star" not in connections[alias].introspection.table_names()
    call_command("migrate", verbosity=0)
    assert "planets_star" in connections[alias].introspection.table_names()
