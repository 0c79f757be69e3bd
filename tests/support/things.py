"""A class that no dumper serves, with dumpers and loaders to be registered for it."""

from __future__ import annotations

from anyq.adapt import Dumper, Format, Loader


class Thing:
    """Something without a dumper."""


class ThingDumper(Dumper):
    oid = 60_000

    def dump(self, obj: Thing) -> bytes:
        return b"thing"


class ThingBinaryDumper(ThingDumper):
    format = Format.BINARY

    def dump(self, obj: Thing) -> bytes:
        return b"\0thing"


class ThingLoader(Loader):
    def load(self, data: bytes) -> tuple[str, bytes]:
        return ("thing", data)


class ThingBinaryLoader(ThingLoader):
    format = Format.BINARY
