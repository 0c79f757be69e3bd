"""Models with a field of each kind that PostgreSQL's backend treats in its own way."""

from __future__ import annotations

from django.contrib.postgres.fields import (
    ArrayField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    IntegerRangeField,
)
from django.db import models


class Star(models.Model):
    """What planets go around."""

    name = models.CharField(max_length=40, unique=True)
    seen = models.DateTimeField(null=True)


class Planet(models.Model):
    """What goes around a star."""

    star = models.ForeignKey(Star, models.CASCADE, related_name="planets")
    name = models.CharField(max_length=40, db_default="it's 100% new")
    moons = models.PositiveSmallIntegerField(default=0)
    mass = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    habitable = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(moons__lt=1000), name="not_too_many"),
            models.UniqueConstraint(
                fields=["star", "name"], name="one_of_a_name", deferrable=models.Deferrable.DEFERRED
            ),
        ]
        indexes = [models.Index(fields=["name"], condition=models.Q(habitable=True), name="habitable_planets")]


class Reading(models.Model):
    """A value of each type."""

    key = models.UUIDField(primary_key=True)
    data = models.JSONField(null=True)
    tags = ArrayField(models.CharField(max_length=20), default=list)
    grid = ArrayField(ArrayField(models.IntegerField()), null=True)
    numbers = IntegerRangeField(null=True)
    share = DecimalRangeField(null=True)
    days = DateRangeField(null=True)
    period = DateTimeRangeField(null=True)
    raw = models.BinaryField(null=True)
    address = models.GenericIPAddressField(null=True)
    took = models.DurationField(null=True)
    at = models.TimeField(null=True)
    day = models.DateField(null=True)
    level = models.FloatField(null=True)
    big = models.BigIntegerField(null=True)
