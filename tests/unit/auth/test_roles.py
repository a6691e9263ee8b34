"""Roles, role maps and scopes (platform.md §13)."""

from __future__ import annotations

import pytest

from drydock.auth.caller import ALL_SCOPES
from drydock.auth.roles import SCOPES, parse_role_map, parse_scopes, role_of_groups
from drydock.core.errors import ConfigError


def test_roles_grow() -> None:
    assert SCOPES["viewer"] < SCOPES["operator"] < SCOPES["admin"] == ALL_SCOPES


def test_the_strongest_mapped_group_decides() -> None:
    mapping = parse_role_map(" admins:admin, ops:Operator ,urn:example:staff:viewer,")
    assert role_of_groups(["ops", "urn:example:staff"], mapping) == "operator"
    assert role_of_groups(["urn:example:staff"], mapping) == "viewer"


def test_an_unmapped_user_is_refused_unless_everybody_is_mapped() -> None:
    assert role_of_groups(["sales"], {"ops": "operator"}) is None
    assert role_of_groups([], {"ops": "operator", "*": "viewer"}) == "viewer"


def test_without_a_map_everybody_is_admin() -> None:
    assert role_of_groups(["anything"], {}) == "admin"


@pytest.mark.parametrize("text", ["admins", "admins:root", ":admin"])
def test_bad_maps_are_told(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_role_map(text)


def test_scopes() -> None:
    assert parse_scopes(["Read", " update "]) == {"read", "update"}
    assert parse_scopes(["admin"]) == ALL_SCOPES
    for bad in (["write"], []):
        with pytest.raises(ConfigError):
            parse_scopes(bad)
