"""One measured figure beside its budget, the table for people, the file for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """`measured` against `budget` in `unit`; `better` says in which direction the budget holds."""

    item: str
    measured: float
    budget: float
    unit: str
    better: Literal["less", "more"] = "less"

    @property
    def met(self) -> bool:
        """Whether the budget holds."""
        return self.measured <= self.budget if self.better == "less" else self.measured >= self.budget


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(title="Budgets (machines are noisy: ratios and counts are what to trust)")
    for column in ("item", "measured", "budget", ""):
        table.add_column(column, justify="right" if column in ("measured", "budget") else "left")
    for figure in figures:
        sign = "≤" if figure.better == "less" else "≥"
        mark = "met" if figure.met else "MISSED"
        table.add_row(figure.item, f"{figure.measured:g} {figure.unit}", f"{sign} {figure.budget:g}", mark)
    Console(width=120).print(table)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = [{**asdict(figure), "met": figure.met} for figure in figures]
    path.write_text(json.dumps(document, indent=2) + "\n")
