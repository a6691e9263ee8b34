"""The one picture of all containers."""

from __future__ import annotations


class Fleet:
    """Placeholder of the skeleton; the next commit fills it."""
