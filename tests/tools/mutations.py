"""The mutations of a module: small changes of its syntax tree, each of which makes another program of it.

Each one is the text of one node replaced, so that what is shown as a difference is what was changed. Left out is what
no test can be expected to notice (annotations, docstrings, texts of messages, assertions, what only type checkers read,
the top level of a module but for its numbers), and what any test would: a name without its only assignment.

Knows Python's syntax. Knows nothing of anyq, nor of how tests are run.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_REMOVABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete, ast.Raise)


class Mutation(NamedTuple):
    """One change of one module."""

    path: str
    line: int
    operator: str
    start: int
    """Where the text that is replaced begins, in bytes."""
    end: int
    text: str
    """What comes in its place."""

    def apply(self, source: str) -> str:
        """Return the module's text with this change."""
        data = source.encode()
        return (data[: self.start] + self.text.encode() + data[self.end :]).decode()


def mutations(source: str, path: str) -> list[Mutation]:
    """Return every mutation of a module, in the order of its text."""
    found = set(_Finder(source, path).find())
    return sorted(found, key=lambda it: (it.start, it.end, it.operator, it.text))


def draw(sources: Mapping[str, str], count: int, seed: int) -> list[Mutation]:
    """Draw mutations of modules, given as their texts by path: the same ones for the same texts, count and seed."""
    every = [found for path in sorted(sources) for found in mutations(sources[path], path)]
    random.Random(seed).shuffle(every)
    drawn: list[Mutation] = []
    for mutation in every:
        if len(drawn) == count:
            break
        if _compiles(mutation.apply(sources[mutation.path])):
            drawn.append(mutation)
    return drawn


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutated", "exec")
    except SyntaxError:
        return False
    return True


class _Finder:
    """Finds the mutations of one module.

    What is handed down is how often each name is assigned in the function that a node is in, None outside of functions.
    """

    def __init__(self, source: str, path: str) -> None:
        self._tree = ast.parse(source)
        self._path = path
        self._starts = [0]
        for line in source.encode().splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def find(self) -> Iterator[Mutation]:
        for node in self._tree.body:
            yield from self._visit(node, None)

    def _visit(self, node: ast.AST, assigned: Counter[str] | None) -> Iterator[Mutation]:
        if self._is_left_out(node):
            return
        if assigned is not None or isinstance(node, ast.Constant):
            for operator, text, place in self._changes(node, assigned or Counter()):
                yield self._mutation(operator, text, place)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assigned = _assigned_names(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._visit(child, assigned)

    def _is_left_out(self, node: ast.AST) -> bool:
        if isinstance(node, ast.If):
            return ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)
        # Positions inside of formatted strings are right only since Python 3.12, and these are texts of messages.
        return isinstance(node, ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom)

    def _changes(self, node: ast.AST, assigned: Counter[str]) -> Iterator[tuple[str, str, ast.AST]]:
        """Yield the operator's name, the new text, and the node whose text it replaces."""
        if isinstance(node, ast.expr):
            for operator, text in _of_expression(node):
                yield operator, text, node
        elif isinstance(node, ast.stmt):
            yield from _of_statement(node, assigned)
        elif isinstance(node, ast.ExceptHandler) and not _only_raises(node.body):
            # The first statement: what comes after it is not reached.
            yield "exception not caught", "raise", node.body[0]
        if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Constant):
            for value in ("True", "False"):
                yield "condition", value, node.test

    def _mutation(self, operator: str, text: str, node: ast.AST) -> Mutation:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        return Mutation(self._path, node.lineno, operator, start, end, text)


def _of_expression(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(ops=[operator]):
            yield "comparison", _text(ast.Compare(node.left, [_COMPARISONS[type(operator)]()], node.comparators))
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "and, or", _text(ast.BoolOp(other, node.values))
        case ast.UnaryOp(op=ast.Not()):
            yield "not", _text(node.operand)
        case ast.BinOp() if type(node.op) in _ARITHMETIC and not _is_text(node):
            yield "arithmetic", _text(ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))
        case ast.Constant(value=bool()):
            yield "constant", str(not node.value)
        case ast.Constant(value=int(number)):
            for value in (number + 1, number - 1):
                yield "constant", _text(ast.Constant(value))
        case ast.Call(args=[first, second, *rest]) if not any(isinstance(arg, ast.Starred) for arg in node.args):
            yield "arguments swapped", _text(ast.Call(node.func, [second, first, *rest], node.keywords))


def _of_statement(node: ast.stmt, assigned: Counter[str]) -> Iterator[tuple[str, str, ast.AST]]:
    match node:
        case ast.Return(value=ast.expr() as value) if not _is_constant(value, None):
            yield "return None", "None", value
        case ast.Break():
            yield "break, continue", "continue", node
        case ast.Continue():
            yield "break, continue", "break", node
        case ast.Expr(value=ast.Constant()):
            pass
        case ast.AnnAssign(value=None):
            pass
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if assigned[name] < 2:
            pass
        case _ if isinstance(node, _REMOVABLE):
            yield "statement removed", "pass", node


def _assigned_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Counter[str]:
    """Return how often a function gives a value to each of its names."""
    nodes = list(ast.walk(function))
    stored = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return Counter([*stored, *(node.arg for node in nodes if isinstance(node, ast.arg))])


def _text(node: ast.expr) -> str:
    """Return an expression as it can stand anywhere."""
    text = ast.unparse(ast.fix_missing_locations(node))
    is_atom = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return text if is_atom or (isinstance(node, ast.Constant) and text.isalnum()) else f"({text})"


def _is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_text(node: ast.BinOp) -> bool:
    """Whether it puts texts together: with another operator that is nothing but an error."""
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in ast.walk(node)
    )


def _only_raises(body: list[ast.stmt]) -> bool:
    return isinstance(body[0], ast.Raise) and body[0].exc is None
