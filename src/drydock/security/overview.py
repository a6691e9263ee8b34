"""All findings of the fleet, grouped by image (container-api.md §6.1, security.md §8.5).

Works on the stored documents without copying containers: 10,000 findings stay well under 50 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from drydock.core.model import Container

COUNTS = ("unknown", "low", "medium", "high", "critical")
Row = dict[str, Any]


class Group(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One image: the containers that run it and what was found in it."""

    image: str
    container_ids: list[str]
    vulnerabilities: list[Row]
    update_summary: dict[str, int] | None = None


class Overview(msgspec.Struct, kw_only=True, rename="camel"):
    """The whole answer, before paging: `images` with all their findings, `total` findings."""

    total_containers: int
    scanned_containers: int
    latest_scanned_at: str | None
    total: int
    images: list[Group]


def overview(containers: Iterable[Container]) -> Overview:
    """Group the scanned ones by image name; identical findings of one image appear once."""
    groups: dict[str, Group] = {}
    seen: dict[str, set[tuple[Any, ...]]] = {}
    count = scanned = 0
    latest: str | None = None
    for container in containers:
        count += 1
        scan = (container.security or {}).get("scan")
        if not isinstance(scan, dict):
            continue
        scanned += 1
        latest = max(filter(None, (latest, scan.get("scannedAt"))), default=None)
        name = container.image.name or container.display_name or container.name or "unknown"
        group = groups.setdefault(name, Group(image=name, container_ids=[], vulnerabilities=[]))
        _join(group, seen.setdefault(name, set()), container, scan)
    images = list(groups.values())
    return Overview(
        total_containers=count,
        scanned_containers=scanned,
        latest_scanned_at=latest,
        total=sum(len(group.vulnerabilities) for group in images),
        images=images,
    )


def _join(group: Group, seen: set[tuple[Any, ...]], container: Container, scan: Row) -> None:
    if container.id not in group.container_ids:
        group.container_ids.append(container.id)
    candidate = (container.security or {}).get("updateScan")
    if isinstance(candidate, dict) and isinstance(candidate.get("summary"), dict):
        counts = {name: candidate["summary"].get(name) for name in COUNTS}
        # A non-negative whole number, whatever an older release stored; only NaN differs from itself.
        group.update_summary = {
            name: max(0, int(value)) if isinstance(value, (int, float)) and value == value else 0
            for name, value in counts.items()
        }
    for found in scan.get("vulnerabilities") or ():
        key = (found.get("id"), found.get("packageName"), found.get("installedVersion"), found.get("target"))
        if key not in seen:
            seen.add(key)
            group.vulnerabilities.append(_row(found))


def _row(found: Row) -> Row:
    get = found.get
    return {
        "id": get("id") or "unknown",
        "severity": get("severity") or "UNKNOWN",
        "package": get("packageName") or "unknown",
        "version": get("installedVersion") or "",
        "fixedIn": get("fixedVersion") or None,
        "title": get("title") or "",
        "target": get("target") or "",
        "primaryUrl": get("primaryUrl") or "",
        "publishedDate": get("publishedDate") or "",
    }


def page(images: Sequence[Group], limit: int, offset: int) -> tuple[list[Group], int]:
    """The rows of one page, regrouped, and how many they are; without limit and offset all groups, empty ones too."""
    if limit == 0 and offset == 0:
        return list(images), sum(len(group.vulnerabilities) for group in images)
    end = offset + limit if limit else None
    cut: list[Group] = []
    at = returned = 0
    for group in images:
        rows = group.vulnerabilities[max(0, offset - at) : None if end is None else max(0, end - at)]
        at += len(group.vulnerabilities)
        if rows:
            returned += len(rows)
            cut.append(msgspec.structs.replace(group, vulnerabilities=rows))
    return cut, returned
