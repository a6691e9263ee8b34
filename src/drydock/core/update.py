"""What kind of update a record holds, blind to policy (watching.md §8.1–8.3; container-api.md §2.4, §2.5; B4)."""

from __future__ import annotations

from drydock.core.model import Container, Result, SemverDiff, UpdateKind
from drydock.core.tags.family import natural_compare, severity
from drydock.core.tags.shape import parse as parse_shape
from drydock.core.tags.transform import transformed
from drydock.core.tags.version import compare
from drydock.core.tags.version import parse as parse_version
from drydock.core.times import from_iso

Identity = tuple[str | None, str | None, str | None]
NO_KIND = UpdateKind(kind="unknown", semver_diff="unknown")

_DIFFS: dict[str | None, SemverDiff] = {
    "major": "major",
    "premajor": "major",
    "minor": "minor",
    "preminor": "minor",
    "patch": "patch",
    "prepatch": "patch",
    "prerelease": "prerelease",
}


def has_raw_update(container: Container, *, raw_tags: bool = False) -> bool:
    """Whether the last check found something else than what runs. `raw_tags` compares untransformed tags (§12.1)."""
    result = container.result
    if result is None:
        return False
    if tags_differ(container, result, raw_tags=raw_tags) or digests_differ(container, result):
        return True
    # Build dates decide only where a digest is missing on one side (B4).
    if container.image.digest.value and result.digest:
        return False
    local, remote = from_iso(container.image.created), from_iso(result.created)
    return local is not None and remote is not None and local != remote


def tags_differ(container: Container, result: Result, *, raw_tags: bool = False) -> bool:
    """Both tags are known and differ after the container's transform."""
    local, remote = container.image.tag.value, result.tag
    if not local or not remote or local == remote:
        return False
    formula = container.transform_tags
    return raw_tags or transformed(local, formula) != transformed(remote, formula)


def digests_differ(container: Container, result: Result) -> bool:
    """Digest watching is on, both digests are known and differ."""
    digest = container.image.digest
    return bool(digest.watch and digest.value and result.digest and digest.value != result.digest)


def update_kind(container: Container) -> UpdateKind:
    """Kind, values and severity of the raw update; `unknown` when there is none or only dates differ."""
    result = container.result
    if result is None:
        return NO_KIND
    if tags_differ(container, result):
        return UpdateKind(
            kind="tag",
            local_value=container.image.tag.value,
            remote_value=result.tag,
            semver_diff=semver_diff(container, result),
        )
    if digests_differ(container, result):
        return UpdateKind(
            kind="digest",
            local_value=container.image.digest.value,
            remote_value=result.digest,
            semver_diff="unknown",
        )
    return NO_KIND


def semver_diff(container: Container, result: Result) -> SemverDiff:
    """Severity of the step between the transformed tags; `unknown` for a running tag that is no version."""
    if not container.image.tag.semver or not result.tag:
        return "unknown"
    formula = container.transform_tags
    step = severity(transformed(container.image.tag.value, formula), transformed(result.tag, formula))
    return _DIFFS.get(step, "unknown")


def direction(container: Container) -> int | None:
    """1 for a tag update that goes up, -1 for one that an include filter forces down (B17), None if not comparable."""
    if container.result is None or not tags_differ(container, container.result):
        return None
    formula = container.transform_tags
    local, remote = (transformed(tag or "", formula) for tag in (container.image.tag.value, container.result.tag))
    natural = natural_compare(parse_shape(remote), parse_shape(local))
    if natural is not None:
        return natural or None
    old, new = parse_version(local), parse_version(remote)
    return compare(new, old) or None if old is not None and new is not None else None


def candidate_identity(container: Container) -> Identity | None:
    """What makes two findings the same candidate: tag, digest, and the date only without a digest (§9.1).

    One function for clock restart, recreation matching and notification de-duplication. None without a result.
    """
    result = container.result
    if result is None:
        return None
    return result.tag, result.digest, None if result.digest else result.created
