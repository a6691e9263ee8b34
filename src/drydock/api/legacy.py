"""Which old names are still in use: variables, labels and paths of former versions (platform-api.md §4.2)."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

LegacySource = Literal["env", "label", "api"]


class LegacyInputs:
    """Old names met since the start. `uses` counts them by source and name; metrics read it."""

    def __init__(self) -> None:
        self.uses: Counter[tuple[str, str]] = Counter()

    def count(self, source: LegacySource, key: str) -> None:
        """Remember one use of an old name."""
        self.uses[source, key] += 1

    def listed(self) -> dict[str, Any]:
        """Uses and names by source, and the total."""
        found: dict[str, Any] = {"total": self.uses.total()}
        for source in ("env", "label", "api"):
            of_source = {key: uses for (where, key), uses in self.uses.items() if where == source}
            found[source] = {"total": sum(of_source.values()), "keys": sorted(of_source)}
        return found
