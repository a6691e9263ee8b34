"""The `${…}` language of message templates (notifications.md §8.1): what it means and how it is rendered.

Rendering is total: whatever is unknown, missing, forbidden or malformed becomes an empty text. Names are resolved only
through dictionary keys and list lengths, never through attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from drydock.notify.templates.methods import call
from drydock.notify.templates.parser import Binary, Call, Choice, Literal, Lookup, Node, Not, Property, parse

LONGEST_TEXT = 256 * 1024
LONGEST_EXPRESSION = 4096
_FORBIDDEN = frozenset({"constructor", "prototype"})
_QUOTES = "\"'"

Part = str | Node


def render(template: str, variables: Mapping[str, Any]) -> str:
    """`template` with every `${expression}` replaced by its value. Never raises; the result is cut at 256 KiB."""
    parts: list[str] = []
    left = LONGEST_TEXT
    for part in compiled(template):
        text = (part if isinstance(part, str) else to_text(evaluate(part, variables)))[:left]
        parts.append(text)
        left -= len(text)
        if left <= 0:
            break
    return "".join(parts)


@lru_cache(maxsize=512)
def compiled(template: str) -> tuple[Part, ...]:
    """The literal texts and expressions of a template; an expression that is none is left out."""
    parts: list[Part] = []
    position = 0
    while (begin := template.find("${", position)) >= 0:
        end = _end_of_expression(template, begin + 2)
        if end < 0:
            break
        parts.append(template[position:begin])
        node = parse(template[begin + 2 : end]) if end - begin <= LONGEST_EXPRESSION else None
        if node is not None:
            parts.append(node)
        position = end + 1
    return (*parts, template[position:])


def _end_of_expression(template: str, begin: int) -> int:
    """Where the closing brace is, braces inside quotes passed over; the first brace when a quote stays open."""
    quote = ""
    limit = min(len(template), begin + LONGEST_EXPRESSION)
    position = begin
    while position < limit:
        ch = template[position]
        if quote:
            if ch == "\\":
                position += 1
            elif ch == quote:
                quote = ""
        elif ch in _QUOTES:
            quote = ch
        elif ch == "}":
            return position
        position += 1
    return template.find("}", begin)


def evaluate(node: Node, variables: Mapping[str, Any]) -> Any:
    """The value of an expression; None for everything that is missing."""
    match node:
        case Literal(value):
            return value
        case Lookup(name):
            return None if _forbidden(name) else variables.get(name)
        case Property(target, name):
            return _property(evaluate(target, variables), name)
        case Call(target, method, arguments):
            return call(evaluate(target, variables), method, [evaluate(one, variables) for one in arguments], to_text)
        case Choice(condition, then, otherwise):
            return evaluate(then if truthy(evaluate(condition, variables)) else otherwise, variables)
        case Not(operand):
            return not truthy(evaluate(operand, variables))
        case Binary(operator, left, right):
            return _binary(operator, left, right, variables)


def _forbidden(name: str) -> bool:
    return name.startswith("_") or name in _FORBIDDEN


def _property(value: Any, name: str) -> Any:
    if _forbidden(name):
        return None
    if isinstance(value, Mapping):
        return value.get(name)
    if name == "length" and isinstance(value, str | list | tuple):
        return len(value)
    return None


def _binary(operator: str, left: Node, right: Node, variables: Mapping[str, Any]) -> Any:
    first = evaluate(left, variables)
    if operator == "&&":
        return evaluate(right, variables) if truthy(first) else first
    if operator == "||":
        return first if truthy(first) else evaluate(right, variables)
    second = evaluate(right, variables)
    if operator == "+":
        return (to_text(first) + to_text(second))[:LONGEST_TEXT]
    if not (_is_number(first) and _is_number(second)):
        first, second = to_text(first), to_text(second)
    return _COMPARISONS[operator](first, second)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


def truthy(value: Any) -> bool:
    """Empty text, 0, false and what is missing are false; everything else is true, empty lists and objects too."""
    if isinstance(value, Mapping | list | tuple):
        return True
    return bool(value)


def to_text(value: Any) -> str:
    """A value as text: nothing for what is missing, `true`, `1.5`, compact JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() < 1024 else ""  # a number of a million digits takes seconds to write
    try:
        return msgspec.json.encode(value).decode()[:LONGEST_TEXT]
    except (TypeError, ValueError, RecursionError):
        return ""
