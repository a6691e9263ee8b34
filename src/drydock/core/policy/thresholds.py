"""Trigger references in labels, and the thresholds they and triggers carry (watching.md §12.3)."""

from __future__ import annotations

from typing import Final

import msgspec

from drydock.core.model import UpdateKind

_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "major": frozenset({"major", "minor", "patch", "prerelease"}),
    "minor": frozenset({"minor", "patch", "prerelease"}),
    "patch": frozenset({"patch", "prerelease"}),
    "major-only": frozenset({"major"}),
    "minor-only": frozenset({"minor"}),
}
NO_DIGEST: Final = "-no-digest"
THRESHOLDS: Final = ("all", "digest", *_ALLOWED, *(f"{name}{NO_DIGEST}" for name in _ALLOWED))


class TriggerReference(msgspec.Struct, frozen=True):
    """One entry of a reference list: which trigger, and from which threshold on."""

    name: str
    threshold: str = "all"


def reaches(kind: UpdateKind, threshold: str) -> bool:
    """Whether an update is large enough for a threshold; one that is not known counts as `all`."""
    base = threshold.removesuffix(NO_DIGEST)
    if base != threshold and kind.kind == "digest":
        return False
    if base not in _ALLOWED and base != "digest":
        return True
    if kind.kind == "unknown":
        return False
    if base == "digest":
        return kind.kind == "digest"
    if kind.kind == "tag" and kind.semver_diff != "unknown":
        return kind.semver_diff in _ALLOWED[base]
    return True


def parse_references(text: str | None) -> list[TriggerReference]:
    """Read `ref[:threshold], …`; an unknown threshold, or more than one `:`, means `all`."""
    found = []
    for entry in filter(None, map(str.strip, (text or "").split(","))):
        name, *rest = (part.strip() for part in entry.split(":"))
        threshold = rest[0].lower() if len(rest) == 1 else ""
        found.append(TriggerReference(name, threshold if threshold in THRESHOLDS else "all"))
    return found


def names(reference: TriggerReference, trigger_id: str) -> bool:
    """Whether a reference means this trigger: by full id, by name, or by `provider.name`, in any case."""
    wanted, parts = reference.name.lower(), trigger_id.lower().split(".")
    return wanted in (".".join(parts), parts[-1], ".".join(parts[-2:]))


def match_reference(references: list[TriggerReference], trigger_id: str, kind: UpdateKind) -> TriggerReference | None:
    """The first reference that names the trigger decides: it, if the update reaches its threshold, else None."""
    for reference in references:
        if names(reference, trigger_id):
            return reference if reaches(kind, reference.threshold) else None
    return None
