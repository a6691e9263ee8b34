"""Aliases of containers under recreation: the table of watching.md §5.4."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.core.temporary import canonical_name, is_temporary
from drydock.watch.names import AliasFilter, created_ms, display_name

NOW = 1_767_225_600_000
OWN = "8bf70beac570" + "0" * 52
ALIAS = "/8bf70beac570_web"


def entry(id: str, *names: str, age_s: float = 0) -> dict[str, Any]:
    return {"Id": id, "Names": list(names), "Created": NOW / 1000 - age_s}


@pytest.mark.parametrize(
    ("listed", "others", "stored", "kept", "reason"),
    [
        (entry(OWN, ALIAS, age_s=5), [], False, False, "fresh-recreated-alias"),
        (entry(OWN, ALIAS, age_s=120), [], False, True, "alias-allowed-no-collision"),
        (entry(OWN, ALIAS, age_s=120), ["web"], False, False, "base-name-present-in-docker"),
        (entry(OWN, ALIAS, age_s=120), [], True, False, "base-name-present-in-store"),
        (entry("1" * 64, ALIAS), [], False, True, "not-recreated-alias"),
        (entry(OWN, ALIAS, "/web"), [], False, False, "base-name-present-in-docker"),
        (entry(OWN, ALIAS, age_s=30), [], False, False, "fresh-recreated-alias"),
        (entry(OWN, ALIAS, age_s=-5), [], False, True, "alias-allowed-no-collision"),
        (entry(OWN, "/web"), [], True, True, "not-recreated-alias"),
        (entry(OWN, ALIAS.upper().replace("WEB", "web"), age_s=5), [], False, False, "fresh-recreated-alias"),
    ],
)
def test_aliases(listed: dict[str, Any], others: list[str], stored: bool, kept: bool, reason: str) -> None:
    aliases = AliasFilter()
    assert aliases.keep(listed, others.__contains__, lambda name: stored and name == "web", NOW) is kept
    assert aliases.decisions[-1].reason == reason
    assert display_name(listed) == "web"


def test_a_thousand_decisions_are_kept() -> None:
    aliases = AliasFilter()
    for _ in range(1100):
        aliases.keep(entry("1" * 64, "/web"), lambda _: False, lambda _: False, NOW)
    assert len(aliases.decisions) == 1000


@pytest.mark.parametrize(
    ("names", "shown"),
    [(["/web"], "web"), (["/123456789abc_web", "/other"], "other"), (["/123456789abc_web"], "web"), ([], "")],
)
def test_the_name_to_show(names: list[str], shown: str) -> None:
    assert display_name({"Names": names}) == shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000, 1_700_000_000_000),
        (1_700_000_000_000, 1_700_000_000_000),
        ("1700000000", 1_700_000_000_000),
        ("x", None),
    ],
)
def test_creation_times(value: Any, expected: int | None) -> None:
    assert created_ms(value) == expected


def test_names_of_the_updater() -> None:
    assert is_temporary("web-old-1767225600000")
    assert not is_temporary("web-old-123456789")
    assert canonical_name("web-old-1767225600000-old-1767225600001") == "web"
