"""Which image a stored scan is about, and what stays valid when the container or its candidate changes. Pure.

`container.security` is a plain dict here (wire names, container-api.md §2.11); rules of security.md §2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drydock.core.model import Container
from drydock.core.reference import split

Security = dict[str, Any]
RUNNING = ("scan", "signature", "sbom")
CANDIDATE = ("updateScan", "updateSignature", "updateSbom")


def running_digests(container: Container) -> frozenset[str]:
    """Every name the running image is known by: its registry digests and its local id."""
    digest = container.image.digest
    names = (digest.value, digest.repo, container.image.id, *(digest.repo_digests or ()))
    return frozenset(name.rpartition("@")[2] for name in names if name)


def of_running(entry: Mapping[str, Any], container: Container) -> bool:
    """The entry is about the image that runs; without a digest its tag decides."""
    digest = entry.get("imageDigest") or entry.get("subjectDigest")
    if digest:
        return digest in running_digests(container)
    return tag_of(entry) in (container.image.tag.value, "")


def of_candidate(entry: Mapping[str, Any], container: Container) -> bool:
    """The entry is about the candidate of the last check."""
    result = container.result
    if result is None:
        return False
    digest = entry.get("imageDigest") or entry.get("subjectDigest")
    if digest and result.digest:
        return bool(digest == result.digest)
    return not result.tag or tag_of(entry) in (result.tag, "")


def tag_of(entry: Mapping[str, Any]) -> str:
    """The tag in the reference that was looked at; empty for one by digest."""
    return split(str(entry.get("image") or "")).tag or ""


def settled(security: Security | None, container: Container) -> Security | None:
    """What of `security` still holds for the container as it is now.

    Results about another image than the one that runs go, or become those of the candidate that was installed.
    """
    if not security:
        return None
    kept = dict(security)
    for name, later in zip(RUNNING, CANDIDATE, strict=True):
        # the candidate is what runs now: its results count, unless the running image has its own
        found = security.get(later)
        runs_now = found is not None and _names_a_digest(found) and of_running(found, container)
        has_own = name in security and of_running(security[name], container)
        if found is not None and runs_now and not has_own:
            kept[name] = found
    stale = [name for name in RUNNING if name in kept and not of_running(kept[name], container)]
    stale += [name for name in CANDIDATE if name in kept and not of_candidate(kept[name], container)]
    for name in stale:
        del kept[name]
    return kept or None


def inherited(security: Security, container: Container) -> Security | None:
    """What a container that runs another image takes over: only what names the digest it is about."""
    return settled({name: entry for name, entry in security.items() if _names_a_digest(entry)}, container)


def _names_a_digest(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("imageDigest") or entry.get("subjectDigest"))
