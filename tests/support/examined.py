"""What `anyq doctor` tells of a connection: a report that keeps the steps."""

from __future__ import annotations

from collections.abc import Mapping

from anyq.cli.doctor import examine
from anyq.cli.doctor_steps import FAILED, Step


class Examined:
    """What an examination has told."""

    def __init__(self) -> None:
        self.about: Mapping[str, str] = {}
        self.steps: list[Step] = []
        self.connected: bool | None = None
        self.error = ""
        self.status = -1

    def begin(self, about: Mapping[str, str]) -> None:
        self.about = about

    def step(self, step: Step) -> None:
        self.steps.append(step)

    def end(self, connected: bool, error: str) -> None:
        self.connected = connected
        self.error = error

    @property
    def outline(self) -> list[str]:
        """The kinds of steps, with what has come of them where that is not ok."""
        return [step.kind + ("" if step.status == "ok" else f" {step.status}") for step in self.steps]

    @property
    def failure(self) -> Step:
        """The first step that has failed."""
        return next(step for step in self.steps if step.status == FAILED)

    @property
    def advice(self) -> str:
        """What to do about all failures."""
        return "\n".join(text for step in self.steps for text in step.advice)

    def one(self, kind: str) -> Step:
        """The only step of a kind."""
        (step,) = [step for step in self.steps if step.kind == kind]
        return step

    def facts(self, kind: str) -> dict[str, object]:
        """The facts of the last step of a kind."""
        return {fact.name: fact.value for fact in [step for step in self.steps if step.kind == kind][-1].facts}

    def origins(self) -> dict[str, str]:
        """Where each option comes from."""
        return {fact.name: fact.origin for fact in self.one("options").facts}


async def examined(dsn: str) -> Examined:
    """Examine a connection."""
    found = Examined()
    found.status = await examine(dsn, found)
    return found
