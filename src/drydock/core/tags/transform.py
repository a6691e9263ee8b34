"""Tag transforms: `regex => replacement`, applied before any comparison (watching.md §7.3)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

from drydock.core.errors import InvalidTransform
from drydock.core.tags.pattern import CACHE, MAX_LENGTH, RE2_HINT, describe

_GROUP = re.compile(r"\$([0-9]+)")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class Transform:
    """A compiled formula. Without a match the tag stays; with one the replacement alone is the result."""

    __slots__ = ("_expression", "_replacement")

    def __init__(self, expression: Any | None = None, replacement: str = "") -> None:
        self._expression = expression
        self._replacement = replacement

    def apply(self, tag: str) -> str:
        """The text that is compared instead of `tag`; `$n` is group n, a missing or unmatched group is empty."""
        if self._expression is None:
            return tag
        match = self._expression.search(tag)
        if match is None:
            return tag
        groups: tuple[str | None, ...] = (match[0], *match.groups())

        def group(found: re.Match[str]) -> str:
            index = int(found[1]) if len(found[1]) < 5 else len(groups)
            return (groups[index] or "") if index < len(groups) else ""

        return _GROUP.sub(group, self._replacement)


IDENTITY = Transform()


@lru_cache(maxsize=CACHE)
def compile_transform(formula: str | None) -> Transform:
    """Compile a formula; none, or one without `=>`, is the identity. Raises InvalidTransform."""
    expression, arrow, replacement = (formula or "").partition("=>")
    if not arrow:
        return IDENTITY
    expression = expression.strip()
    if len(expression) > MAX_LENGTH:
        raise InvalidTransform(f"The transform's expression has {len(expression)} characters, {MAX_LENGTH} are allowed")
    try:
        return Transform(re2.compile(expression, _OPTIONS), replacement.strip())
    except re2.error as error:
        raise InvalidTransform(
            f"dd.tag.transform cannot be used: {expression!r}: {describe(error)}",
            hint=RE2_HINT,
        ) from error


def transformed(tag: str, formula: str | None) -> str:
    """`tag` after the formula; a formula that cannot be used leaves it as it is (watching.md B7)."""
    try:
        return compile_transform(formula).apply(tag)
    except InvalidTransform:
        return tag
