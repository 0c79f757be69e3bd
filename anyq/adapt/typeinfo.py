"""What is known about PostgreSQL's types: names, oids, delimiters.

Knows `TypeInfo`, the registry that finds one by name or oid, the table of the types that every server has,
and how to ask a server's catalogue for another. Must not know how values are converted (`anyq.adapt`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from ..abc import AdaptContext
from ..errors import ProgrammingError

if TYPE_CHECKING:
    # To say which connection is asked; connections are made of this.
    from ..connection import AsyncConnection

__all__ = ["TypeInfo", "TypesRegistry", "builtin_types"]

_T = TypeVar("_T", bound="TypeInfo")


class _Identifier(Protocol):
    """A `sql.Identifier`."""

    def as_string(self, context: AdaptContext | None = None) -> str: ...


class _Blocking(Protocol):
    """A synchronous `Connection`."""

    @property
    def async_connection(self) -> AsyncConnection[Any]: ...

    def call(self, func: Callable[..., Awaitable[Any]], /, *args: Any) -> Any: ...


class TypeInfo:
    """Describe one PostgreSQL type and the arrays of it.

    :param name: the name in the catalogue, without a schema.
    :param array_oid: the oid of the type's array, 0 if it has none.
    :param regtype: the name to write in SQL: with a schema and quotes where it needs them. By default `name`.
    :param delimiter: what stands between the items of an array in text format.
    """

    def __init__(self, name: str, oid: int, array_oid: int, *, regtype: str = "", delimiter: str = ","):
        self.name = name
        self.oid = oid
        self.array_oid = array_oid
        self.regtype = regtype or name
        self.delimiter = delimiter

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__}: {self.name} (oid: {self.oid}, array oid: {self.array_oid})>"

    @overload
    @classmethod
    def fetch(cls: type[_T], conn: AsyncConnection[Any], name: str | _Identifier) -> Coroutine[Any, Any, _T | None]: ...

    @overload
    @classmethod
    def fetch(cls: type[_T], conn: _Blocking, name: str | _Identifier) -> _T | None: ...

    @classmethod
    def fetch(cls: type[_T], conn: Any, name: str | _Identifier) -> Any:
        """Ask the server what a type is: ``await`` it with an asynchronous connection, and not with a synchronous one.

        Runs one query in a transaction of its own, or in a savepoint if a transaction is open. After a
        cancellation nothing of it is left.

        :param conn: an `AsyncConnection` or a `Connection`.
        :param name: the name as written in SQL, `schema.name` or `"Quoted"`, or a `sql.Identifier`.
        :return: the description, for `register`; None if there is no such type.
        :raises Error: the query failed.

        See "System Catalogs: pg_type" in the PostgreSQL manual.
        """
        if not isinstance(name, str):
            name = name.as_string(None)
        if hasattr(conn, "async_connection"):
            return conn.call(cls._fetch, conn.async_connection, name)
        return cls._fetch(conn, name)

    @classmethod
    async def _fetch(cls: type[_T], conn: AsyncConnection[Any], name: str) -> _T | None:
        # The connection's own row factory may be anything.
        cursor = conn.cursor(row_factory=_plain_rows)
        async with conn.transaction():
            await cursor.execute(cls._info_query().encode(), [name])
        return cls._from_rows(name, await cursor.fetchall())

    @classmethod
    def _info_query(cls) -> str:
        """Return the query that describes a type; the name is its one parameter. Subclasses ask for more."""
        return (
            "SELECT t.typname, t.oid, t.typarray, t.oid::regtype::text, t.typdelim::text"
            " FROM pg_catalog.pg_type t WHERE t.oid = to_regtype(%s)"
        )

    @classmethod
    def _from_rows(cls: type[_T], name: str, rows: Sequence[tuple[Any, ...]]) -> _T | None:
        """Return what the rows of `_info_query` describe, None if there are none."""
        if not rows:
            return None
        if len(rows) > 1:
            raise ProgrammingError(f"{len(rows)} different types are named {name}: add the schema")
        # With the client encoding SQL_ASCII text comes as bytes.
        typname, oid, array_oid, regtype, delimiter = map(_as_text, rows[0])
        return cls(typname, oid, array_oid, regtype=regtype, delimiter=delimiter)

    def register(self, context: AdaptContext | None = None) -> None:
        """Make the type known by name, and arrays of it loaded and dumped as lists.

        :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
        """
        # At call time, because the family of arrays describes its items with this module.
        from ..types.array import register_type

        register_type(self, context)

    def added(self, registry: TypesRegistry) -> None:
        """React to being added to a registry. For subclasses that can be found by more than name and oid."""


def _plain_rows(cursor: object) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return tuple


def _as_text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


class TypesRegistry:
    """Find types by name (`int4`, `integer`, `int4[]`), oid or oid of the array.

    A registry starts as a copy of its template and shares the template's table until either is written to.
    """

    def __init__(self, template: TypesRegistry | None = None):
        self._infos: dict[str | int, TypeInfo] = template._infos if template is not None else {}
        self._own = template is None
        if template is not None:
            template._own = False

    def add(self, info: TypeInfo) -> None:
        """Add a type; it takes the place of one with the same name or oid."""
        if not self._own:
            self._infos = self._infos.copy()
            self._own = True
        self._infos[info.oid] = info
        if info.array_oid:
            self._infos[info.array_oid] = info
        self._infos[info.name] = info
        self._infos[info.regtype] = info
        info.added(self)

    def clear(self) -> None:
        """Forget every type."""
        self._infos = {}
        self._own = True

    def __iter__(self) -> Iterator[TypeInfo]:
        """Iterate over the types, each once."""
        return iter({id(info): info for info in self._infos.values()}.values())

    def __getitem__(self, key: str | int) -> TypeInfo:
        """Return a type by name or oid; for an array the type of its items.

        :raises KeyError: there is none.
        """
        info = self.get(key)
        if info is None:
            raise KeyError(f"the types registry has no type {key!r}: TypeInfo.fetch() it and register() it")
        return info

    def get(self, key: str | int) -> TypeInfo | None:
        """Return a type by name or oid, None if there is none; for an array the type of its items."""
        if isinstance(key, str) and key.endswith("[]"):
            key = key[:-2]
        return self._infos.get(key)

    def get_oid(self, name: str) -> int:
        """Return the oid of a type by name: of the array if the name ends in `[]`.

        :raises KeyError: there is none.
        """
        info = self[name]
        return info.array_oid if name.endswith("[]") else info.oid


# The types that can be those of a column or a parameter on every server: base types, ranges, multiranges and
# a few pseudo-types. Name, oid, oid of the array (0: none), delimiter, name in SQL where it differs. From
# PostgreSQL 18:
#
#   SELECT concat_ws(' ', typname, oid, typarray, typdelim, nullif(oid::regtype::text, typname)) FROM pg_type
#   WHERE typnamespace = 'pg_catalog'::regnamespace AND oid < 10000
#   AND (typtype IN ('b', 'r', 'm') AND (typcategory <> 'A' OR typarray <> 0)
#        OR typname IN ('record', 'unknown', 'void', 'cstring')) ORDER BY typname COLLATE "C"
_BUILTIN_TYPES = """
aclitem 1033 1034 ,
bit 1560 1561 ,
bool 16 1000 , boolean
box 603 1020 ;
bpchar 1042 1014 , character
bytea 17 1001 ,
char 18 1002 , "char"
cid 29 1012 ,
cidr 650 651 ,
circle 718 719 ,
cstring 2275 1263 ,
date 1082 1182 ,
datemultirange 4535 6155 ,
daterange 3912 3913 ,
float4 700 1021 , real
float8 701 1022 , double precision
gtsvector 3642 3644 ,
inet 869 1041 ,
int2 21 1005 , smallint
int2vector 22 1006 ,
int4 23 1007 , integer
int4multirange 4451 6150 ,
int4range 3904 3905 ,
int8 20 1016 , bigint
int8multirange 4536 6157 ,
int8range 3926 3927 ,
interval 1186 1187 ,
json 114 199 ,
jsonb 3802 3807 ,
jsonpath 4072 4073 ,
line 628 629 ,
lseg 601 1018 ,
macaddr 829 1040 ,
macaddr8 774 775 ,
money 790 791 ,
name 19 1003 ,
numeric 1700 1231 ,
nummultirange 4532 6151 ,
numrange 3906 3907 ,
oid 26 1028 ,
oidvector 30 1013 ,
path 602 1019 ,
pg_brin_bloom_summary 4600 0 ,
pg_brin_minmax_multi_summary 4601 0 ,
pg_dependencies 3402 0 ,
pg_lsn 3220 3221 ,
pg_mcv_list 5017 0 ,
pg_ndistinct 3361 0 ,
pg_node_tree 194 0 ,
pg_snapshot 5038 5039 ,
point 600 1017 ,
polygon 604 1027 ,
record 2249 2287 ,
refcursor 1790 2201 ,
regclass 2205 2210 ,
regcollation 4191 4192 ,
regconfig 3734 3735 ,
regdictionary 3769 3770 ,
regnamespace 4089 4090 ,
regoper 2203 2208 ,
regoperator 2204 2209 ,
regproc 24 1008 ,
regprocedure 2202 2207 ,
regrole 4096 4097 ,
regtype 2206 2211 ,
text 25 1009 ,
tid 27 1010 ,
time 1083 1183 , time without time zone
timestamp 1114 1115 , timestamp without time zone
timestamptz 1184 1185 , timestamp with time zone
timetz 1266 1270 , time with time zone
tsmultirange 4533 6152 ,
tsquery 3615 3645 ,
tsrange 3908 3909 ,
tstzmultirange 4534 6153 ,
tstzrange 3910 3911 ,
tsvector 3614 3643 ,
txid_snapshot 2970 2949 ,
unknown 705 0 ,
uuid 2950 2951 ,
varbit 1562 1563 , bit varying
varchar 1043 1015 , character varying
void 2278 0 ,
xid 28 1011 ,
xid8 5069 271 ,
xml 142 143 ,
"""

builtin_types = TypesRegistry()
"""The types of every server, and whatever is registered without a context."""

for _line in _BUILTIN_TYPES.strip().splitlines():
    _name, _oid, _array_oid, _delimiter, *_words = _line.split()
    _regtype = " ".join(_words)
    builtin_types.add(TypeInfo(_name, int(_oid), int(_array_oid), regtype=_regtype, delimiter=_delimiter))
