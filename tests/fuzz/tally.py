"""What the cases were answered, by operation and caller; told at the end of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

PROPERTY = "fuzz"


class Tally:
    """Counts statuses by operation and caller."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Counter[str]]] = {}

    def add(self, label: str, who: str, statuses: Mapping[str, int]) -> None:
        """Statuses of one test."""
        self.answers.setdefault(label, {}).setdefault(who, Counter()).update(statuses)

    def take(self, properties: list[tuple[str, Any]]) -> None:
        """What a test reported about itself."""
        for name, value in properties:
            if name == PROPERTY:
                self.add(value["label"], value["who"], value["statuses"])

    @property
    def cases(self) -> int:
        return sum(counter.total() for callers in self.answers.values() for counter in callers.values())

    def lines(self) -> Iterator[str]:
        """One line per operation: cases, share of success of the callers that may succeed, all statuses."""
        for label, callers in sorted(self.answers.items(), key=lambda item: item[0].split(" ")[::-1]):
            every: Counter[str] = sum(callers.values(), Counter())
            able = sum((callers.get(who, Counter()) for who in ("admin", "person")), Counter())
            share = sum(count for status, count in able.items() if status[0] in "23") / max(able.total(), 1)
            statuses = " ".join(f"{status}×{count}" for status, count in sorted(every.items()))
            yield f"{every.total():6} {share:5.0%}  {label}  {statuses}"

    def unsuccessful(self) -> list[str]:
        """Operations that never succeeded, whoever called them."""
        return [
            label
            for label, callers in self.answers.items()
            if not any(status[0] in "23" for counter in callers.values() for status in counter)
        ]


TALLY = Tally()
