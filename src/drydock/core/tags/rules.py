"""The stable names of the rules that decide about tags; documentation and traces use them (explain.md)."""

from __future__ import annotations

from typing import Final

SHA_OR_SIGNATURE: Final = "sha-or-signature"
INCLUDE_REGEX: Final = "include-regex"
EXCLUDE_REGEX: Final = "exclude-regex"
PREFIX: Final = "prefix"
NOT_A_VERSION: Final = "not-a-version"
SEGMENT_COUNT: Final = "segment-count"
SUFFIX_FAMILY: Final = "suffix-family"
PRERELEASE: Final = "prerelease"
FAMILY_PREFIX: Final = "family-prefix"
ZERO_PADDING: Final = "zero-padding"
NOT_GREATER: Final = "not-greater"
RUNNING_TAG: Final = "running-tag"
NO_INCLUDE: Final = "no-include"
PINNED_TAG: Final = "pinned-tag"
FLOATING_TAG: Final = "floating-tag"

REMOVAL: Final[dict[str, str]] = {
    SHA_OR_SIGNATURE: "a hash or a signature, not a version to run",
    INCLUDE_REGEX: "does not match the include filter (dd.tag.include)",
    EXCLUDE_REGEX: "matches the exclude filter (dd.tag.exclude)",
    PREFIX: "does not start with the running tag's prefix",
    NOT_A_VERSION: "is not a version, even after the transform",
    SEGMENT_COUNT: "has a different number of version segments from the running tag",
    SUFFIX_FAMILY: "belongs to another variant: its suffix differs from the running tag's",
    PRERELEASE: "is a prerelease, the running tag is a release",
    FAMILY_PREFIX: "has another prefix; dd.tag.family=loose would allow it",
    ZERO_PADDING: "pads numbers with zeros, the running tag does not; dd.tag.family=loose would allow it",
    NOT_GREATER: "is not newer than the running tag",
    RUNNING_TAG: "is the running tag",
    NO_INCLUDE: "the running tag is not a version; only dd.tag.include makes tags candidates",
    PINNED_TAG: "is newer, but the running tag is pinned: set dd.tag.include or dd.tag.family=loose to follow it",
    FLOATING_TAG: "is newer, but the running tag is floating: set dd.tag.family=loose to follow it",
}
"""Why a tag of the list is no candidate: rule id → reason in words."""

NEWEST: Final = "newest-in-family"
RECOVERY: Final = "running-tag-excluded"
INCLUDE_ONLY: Final = "include-decides"
NOTHING_NEWER: Final = "nothing-newer"
OUTSIDE_FAMILY: Final = "outside-family"
NOTHING_LEFT: Final = "nothing-left"

DECISION: Final[dict[str, str]] = {
    NEWEST: "the newest member of the running tag's family is the candidate",
    RECOVERY: "the include filter excludes the running tag, so every matching member of the family is a candidate, even a lower one",
    INCLUDE_ONLY: "the running tag is not a version, so the best tag that the include filter allows is the candidate",
    PINNED_TAG: "a pinned tag without include filter is never moved to another tag; only its digest is compared",
    FLOATING_TAG: "a floating tag in a strict family is never moved to another tag; only its digest is compared",
    NO_INCLUDE: "the running tag is not a version and no include filter is set; only its digest is compared",
    NOTHING_NEWER: "the family of the running tag has no newer member",
    OUTSIDE_FAMILY: "newer tags exist, but none of the running tag's family",
    NOTHING_LEFT: "no tag of the list passed the filters",
}
"""What decided the whole list: rule id → meaning."""

PINNED_NO_DIGEST: Final = "PINNED-NO-DIGEST"
FLOATING_NO_DIGEST: Final = "FLOATING-NO-DIGEST"
FLOATING_FILTER: Final = "FLOATING-FILTER"
STRICT_FAMILY: Final = "STRICT-FAMILY"
DIGEST_ONLY: Final = "DIGEST-ONLY"
LOCAL_IMAGE: Final = "LOCAL-IMAGE"

REASON: Final[dict[str, str]] = {
    PINNED_NO_DIGEST: "pinned tag and digest watching off: no change can be noticed",
    FLOATING_NO_DIGEST: "floating tag and digest watching off: rebuilds of the tag are not noticed",
    FLOATING_FILTER: "floating tag with an include filter: newer members exist, but only dd.tag.family=loose climbs",
    STRICT_FAMILY: "higher tags exist outside the running tag's family",
    DIGEST_ONLY: "the container runs by digest: there is no tag to compare",
    LOCAL_IMAGE: "the image was built locally: no registry is queried",
}
"""Codes behind `result.noUpdateReason` → meaning."""
