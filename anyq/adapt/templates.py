"""Template strings: what a `t"..."` of PEP 750 is, and what stands in its braces.

Knows their shape, which Python has since 3.14 (`string.templatelib`) and which any object may have. Must not know what
becomes of a value.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

from ..errors import ProgrammingError


class Interpolation(Protocol):
    """What stands in the braces of a template string."""

    @property
    def value(self) -> Any: ...

    @property
    def expression(self) -> str: ...

    @property
    def conversion(self) -> Any: ...

    @property
    def format_spec(self) -> str: ...


class Template(Protocol):
    """A template string: `string.templatelib.Template`, or what has the same attributes."""

    @property
    def strings(self) -> tuple[str, ...]:
        """Return the texts around the values, one more than there are values."""
        ...

    @property
    def interpolations(self) -> tuple[Any, ...]:
        """Return the values, each an `Interpolation`."""
        ...


def is_template(obj: object) -> TypeGuard[Template]:
    """Return whether an object is a template string."""
    return isinstance(getattr(obj, "strings", None), tuple) and isinstance(getattr(obj, "interpolations", None), tuple)


def parts(template: Template) -> list[str | Interpolation]:
    """Return the texts and values of a template in their order.

    :raises TypeError: a value has a conversion.
    """
    found: list[str | Interpolation] = [template.strings[0]]
    for interpolation, text in zip(template.interpolations, template.strings[1:], strict=True):
        if interpolation.conversion:
            raise TypeError(
                f"conversions are not supported in queries: {shown(interpolation)};"
                " drop it, or convert the value before, as a parameter is sent with its own type"
            )
        found += [interpolation, text]
    return found


def shown(interpolation: Interpolation) -> str:
    """Return what stands in the braces, as it is written."""
    conversion = f"!{interpolation.conversion}" if interpolation.conversion else ""
    spec = f":{interpolation.format_spec}" if interpolation.format_spec else ""
    return f"{{{interpolation.expression}{conversion}{spec}}}"


def refused(interpolation: Interpolation, why: str) -> ProgrammingError:
    """Return the error for a value that its format does not take."""
    return ProgrammingError(f"{shown(interpolation)} in a template string: {why}")
