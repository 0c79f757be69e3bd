"""Which names are on which page of the reference, and what is said above them.

Knows the names. Must not know what they are: mkdocstrings takes that from the docstrings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Module(NamedTuple):
    """A module whose docstring is shown, and of its names only these, or all that are public."""

    name: str
    members: tuple[str, ...] = ()
    inherited: bool = True
    """Whether classes are shown with what they have from others."""
    everything: bool = False
    """Whether what has no docstring is shown as well, as it speaks for itself."""


class Contents(NamedTuple):
    """What a page has."""

    title: str
    introduction: str
    items: tuple[str | Module, ...]


def _of(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names.split())


def _family(name: str, members: str, *, everything: bool = False) -> Module:
    # What all have in common, such as all ranges, is with the first.
    return Module(f"anyq.types.{name}", tuple(members.split()), inherited=False, everything=everything)


PAGES = {
    "connections": Contents(
        "Connections",
        "How to use them: [Connecting](../connecting.md), [Tutorial](../tutorial.md),"
        " [Cancellation](../cancellation.md).",
        _of("anyq", "AsyncConnection AsyncConnecting ConnectionInfo encrypt_password"),
    ),
    "cursors": Contents(
        "Cursors",
        "How to use them: [Tutorial](../tutorial.md), [Server-side cursors](../server-cursors.md).",
        _of(
            "anyq",
            "AsyncCursor AsyncClientCursor AsyncRawCursor AsyncServerCursor AsyncRawServerCursor AsyncRowStream Column",
        ),
    ),
    "transactions": Contents(
        "Transactions",
        "How to use them: [Tutorial](../tutorial.md), [Two-phase commit](../two-phase.md).",
        _of("anyq", "AsyncTransaction Rollback OutOfOrderTransactionNesting IsolationLevel TransactionStatus Xid"),
    ),
    "copy-and-pipelines": Contents(
        "COPY and pipelines",
        "How to use them: [COPY](../copy.md), [Pipelines](../pipelines.md).",
        _of("anyq", "AsyncCopy AsyncPipeline"),
    ),
    "notifications": Contents(
        "Notifications",
        "How to use them: [Notifications](../notifications.md).",
        _of("anyq", "listen AsyncListener NotificationStream Notify Gap"),
    ),
    "pools": Contents(
        "Pools",
        "How to use them: [Pools](../pool.md).",
        _of(
            "anyq.pool",
            "AsyncConnectionPool AsyncNullConnectionPool ConnectionPool NullConnectionPool run_transaction PoolClosed"
            " PoolTimeout TooManyRequests",
        ),
    ),
    "sync-connections": Contents(
        "Synchronous connections",
        "The same without `await`; how to use them: [Synchronous code](../sync.md).",
        _of("anyq", "connect Connection"),
    ),
    "sync-cursors": Contents(
        "Synchronous cursors",
        "The same without `await`; how to use them: [Synchronous code](../sync.md).",
        _of("anyq", "Cursor ClientCursor RawCursor ServerCursor RawServerCursor RowStream"),
    ),
    "sync": Contents(
        "More of synchronous code",
        "The same without `await`, and what is for threads: [Synchronous code](../sync.md).",
        (
            *_of("anyq", "Transaction Copy Pipeline Listener"),
            *_of("anyq.sync", "listen Listen NotificationStream Notifies timeout set_portal_backend"),
        ),
    ),
    "sql": Contents("Composing SQL", "", (Module("anyq.sql"),)),
    "rows": Contents(
        "Rows",
        "",
        (
            Module(
                "anyq.rows",
                (
                    *("tuple_row", "dict_row", "namedtuple_row", "class_row", "args_row", "kwargs_row", "scalar_row"),
                    *("RowMaker", "RowFactory", "AsyncRowFactory", "BaseRowFactory"),
                ),
            ),
        ),
    ),
    "types": Contents(
        "Types",
        "Modules of the families of types, with what a program asks them for. What becomes of which type, with or"
        " without that: [All types](../types.md).",
        (
            *_of("anyq.types", "TypeInfo TypesRegistry"),
            _family("array", "register_array register_all_arrays"),
            _family("composite", "CompositeInfo register_composite"),
            _family("enum", "EnumInfo register_enum"),
            _family("geometric", "Point Line Lseg Box Path Polygon Circle", everything=True),
            _family("hstore", "register_hstore"),
            _family("infinity", "InfiniteDate InfiniteDatetime register_infinity"),
            _family("interval", "Interval register_interval"),
            _family("json", "Json Jsonb set_json_dumps set_json_loads"),
            _family(
                "multirange",
                "Multirange Int4Multirange Int8Multirange NumericMultirange DateMultirange TimestampMultirange"
                " TimestamptzMultirange MultirangeInfo register_multirange",
            ),
            _family("numeric", "Int2 Int4 Int8 IntNumeric Oid Float4 Float8"),
            _family("numpy", "register_numpy_arrays"),
            _family(
                "range",
                "Range Int4Range Int8Range NumericRange DateRange TimestampRange TimestamptzRange RangeInfo"
                " register_range",
            ),
            _family("shapely", "register_shapely"),
        ),
    ),
    "adapt": Contents(
        "Adaptation",
        "How to have values otherwise: [Parameters and results](../adaptation.md),"
        " [a type of your own](../types.md#a-type-of-your-own).",
        (
            *_of(
                "anyq.adapt",
                "AdaptersMap adapters_of Dumper Loader RecursiveDumper RecursiveLoader PyFormat Transformer",
            ),
            Module("anyq.abc"),
        ),
    ),
    "errors": Contents(
        "Errors", "What to do about each kind: [Errors](../errors.md).", (Module("anyq.errors", inherited=False),)
    ),
    "conninfo": Contents(
        "Connection strings",
        "How connections are described: [Connecting](../connecting.md).",
        _of(
            "anyq.conninfo",
            "make_conninfo conninfo_to_dict parse_conninfo resolve ConnectOptions HostSpec TlsOptions PasswordSource"
            " Keyword",
        ),
    ),
    "tracing": Contents("Tracing", "How to use it: [Tracing and logging](../tracing.md).", (Module("anyq.tracing"),)),
    "contrib": Contents(
        "In other packages",
        "How to use them: [SQLAlchemy](../sqlalchemy.md), [Programs written for psycopg](../psycopg-programs.md),"
        " [OpenTelemetry](../tracing.md).",
        (
            Module("anyq.contrib.sqlalchemy"),
            Module("anyq.contrib.psycopg"),
            Module("anyq.contrib.opentelemetry", ("OpenTelemetryTracer",)),
        ),
    ),
    "names": Contents(
        "Names of PEP 249 and libpq",
        "For programs that are written for any driver, or for psycopg.",
        (
            Module("anyq.dbapi20"),
            Module(
                "anyq.pq",
                (
                    *("ConnStatus", "DiagnosticField", "ExecStatus", "Format", "Ping", "PipelineStatus"),
                    *("PollingStatus", "Trace", "TransactionStatus"),
                ),
                everything=True,
            ),
        ),
    ),
}


def pages(root: Path) -> dict[str, str]:
    """Return the pages of the reference in Markdown, by the paths that they have in the site."""
    made = {f"reference/{name}.md": page(contents) for name, contents in PAGES.items()}
    made["reference/errors.md"] += conditions(root)
    made["reference/index.md"] = index()
    # Who searches for a word finds the pages that explain it first.
    return {name: f"---\nsearch:\n  boost: 0.5\n---\n{text}" for name, text in made.items()}


def page(contents: Contents) -> str:
    """Return a page, on which mkdocstrings is asked for each of the names."""
    lines = [f"# {contents.title}\n", f"{contents.introduction}\n"]
    for item in contents.items:
        if isinstance(item, Module):
            lines += [f"::: {item.name}", "    options:", "      show_root_full_path: true"]
            if not item.inherited:
                lines.append("      inherited_members: false")
            if item.everything:
                lines.append("      show_if_no_docstring: true")
            if item.members:
                lines += ["      members:", *(f"        - {name}" for name in item.members)]
            lines.append("")
        else:
            lines.append(f"::: {item}\n")
    return "\n".join(lines)


def index() -> str:
    """Return the page that says which names are where."""
    lines = [
        "# API reference\n",
        "Every public name, by its docstring. `help()` shows the same: `help(anyq.AsyncConnection)`.\n",
        "| page | names |",
        "|---|---|",
    ]
    for name, contents in PAGES.items():
        items = [item.name if isinstance(item, Module) else item for item in contents.items]
        links = ", ".join(f"[`{item.removeprefix('anyq.')}`][{item}]" for item in items)
        lines.append(f"| [{contents.title}]({name}.md) | {links} |")
    return "\n".join(lines) + "\n"


def conditions(root: Path) -> str:
    """Return the table of the exceptions of the server's conditions, which are generated and alike."""
    lines = [
        "\n## The server's conditions\n",
        "Names in `anyq.errors`, one for each SQLSTATE of PostgreSQL.\n",
        "| SQLSTATE | exception | a kind of |",
        "|---|---|---|",
    ]
    lines += [
        f"| {code} | [](){{ #anyq.errors.{name} }}`{name}` | `{base}` |" for code, name, base in sorted(sqlstates(root))
    ]
    return "\n".join(lines) + "\n"


def sqlstates(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the code, the name and the base class of each of them."""
    tree = ast.parse((root / "anyq" / "errors" / "_sqlstates.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant):
                    yield str(line.value.value), node.name, ast.unparse(node.bases[0])
