"""Parses one expression of a template into a small tree (grammar: notifications.md §8.1).

Beyond the grammar of 1.7 it reads `||`, `==`, `!=`, `!`, `<`, `>`, calls on any value and chains of calls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

DEEPEST = 50

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|(?P<sign>&&|\|\||==|!=|[?:+().,!<>]))",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\([nt\"'])")
_ESCAPED = {"n": "\n", "t": "\t", '"': '"', "'": "'"}
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!="}),
    frozenset({"<", ">"}),
    frozenset({"+"}),
)
"""Operators from the loosest to the tightest."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text or number."""

    value: Any


@dataclass(frozen=True, slots=True)
class Lookup:
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Property:
    """`target.name`."""

    target: Node
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`target.method(arguments)`."""

    target: Node
    method: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? then : otherwise`."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Not:
    """`!operand`."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: Node
    right: Node


Node: TypeAlias = Literal | Lookup | Property | Call | Choice | Not | Binary
Token = tuple[str, str]


class _Malformed(Exception):
    """The text is no expression."""


def parse(expression: str) -> Node | None:
    """The tree of an expression; None when it is none, or is nested more than 50 deep."""
    try:
        parser = _Parser(_tokens(expression))
        node = parser.choice()
        parser.expect_end()
    except _Malformed:
        return None
    return node


def _tokens(expression: str) -> list[Token]:
    found: list[Token] = []
    position, text = 0, expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _Malformed
        kind = match.lastgroup or ""
        found.append((kind, match[kind]))
        position = match.end()
    return found


class _Parser:
    """Recursive descent; `depth` bounds both the recursion here and the one of evaluation."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    def choice(self) -> Node:
        """The whole expression: a condition, perhaps with its two outcomes."""
        self._deeper()
        condition = self._operators(0)
        if self._take("?"):
            then = self.choice()
            self._need(":")
            condition = Choice(condition, then, self.choice())
        self._depth -= 1
        return condition

    def expect_end(self) -> None:
        """Nothing may be left."""
        if self._position != len(self._tokens):
            raise _Malformed

    def _operators(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        node, length = self._operators(level + 1), 0
        while (operator := self._peek_sign()) in _LEVELS[level]:
            length += 1
            if length > DEEPEST:
                raise _Malformed
            self._position += 1
            node = Binary(operator, node, self._operators(level + 1))
        return node

    def _unary(self) -> Node:
        if self._take("!"):
            self._deeper()
            node: Node = Not(self._unary())
            self._depth -= 1
            return node
        return self._postfix(self._primary())

    def _primary(self) -> Node:
        kind, text = self._next()
        if kind == "number":
            return Literal(float(text) if "." in text else int(text))
        if kind == "text":
            return Literal(_ESCAPE.sub(lambda found: _ESCAPED[found[1]], text[1:-1]))
        if kind == "name":
            return Lookup(text)
        if text != "(":
            raise _Malformed
        node = self.choice()
        self._need(")")
        return node

    def _postfix(self, node: Node) -> Node:
        length = 0
        while self._take("."):
            length += 1
            kind, name = self._next()
            if kind != "name" or length > DEEPEST:
                raise _Malformed
            if not self._take("("):
                node = Property(node, name)
                continue
            arguments: list[Node] = []
            if not self._take(")"):
                arguments.append(self.choice())
                while self._take(","):
                    arguments.append(self.choice())
                self._need(")")
            node = Call(node, name, tuple(arguments))
        return node

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Malformed

    def _peek_sign(self) -> str:
        if self._position < len(self._tokens):
            kind, text = self._tokens[self._position]
            return text if kind == "sign" else ""
        return ""

    def _next(self) -> Token:
        if self._position >= len(self._tokens):
            raise _Malformed
        self._position += 1
        return self._tokens[self._position - 1]

    def _take(self, sign: str) -> bool:
        if self._peek_sign() != sign:
            return False
        self._position += 1
        return True

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise _Malformed
