"""Three fixed roles and the scopes they stand for (platform.md §13)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

from drydock.auth.caller import ALL_SCOPES, Scope
from drydock.core.errors import ConfigError

Role = Literal["viewer", "operator", "admin"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""Weakest first."""

SCOPES: Final[Mapping[Role, frozenset[str]]] = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "watch", "update"}),
    "admin": ALL_SCOPES,
}

EVERYBODY = "*"


def parse_role(text: str) -> Role:
    """One role by name, in any case."""
    for role in ROLES:
        if text.strip().lower() == role:
            return role
    raise ConfigError(f"unknown role {text.strip()!r}: use viewer, operator or admin")


def parse_role_map(text: str) -> dict[str, Role]:
    """Read `admins:admin,ops:operator,*:viewer`. Group names may contain colons; the role follows the last one."""
    found: dict[str, Role] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        group, colon, role = item.rpartition(":")
        if not colon or not group.strip():
            raise ConfigError(f"{item!r} must be written <group>:<role>")
        found[group.strip()] = parse_role(role)
    return found


def role_of_groups(groups: Iterable[str], mapping: Mapping[str, Role]) -> Role | None:
    """The strongest role that any of the groups gives; None when no group is mapped and there is no `*`.

    Without a mapping everyone is an admin, as in 1.x.
    """
    if not mapping:
        return "admin"
    given = {mapping[group] for group in (*groups, EVERYBODY) if group in mapping}
    return max(given, key=ROLES.index, default=None)


def parse_scopes(names: Iterable[str]) -> frozenset[str]:
    """Scopes by name; `admin` includes the others. `ConfigError` for an unknown or empty set."""
    asked = {name.strip().lower() for name in names if name.strip()}
    strange = sorted(asked - ALL_SCOPES)
    if strange or not asked:
        known = ", ".join(get_args(Scope))
        raise ConfigError(f"unknown scope {strange[0]!r}: use {known}" if strange else f"needs one scope of {known}")
    return ALL_SCOPES if "admin" in asked else frozenset(asked)
