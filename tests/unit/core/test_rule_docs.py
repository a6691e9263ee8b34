"""The names of rules are a promise: each one is documented with its meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from drydock.core.tags import rules

PAGE = (Path(__file__).parents[3] / "docs" / "decision-rules.md").read_text()


@pytest.mark.parametrize("listed", [rules.REMOVAL, rules.DECISION, rules.REASON], ids=["removal", "decision", "reason"])
def test_every_rule_is_documented(listed: dict[str, str]) -> None:
    for name, meaning in listed.items():
        assert f"| `{name}` | {meaning} |" in PAGE
