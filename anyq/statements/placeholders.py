"""From a query with placeholders to PostgreSQL's ``$n``, parsed once per query text.

Knows: the placeholder syntax (``%s``, ``%(name)s``, their ``%b`` and ``%t`` variants, ``%%``), the order in
which parameters go into ``$1``, ``$2``, ..., and how a user's sequence or mapping is brought into that order.

Must not know: how a value becomes bytes (:mod:`anyq.adapt`), whether a query is prepared
(:mod:`anyq.statements.prepared`), SQL itself. In particular no
quoting is looked at where the server binds: ``'%s'`` is a placeholder inside a literal, as in every driver with this
syntax, and the server will say that it does not know such a parameter. Where literals are put into the text,
:mod:`anyq.adapt.placing` refuses one inside of quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeGuard

from ..abc import AdaptContext, Params, Query
from ..adapt import PyFormat
from ..adapt.encodings import UTF8, encode_text, encoding_to_write
from ..adapt.placing import interleaved, place_values
from ..adapt.templates import is_template
from ..errors import ProgrammingError
from ..sql import Composable
from .hints import hint_for_no_placeholders

# Texts longer than this are mostly generated (a multi-row VALUES, a dump being replayed) and will not come
# back: kept, they would push out the statements that do. 512 of them at this size bound a cache to 4 MiB of
# query text.
MAX_CACHED_QUERY = 8192
CACHED_QUERIES = 512

_AUTO = PyFormat.AUTO
_FORMATS = {"s": PyFormat.AUTO, "t": PyFormat.TEXT, "b": PyFormat.BINARY}

# One match per percent sign, whatever follows it; what is wrong with a match is found out afterwards, by
# name.
_PLACEHOLDER = re.compile(r"%(?:(?P<escaped>%)|(?P<open>\((?P<name>[^)]*)(?P<close>\))?)?(?P<format>.)?)", re.DOTALL)


class ParsedQuery:
    """A query split at its placeholders, once; bound to parameters at each execution.

    Unchanging after construction and shared between threads and connections.
    """

    __slots__ = ("_encode", "_pieces", "_readable", "_take", "_texts", "formats", "names", "nparams", "order", "sql")

    def __init__(
        self,
        sql: bytes,
        formats: tuple[PyFormat, ...] = (),
        names: tuple[str, ...] | None = None,
        pieces: tuple[str, ...] = (),
        order: tuple[int, ...] = (),
        encode: Callable[[str], bytes] = str.encode,
    ) -> None:
        #: The text for the server, with ``$1``, ``$2``, ...
        self.sql = sql
        #: The format asked for each parameter, in ``$n`` order.
        self.formats = formats
        #: The keys to take from a mapping, in ``$n`` order; None where parameters are positional.
        self.names = names
        self._take = _taker(names)
        #: How many parameters the server will be sent.
        self.nparams = len(formats)
        self._pieces = pieces  # the text around the placeholders, one piece more than there are placeholders
        self._encode = encode
        # The pieces as they are sent, and as they are read for quotes; made when literals are put between them.
        self._texts: list[bytes] = []
        self._readable: list[bytes] = []
        #: For each placeholder of the text, the index (from 0) of its parameter.
        self.order = order

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.sql!r} nparams={self.nparams}>"

    def bind_params(self, params: Params | None) -> Sequence[Any]:
        """Bring the user's parameters into ``$n`` order.

        Returns as many values as the query has parameters (`nparams`).

        :raises ProgrammingError: too many, too few, or a missing name.
        :raises TypeError: not a sequence or a mapping, or not the one of them that the placeholders ask for.
        """
        kind = type(params)
        names = self.names
        if names is None:
            if (kind is tuple or kind is list) and len(params) == self.nparams:  # type: ignore[arg-type]
                return params  # type: ignore[return-value]
        elif kind is dict:
            try:
                return self._take(params)
            except KeyError:
                pass
        return self._bind_unusual(params)

    def _bind_unusual(self, params: Params | None) -> Sequence[Any]:
        """Do what `bind_params` does for less common types, and explain what is wrong with others."""
        if params is None:
            if not self.nparams:
                return ()
            raise ProgrammingError(f"the query has {self.nparams} placeholders but no parameters were passed")
        if _is_sequence(params):
            if len(params) != self.nparams:
                raise ProgrammingError(
                    f"the query has {self.nparams} placeholders but {len(params)} parameters were passed{self._hint()}"
                )
            if self.names is None or not params:
                return params
            raise TypeError(
                f"named placeholders, such as %({self.names[0]})s, require a mapping of parameters,"
                f" got {type(params).__name__}"
            )
        if isinstance(params, Mapping):
            if self.names is not None:
                return self._bind_mapping(params)
            if not self.nparams:
                return ()
            raise TypeError(
                "positional placeholders (%s) require a sequence of parameters,"
                f" got {type(params).__name__}: use %(name)s placeholders to pass a mapping"
            )
        raise _not_params(params)

    def _hint(self) -> str:
        hint = None if self.nparams else hint_for_no_placeholders(self.sql.decode("utf-8", "replace"))
        return "" if hint is None else f": {hint}"

    def _bind_mapping(self, params: Mapping[str, Any]) -> list[Any]:
        assert self.names is not None
        values: list[Any] = []
        missing: list[str] = []
        for name in self.names:
            # Asked for by [] and not by `in`: a defaultdict has every key.
            try:
                values.append(params[name])
            except KeyError:
                missing.append(name)
        if missing:
            raise ProgrammingError(f"query parameter missing: {', '.join(sorted(set(missing)))}")
        return values

    def interpolate(self, literals: Sequence[bytes], *, standard_strings: bool = True) -> tuple[bytes, list[bytes]]:
        """Put SQL literals, in ``$n`` order, where the placeholders were, instead of ``$n``.

        Returns the text of a query that takes no parameters, and what was put into it, in the order of the text.

        :param standard_strings: whether a backslash in a string is a character like any other.
        :raises ProgrammingError: a placeholder is inside of quotes or of a comment.
        """
        if not self.order:
            return self.sql, []
        if not self._texts:
            self._readable = [piece.encode("utf-8", "surrogatepass") for piece in self._pieces]
            self._texts = [self._encode(piece) for piece in self._pieces]
        values = [literals[index] for index in self.order]
        strict = (True,) * len(values)
        placed = place_values(self._readable, values, UTF8, strict, standard_strings=standard_strings)
        return interleaved(self._texts, placed), placed

    def position_in_sql(self, position: int, lengths: Sequence[int]) -> int:
        """Return which character of `sql` is the one at a position of the text that `interpolate` has returned.

        It is the beginning of ``$n`` for all that is in a literal.

        :param position: from 1.
        :param lengths: those of what `interpolate` has put in, in characters.
        """
        before = len(self._pieces[0]) if self._pieces else position
        shift = 0
        for index, length, piece in zip(self.order, lengths, self._pieces[1:], strict=True):
            if position <= before:
                break
            if position <= before + length:
                return before + shift + 1
            before += length + len(piece)
            shift += len(_numbered(index, piece)) - length - len(piece)
        return position + shift


def _taker(names: tuple[str, ...] | None) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the values of some names out of a dictionary, in one call into C where possible."""
    if not names:
        return tuple
    if len(names) == 1:
        # For one name itemgetter returns what is not a tuple.
        name = names[0]
        return lambda params: (params[name],)
    getter: Any = itemgetter
    take: Callable[[Any], tuple[Any, ...]] = getter(*names)
    return take


def parse_query(query: Query, params: Params | None, context: AdaptContext | None, encoding: str) -> ParsedQuery:
    """Parse any accepted form of query: a string, bytes or an object of :mod:`anyq.sql`.

    `encoding` is the Python name of the connection's client encoding. Without parameters (None, not an empty
    sequence) the text is sent as it is and percent signs mean nothing.

    :raises ProgrammingError: malformed placeholders.
    :raises DataError: characters that the encoding does not have.
    :raises TypeError: not a query.
    """
    if params is None:
        return ParsedQuery(query_text(query, context, encoding))
    # Strings have a cache of their own in front of encoding: a string's hash is kept by the string, and a
    # literal of the user's program is the same object at each execution.
    if isinstance(query, str):
        if len(query) <= MAX_CACHED_QUERY:
            return _convert_text_cached(query, encoding)
        return _convert_text(query, encoding)
    if isinstance(query, Composable):
        return _convert_pieces(query.pieces(context), encoding)
    return convert(query_text(query, context, encoding), encoding)


def query_text(query: Query, context: AdaptContext | None, encoding: str) -> bytes:
    """Return the text of any accepted form of query, encoded for the server, its placeholders untouched.

    :raises DataError: characters that the encoding does not have.
    :raises TypeError: not a query.
    """
    if isinstance(query, str):
        return _encode(query, encoding)
    if isinstance(query, bytes):
        return query
    if isinstance(query, Composable):  # pyright: ignore[reportUnnecessaryIsInstance]
        return query.as_bytes(context)
    if is_template(query):
        refuse_parameters(())
    raise TypeError(
        "the query should be a string, a template string, bytes, or an object of the anyq.sql module such as SQL,"
        f" got {type(query).__name__}"
    )


def refuse_parameters(params: Params | None) -> None:
    """Refuse parameters beside a template string.

    :raises TypeError: there are some, or could be some.
    """
    if params is not None:
        raise TypeError(
            "a template string has its parameters in it, and takes none beside it: pass only the template;"
            " for many sets of parameters, use a string with placeholders"
        )


def convert(query: bytes, encoding: str = "utf-8") -> ParsedQuery:
    """Convert the placeholders of a query to ``$n``; short queries are remembered.

    `encoding` is the Python name of the encoding of `query`, for the names of its placeholders.

    :raises ProgrammingError: an incomplete or unknown placeholder, or names mixed with positions.
    """
    if len(query) <= MAX_CACHED_QUERY:
        return _convert_cached(query, encoding)
    return _convert(query, encoding)


def convert_raw(query: bytes, params: Params | None) -> ParsedQuery:
    """Parse a query that is written with ``$n`` already, for RawCursor: the text is not looked at.

    The number of parameters is that of `params`; the server is the one to say that it is wrong.

    :raises TypeError: `params` is not a sequence.
    """
    if type(params) is not tuple and type(params) is not list:
        if params is None:
            return ParsedQuery(query)
        _check_raw_params(params)
    return ParsedQuery(query, (_AUTO,) * len(params))  # pyright: ignore[reportUnknownArgumentType]


def _check_raw_params(params: Params) -> None:
    if isinstance(params, Mapping):
        raise TypeError(
            f"raw queries, with $1, $2, ... placeholders, require a sequence of parameters, got {type(params).__name__}"
        )
    if not _is_sequence(params):
        raise _not_params(params)


def _is_sequence(params: object) -> TypeGuard[Sequence[Any]]:
    # A string is a sequence of strings, and always a forgotten comma: execute("... %s", ("one")).
    return isinstance(params, Sequence) and not isinstance(params, str | bytes | bytearray | memoryview)


def _not_params(params: object) -> TypeError:
    return TypeError(
        f"query parameters should be a sequence or a mapping, got {type(params).__name__}:"
        " write (value,) or [value] to pass a single one"
    )


def _convert_pieces(pieces: Sequence[tuple[bytes, bool]], encoding: str) -> ParsedQuery:
    """Convert the placeholders of a query in those of its pieces that may have some."""
    # What belongs together may stand in several pieces: SQL("%({})s").format(SQL("name")).
    joined = tuple(
        [(b"".join([piece for piece, _ in run]), own) for own, run in groupby(pieces, _may_have_placeholders)]
    )
    if len(joined) == 1 and joined[0][1]:
        return convert(joined[0][0], encoding)
    if sum([len(piece) for piece, _ in joined]) <= MAX_CACHED_QUERY:
        return _convert_cached(joined, encoding)
    return _convert(joined, encoding)


_may_have_placeholders: Callable[[tuple[bytes, bool]], bool] = itemgetter(1)


def _convert(query: bytes | tuple[tuple[bytes, bool], ...], encoding: str) -> ParsedQuery:
    # What does not decode is handed back as it was: whoever passes bytes may know better than the connection.
    def encode(text: str) -> bytes:
        return text.encode(encoding, "surrogateescape")

    pieces = ((query, True),) if isinstance(query, bytes) else query
    return _split([(piece.decode(encoding, "surrogateescape"), own) for piece, own in pieces], encode)


def _convert_text(text: str, encoding: str) -> ParsedQuery:
    return _split([(text, True)], partial(encode_text, encoding=encoding_to_write(encoding)))


def _encode(text: str, encoding: str) -> bytes:
    return encode_text(text, encoding_to_write(encoding))


def _split(texts: Sequence[tuple[str, bool]], encode: Callable[[str], bytes]) -> ParsedQuery:
    """Split a query at its placeholders, of those of its texts that are looked at for some."""
    parts: list[str] = []
    order: list[int] = []
    formats: list[PyFormat] = []
    index_of: dict[tuple[str, PyFormat], int] = {}  # of named parameters; one in two formats is two of them
    piece = ""
    for text, may_have_placeholders in texts:
        pos = 0
        for match in _PLACEHOLDER.finditer(text) if may_have_placeholders else ():
            piece += text[pos : match.start()]
            pos = match.end()
            if match["escaped"]:
                piece += "%"
                continue
            _check_placeholder(match)
            format = _FORMATS[match["format"]]
            name: str | None = match["name"]
            if bool(index_of) is (name is None) and formats:
                raise ProgrammingError(
                    "positional (%s) and named (%(name)s) placeholders cannot be mixed in a query: use one kind"
                )
            index = len(formats) if name is None else index_of.setdefault((name, format), len(formats))
            if index == len(formats):
                formats.append(format)
            parts.append(piece)
            order.append(index)
            piece = ""
        piece += text[pos:]
    parts.append(piece)

    numbered = [parts[0]]
    for index, part in zip(order, parts[1:], strict=True):
        numbered.append(_numbered(index, part))
    return ParsedQuery(
        encode("".join(numbered)),
        tuple(formats),
        tuple([name for name, _ in index_of]) or None,
        tuple(parts),
        tuple(order),
        encode,
    )


def _numbered(index: int, part: str) -> str:
    """Return a placeholder of PostgreSQL's and the text behind it."""
    # A digit behind a placeholder must not make it another one: better a syntax error than $1 turned into $10.
    gap = " " if part[:1].isdecimal() else ""
    return f"${index + 1}{gap}{part}"


def _check_placeholder(match: re.Match[str]) -> None:
    """Raise the error that says what is wrong with a placeholder, if something is."""
    found = match[0]
    format = match["format"]
    named = match["open"] is not None
    if named and (not match["close"] or not match["name"] or format is None):
        raise ProgrammingError(
            f"incomplete placeholder: '{_shortened(found)}'; named placeholders are written %(name)s;"
            " to use '%' as a character double it, i.e. write '%%'"
        )
    if format not in _FORMATS:
        kinds = "'%(name)s', '%(name)b', '%(name)t'" if named else "'%s', '%b', '%t'"
        raise ProgrammingError(
            f"only {kinds} are allowed as placeholders, got '{_shortened(found)}';"
            " to use '%' as an operator or a character double it, i.e. write '%%'"
        )


def _shortened(found: str) -> str:
    # Without its closing parenthesis a name runs to the end of the query.
    return found if len(found) <= 40 else f"{found[:40]}..."


_convert_cached = lru_cache(CACHED_QUERIES)(_convert)
_convert_text_cached = lru_cache(CACHED_QUERIES)(_convert_text)
