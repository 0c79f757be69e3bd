"""Compose SQL of parts that are only known at run time, without making holes for injection.

Knows: how parts are put together. Must not know: how values become literals and names are quoted (:mod:`anyq.adapt`
does), how queries are run.

Parameters are for values; names of tables and columns are not values, and cannot be parameters::

    query = sql.SQL("SELECT {fields} FROM {table} WHERE id = %s").format(
        fields=sql.SQL(", ").join(map(sql.Identifier, ["id", "name"])),
        table=sql.Identifier("public", "people"),
    )
    await cursor.execute(query, [42])

PostgreSQL manual: "Lexical Structure".
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from typing_extensions import LiteralString

from .adapt.adapters_map import AdaptContext, PyFormat
from .adapt.encodings import encode_text, encoding_of, text_encoding
from .adapt.placing import interleaved, place_values, uses_standard_strings
from .adapt.quoting import identifier_bytes, quote_identifier
from .adapt.templates import Interpolation, Template, is_template, parts, refused
from .adapt.transformer import Transformer
from .errors import ProgrammingError
from .errors.arguments import each_of

__all__ = [
    "DEFAULT",
    "NULL",
    "SQL",
    "Composable",
    "Composed",
    "Identifier",
    "Literal",
    "Placeholder",
    "as_bytes",
    "as_string",
    "quote",
]


def quote(obj: Any, context: AdaptContext | None = None) -> str:
    """Return a Python value as an SQL literal, quoted.

    Use it only where parameters cannot go, such as in a utility statement, and never for identifiers.

    :raises ProgrammingError: no dumper for the type of the value.
    """
    return Literal(obj).as_string(context)


def as_bytes(obj: Any, context: AdaptContext | None = None) -> bytes:
    """Return the SQL of a part of a query, a template string or a value, in the encoding of the context's connection.

    The values of a template string are written as literals, and any other value as well; a `str` is one too.

    :raises ProgrammingError: no dumper for the type of a value, or a template that has something in a wrong place.
    """
    if is_template(obj):
        return render(obj, context, lambda value, format: Literal(value).as_bytes(context))
    return (obj if isinstance(obj, Composable) else Literal(obj)).as_bytes(context)


def as_string(obj: Any, context: AdaptContext | None = None) -> str:
    """Return the SQL of a part of a query, a template string or a value as a string: see `as_bytes`."""
    if isinstance(obj, Composable):
        return obj.as_string(context)
    return as_bytes(obj, context).decode(text_encoding(context))


def render(template: Template, context: AdaptContext | None, parameter: Callable[[Any, PyFormat], bytes]) -> bytes:
    """For this package: return the SQL of a template string.

    :param parameter: is given each of its parameters with the format for it, and returns what to write.
    :raises ProgrammingError: a format that there is not, or a value that it does not take.
    :raises TypeError: a conversion.
    """
    text = _Text(context)
    waiting: list[Any] = parts(template)[::-1]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            text.write(encode_text(part, text.encoding))
            continue
        value, spec = part.value, part.format_spec
        if is_template(value):
            if spec != "q":
                raise refused(part, "a template string inside of another one takes the format :q")
            waiting += parts(value)[::-1]
        elif spec in _PARAMETERS and not isinstance(value, Composable):
            text.put(parameter(value, _PARAMETERS[spec]), strict=True)
        else:
            text.add(_interpolated(part), placeholders=False)
    return text.joined()


def _interpolated(part: Interpolation) -> Composable:
    """Return the part of a query that stands in the braces of a template, which is no parameter.

    :raises ProgrammingError: it does not go with its format.
    """
    value, spec = part.value, part.format_spec
    if isinstance(value, Placeholder):
        raise refused(part, "a Placeholder has no place here; write the value itself in the braces")
    if isinstance(value, Composable):
        wanted = "i" if isinstance(value, Identifier) else "l" if isinstance(value, Literal) else "q"
        if spec == wanted:
            return value
        raise refused(part, f"an object of sql.{type(value).__name__} takes the format :{wanted}")
    if spec == "l":
        return Literal(value)
    if spec == "i":
        if isinstance(value, str):
            return Identifier(value)
        raise refused(part, f"a name is a str or an sql.Identifier, not {type(value).__name__}")
    if spec == "q":
        kinds = "an sql.SQL, an sql.Composed or a template string"
        raise refused(part, f"a piece of a query is {kinds}, not {type(value).__name__}")
    raise refused(part, "of formats there are s, t and b for parameters, i for names, l for literals, q for queries")


_PARTS = "the parts of SQL are given as a sequence, or another iterable"
_PARAMETERS = {"": PyFormat.AUTO, "s": PyFormat.AUTO, "t": PyFormat.TEXT, "b": PyFormat.BINARY}


class _Text:
    """The text of a query that is put together: what the program says, and values between."""

    def __init__(self, context: AdaptContext | None) -> None:
        self._context = context
        self.encoding = text_encoding(context)
        self._texts: list[list[bytes]] = [[]]
        self._readable: list[list[bytes]] = [[]]  # the same, without placeholders, whose names may have quotes in them
        self._values: list[bytes] = []
        self._strict: list[bool] = []

    def write(self, sql: bytes, readable: bytes | None = None) -> None:
        """Add text of the program's."""
        self._texts[-1].append(sql)
        self._readable[-1].append(sql if readable is None else readable)

    def put(self, value: bytes, *, strict: bool = False) -> None:
        """Add a value; a `strict` one can be inside of no quotes."""
        self._values.append(value)
        self._strict.append(strict)
        self._texts.append([])
        self._readable.append([])

    def add(self, part: Composable, *, placeholders: bool = True) -> None:
        """Add a part of a query.

        :raises ProgrammingError: there is a placeholder, and there may be none.
        """
        # A stack, as parts may be nested as deeply as a loop makes them.
        waiting = [part]
        while waiting:
            part = waiting.pop()
            if isinstance(part, Composed):
                waiting += list(part)[::-1]
            elif isinstance(part, SQL):
                self.write(part.as_bytes(self._context))
            elif isinstance(part, Placeholder):
                if not placeholders:
                    raise ProgrammingError(f"{part!r} in a template string: a template has its values in braces")
                self.write(part.as_bytes(self._context), b" ")
            else:
                self.put(part.as_bytes(self._context))

    def placed(self) -> tuple[list[bytes], list[bytes]]:
        """Return the texts, and the values as they are to be written between them.

        :raises ProgrammingError: a value is inside of quotes that it could end.
        """
        texts = [b"".join(text) for text in self._texts]
        if not self._values:
            return texts, []
        standard = uses_standard_strings(self._context)
        readable = [b"".join(text) for text in self._readable]
        values = place_values(readable, self._values, self.encoding, self._strict, standard_strings=standard)
        return texts, values

    def joined(self) -> bytes:
        """Return the whole text."""
        texts, values = self.placed()
        return interleaved(texts, values)


class Composable(ABC):
    """A part of a query. Parts are joined with ``+`` and repeated with ``*``; both return a `Composed`."""

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._obj!r})"

    @abstractmethod
    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        """Return the SQL of this part, in the encoding of the context's connection (by default UTF-8).

        `context` is what literals are adapted for: a connection, a cursor or None.
        """

    def pieces(self, context: AdaptContext | None = None) -> list[tuple[bytes, bool]]:
        """For this package: return the SQL of this part in pieces, each with whether it may have placeholders.

        Only what the program says may, which is `SQL` and `Placeholder`: never what a `Literal` or an `Identifier` has
        made of a value, whatever that looks like.
        """
        return [(self.as_bytes(context), isinstance(self, SQL | Placeholder))]

    def as_string(self, context: AdaptContext | None = None) -> str:
        """Return the SQL of this part as a string. `context` is what literals are adapted for.

        Executed as a string it is text of yours: a literal in it that has a percent sign is read for placeholders, if
        parameters come with it.
        """
        return self.as_bytes(context).decode(text_encoding(context))

    def __add__(self, other: Composable) -> Composed:
        if isinstance(other, Composed):
            return Composed([self]) + other
        if isinstance(other, Composable):  # pyright: ignore[reportUnnecessaryIsInstance]
            return Composed([self, other])
        return NotImplemented

    def __mul__(self, n: int) -> Composed:
        return Composed([self] * n)

    def __eq__(self, other: object) -> bool:
        # NotImplemented and not False, so that a class that knows about this one can say otherwise.
        return (
            self._obj == other._obj if isinstance(other, Composable) and type(self) is type(other) else NotImplemented
        )

    def __hash__(self) -> int:
        return hash((type(self), self._obj))


class Composed(Composable):
    """A sequence of parts, whose SQL is theirs put together. What is no part becomes a `Literal`."""

    __slots__ = ()
    _obj: list[Composable]

    def __init__(self, seq: Iterable[Any]) -> None:
        super().__init__([obj if isinstance(obj, Composable) else Literal(obj) for obj in each_of(seq, _PARTS)])

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        text = _Text(context)
        text.add(self)
        return text.joined()

    def pieces(self, context: AdaptContext | None = None) -> list[tuple[bytes, bool]]:
        text = _Text(context)
        text.add(self)
        texts, values = text.placed()
        pieces = [(texts[0], True)]
        for value, behind in zip(values, texts[1:], strict=True):
            pieces += [(value, False), (behind, True)]
        return [piece for piece in pieces if piece[0]]

    def __iter__(self) -> Iterator[Composable]:
        return iter(self._obj)

    def __add__(self, other: Composable) -> Composed:
        if isinstance(other, Composed):
            return Composed(self._obj + other._obj)
        if isinstance(other, Composable):  # pyright: ignore[reportUnnecessaryIsInstance]
            return Composed([*self._obj, other])
        return NotImplemented

    # The list could change, and is therefore no good as a key.
    __hash__ = None  # type: ignore[assignment]

    def join(self, joiner: SQL | LiteralString) -> Composed:
        """Return the parts with `joiner`, a string or an `SQL`, between them."""
        if isinstance(joiner, str):
            joiner = SQL(joiner)
        elif not isinstance(joiner, SQL):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Composed.join() takes a string or an SQL, got {joiner!r} instead")
        return joiner.join(self._obj)


class SQL(Composable):
    """A piece of SQL that is part of the program, never of its input.

    It may have ``{}``, ``{0}`` and ``{name}`` placeholders for other parts, to be filled in with `format`.
    """

    __slots__ = ()
    _obj: LiteralString

    _formatter = string.Formatter()

    def __init__(self, obj: LiteralString) -> None:
        if not isinstance(obj, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"SQL values must be strings, got {obj!r} instead")
        super().__init__(obj)

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        return encode_text(self._obj, text_encoding(context))

    def as_string(self, context: AdaptContext | None = None) -> str:
        return self._obj

    def format(self, *args: Any, **kwargs: Any) -> Composed:
        """Put parts in the place of ``{}``, ``{0}`` and ``{name}``; what is no part becomes a `Literal`.

        ``{{`` and ``}}`` are braces. Parameter placeholders (``%s``) are left alone.

        :raises IndexError: more placeholders than positional arguments.
        :raises KeyError: a placeholder whose name is not among the keyword arguments.
        :raises ValueError: a malformed string, ``{}`` mixed with ``{0}``, a specification or conversion.
        """
        parts: list[Any] = []
        automatic: int | None = 0  # the next one to give to {}, None once there was a {0}
        for text, name, spec, conversion in self._formatter.parse(self._obj):
            if spec:
                raise ValueError(f"SQL.format() supports no format specification, got ':{spec}'")
            if conversion:
                raise ValueError(f"SQL.format() supports no conversion, got '!{conversion}'")
            if text:
                # A piece of a LiteralString, which the formatter calls a str.
                parts.append(SQL(text))  # pyright: ignore[reportArgumentType]
            if name is None:
                continue
            if name and not name.isdigit():
                if name not in kwargs:
                    raise KeyError(f"no argument of SQL.format() for placeholder {{{name}}}")
                parts.append(kwargs[name])
                continue
            if name:
                if automatic:
                    raise ValueError("SQL.format() cannot mix automatic {} with numbered {0} placeholders")
                automatic = None
                index = int(name)
            else:
                if automatic is None:
                    raise ValueError("SQL.format() cannot mix numbered {0} with automatic {} placeholders")
                index = automatic
                automatic += 1
            if index >= len(args):
                raise IndexError(f"SQL.format() got {len(args)} positional arguments, too few for its placeholders")
            parts.append(args[index])
        return Composed(parts)

    def join(self, seq: Iterable[Any]) -> Composed:
        """Return the parts of `seq` with this one between them; what is no part becomes a `Literal`."""
        parts: list[Any] = []
        for obj in each_of(seq, _PARTS):
            if parts:
                parts.append(self)
            parts.append(obj)
        return Composed(parts)


class Identifier(Composable):
    """A quoted name of something in the database; several strings make a qualified one (``"schema"."t"``)."""

    __slots__ = ()
    _obj: Sequence[str]

    def __init__(self, *strings: str) -> None:
        if not strings:
            raise TypeError("Identifier takes at least one string")
        for part in strings:
            if not isinstance(part, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"the parts of an Identifier must be strings, got {part!r} instead")
        super().__init__(strings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._obj))})"

    def as_string(self, context: AdaptContext | None = None) -> str:
        return quote_identifier(*self._obj)

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        return identifier_bytes(encoding_of(context), *self._obj)


class Literal(Composable):
    """A Python value, written into the query as an SQL literal.

    Prefer parameters: they are faster, and a query without literals is one that can be prepared.
    """

    __slots__ = ()

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        return Transformer.from_context(context).as_literal(self._obj)


class Placeholder(Composable):
    """A placeholder for a parameter: ``%s``, with a name ``%(name)s``; `format` makes it ``%b`` or ``%t``."""

    __slots__ = ("_format",)
    _obj: str

    def __init__(self, name: str = "", format: str | PyFormat = PyFormat.AUTO) -> None:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the name of a Placeholder must be a string, got {name!r} instead")
        if ")" in name:
            raise ValueError(f"the name of a Placeholder cannot contain ')': {name!r}")
        super().__init__(name)
        self._format = PyFormat(format)

    def __repr__(self) -> str:
        args: list[str] = []
        if self._obj:
            args.append(repr(self._obj))
        if self._format is not PyFormat.AUTO:
            args.append(f"format={self._format.name}")
        return f"{type(self).__name__}({', '.join(args)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Placeholder):
            return NotImplemented
        return self._obj == other._obj and self._format is other._format

    def __hash__(self) -> int:
        return hash((type(self), self._obj, self._format))

    def as_string(self, context: AdaptContext | None = None) -> str:
        return f"%({self._obj}){self._format.value}" if self._obj else f"%{self._format.value}"

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        return encode_text(self.as_string(context), text_encoding(context))


NULL = SQL("NULL")
"""The NULL keyword."""

DEFAULT = SQL("DEFAULT")
"""The DEFAULT keyword, as in ``INSERT INTO t VALUES (DEFAULT)``."""
