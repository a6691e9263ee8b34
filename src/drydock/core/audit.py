"""An audit entry and what one may ask for (platform-api.md §10; catalogue: platform.md §9)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

AuditStatus = Literal["success", "error", "info"]

AUTHENTICATION: Final = "authentication"
"""Container name of entries about users and keys."""


class Requester(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who requested something: user name, address, and the API key that was used."""

    user: str | None = None
    ip: str | None = None
    key: str | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One thing that happened. `container_identity_key` is `core.model.audit_key`, agent empty for local ones."""

    id: str
    timestamp: str
    action: str
    container_name: str
    status: AuditStatus
    container_identity_key: str | None = None
    container_image: str | None = None
    from_version: str | None = None
    to_version: str | None = None
    update_kind: Literal["tag", "digest", "unknown"] | None = None
    semver_diff: Literal["major", "minor", "patch", "prerelease", "unknown"] | None = None
    trigger_name: str | None = None
    details: str | None = None
    user: str | None = None
    ip: str | None = None
    key: str | None = None
    """Id of the API key that was used."""


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted; times in epoch ms, both inclusive.

    `agent` is empty for what happened on this server itself. `text` stands in any field, in any case.
    """

    actions: tuple[str, ...] = ()
    container: str | None = None
    status: str | None = None
    agent: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None
