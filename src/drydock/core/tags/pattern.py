"""Regular expressions written by users: RE2 (linear time), at most 1024 characters, searched unanchored (watching.md §7.5, §14)."""

from __future__ import annotations

from functools import lru_cache

import re2

from drydock.core.errors import InvalidPattern

MAX_LENGTH = 1024
CACHE = 256

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True


class Pattern:
    """A compiled tag filter. `matches` searches anywhere in the raw tag."""

    __slots__ = ("_set", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        re2.compile(text, _OPTIONS)  # says what is wrong; the set, which matches faster, does not
        self._set = re2.Set.SearchSet(_OPTIONS)
        self._set.Add(text)
        self._set.Compile()

    def matches(self, tag: str) -> bool:
        """Whether the expression is found in `tag`."""
        return bool(self._set.Match(tag))


@lru_cache(maxsize=CACHE)
def compile_pattern(text: str) -> Pattern:
    """Compile a user's expression. Raises InvalidPattern saying why and what is allowed."""
    if len(text) > MAX_LENGTH:
        raise InvalidPattern(f"The expression has {len(text)} characters, {MAX_LENGTH} are allowed")
    try:
        return Pattern(text)
    except re2.error as error:
        raise InvalidPattern(f"Not a valid RE2 expression: {text!r}: {describe(error)}", hint=RE2_HINT) from error


RE2_HINT = "Look-around and back-references do not exist in RE2; see the RE2 syntax"


def describe(error: Exception) -> str:
    """RE2's own words, whether it reports bytes or text."""
    reason = error.args[0] if error.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
