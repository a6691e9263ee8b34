"""The decision trace: what each rule decided and why (explain.md).

The decision itself produces it; nothing is reconstructed afterwards. The API, the CLI and the web interface show the
same object.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Stage = Literal[
    "discovery",
    "reference",
    "registry",
    "tags",
    "digest",
    "kind",
    "policy",
    "maturity",
    "eligibility",
    "action",
]
Outcome = Literal["pass", "stop", "skip", "fail"]
Verdict = Literal["update-available", "suppressed", "newer-exists", "up-to-date", "unknown", "not-checked"]

REMOVED_SHOWN = 200


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One rule's decision. Every `stop` and `fail` names the setting, label or answer responsible."""

    stage: Stage
    outcome: Outcome
    reason: str
    details: dict[str, Any] | None = None


class RemovedTag(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tag that is no candidate: the stable id of the rule that removed it, and its reason in words."""

    tag: str
    rule: str
    reason: str


class TagTrace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What happened to the tag list. `removed` is cut at 200 entries; `removed_total` counts all of them."""

    listed: int
    considered: int
    removed: list[RemovedTag] = []
    removed_total: int = 0
    removed_by_rule: dict[str, int] = {}
    kept: list[str] = []
    chosen: str | None = None


class HostRequests(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Requests that the last check made of one host, answers served from cache, and the quota left if it says so."""

    host: str
    requests: int = 0
    cached: int = 0
    quota_left: int | None = None


class Trace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The stored part of an explanation: what the last check did. Policy and eligibility are added when it is read."""

    steps: list[Step] = []
    tags: TagTrace | None = None
    requests: list[HostRequests] = []
    checked_at: str | None = None
