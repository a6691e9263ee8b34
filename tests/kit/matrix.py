"""How much of a crash matrix runs: a fixed tenth by default, all of it with `--whole-matrix` (`make matrix`).

The tenth is the same in every run and lies evenly over scenes, ways to fail and points: neighbours in any direction
belong to different tenths, so that each is met within ten cases.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import pytest

Case = TypeVar("Case", bound=tuple[int, ...])
SHARE = 10
STRIDES = (7, 3, 1)
"""Steps of scene, way to fail and point; none shares a factor with `SHARE`."""


class Matrix:
    """Chooses cases, given by their coordinates, and counts them."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.ran = self.all = 0

    def choose(self, cases: Iterable[Case]) -> list[Case]:
        """The cases that run."""
        known = list(cases)
        chosen = [case for case in known if self.whole or self._number(case) % SHARE == 0]
        self.all += len(known)
        self.ran += len(chosen)
        return chosen

    @staticmethod
    def _number(case: tuple[int, ...]) -> int:
        return sum(stride * place for stride, place in zip(STRIDES, case, strict=True))


def summary(reports: Iterable[object]) -> str | None:
    """One line for the end of the run; None when no matrix ran."""
    told = (report.user_properties for report in reports if isinstance(report, pytest.TestReport))
    counts = [value for properties in told for name, value in properties if name == "matrix"]
    if not counts:
        return None
    ran, known = (sum(each) for each in zip(*counts, strict=True))
    share = "all of it" if ran == known else "a tenth; all of it: make matrix"
    return f"crash matrix: {ran} of {known} cases ({share})"
