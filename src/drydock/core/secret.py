"""A secret that cannot be printed by accident."""

from __future__ import annotations

MASK = "[REDACTED]"
"""Stands for a secret wherever configuration is shown."""


class Secret:
    """Holds a password, token or key; `repr`, `str` and formatting show `***`. `reveal()` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself. Call it only where it is sent."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)
