"""`dd_containers`: one series per container, its record flattened into labels (platform.md §10). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from drydock.metrics.families import Computed, Labels

ALLOWED = frozenset(
    [
        "agent",
        "display_icon",
        "display_name",
        "error_message",
        "exclude_tags",
        "id",
        "image_architecture",
        "image_created",
        "image_digest_repo",
        "image_digest_value",
        "image_digest_watch",
        "image_id",
        "image_name",
        "image_os",
        "image_registry_lookup_image",
        "image_registry_name",
        "image_registry_url",
        "image_tag_semver",
        "image_tag_value",
        "image_variant",
        "include_tags",
        "link",
        "link_template",
        "name",
        "result_created",
        "result_digest",
        "result_link",
        "result_tag",
        "status",
        "transform_tags",
        "trigger_exclude",
        "trigger_include",
        "update_available",
        "update_kind_kind",
        "update_kind_local_value",
        "update_kind_remote_value",
        "update_kind_semver_diff",
        "watcher",
    ]
)
ROOTS = frozenset(name.split("_")[0] for name in ALLOWED)

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Documents = Callable[[], Iterable[Mapping[str, Any]]]
"""Gives the containers in their public form (container-api.md §2), as JSON-like documents."""


def families(documents: Documents) -> tuple[Computed, ...]:
    """The families that describe the fleet; they read `documents` at each scrape."""
    return (
        Computed("dd_containers", "The watched containers", lambda: map(_series, documents())),
        Computed(
            "drydock_containers_unknown",
            "Containers whose last check failed, so that nothing is known about newer images",
            lambda: _unknown(documents()),
        ),
        Computed("drydock_updates_available", "Available updates by kind", lambda: _updates(documents())),
    )


def labels_of(document: Mapping[str, Any]) -> Labels:
    """The labels of one container, `id` first; absent values have no label."""
    flat = dict(_flat("", document))
    flat["update_available"] = flat.get("update_available", "false")
    return (("id", flat.pop("id", "")), *sorted(flat.items()))


def _series(document: Mapping[str, Any]) -> tuple[Labels, float]:
    return labels_of(document), 1.0


def _flat(prefix: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        name = prefix + _HUMP.sub("_", key).lower()
        if isinstance(value, Mapping):
            if name.split("_")[0] in ROOTS:
                yield from _flat(name + "_", value)
        elif name in ALLOWED and value is not None:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _unknown(documents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Labels, float]]:
    counts: Counter[tuple[str, str]] = Counter()
    for document in documents:
        counts[document.get("watcher", ""), document.get("agent") or ""] += bool(document.get("error"))
    yield from (((("watcher", watcher), ("agent", agent)), n) for (watcher, agent), n in sorted(counts.items()))


def _updates(documents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Labels, float]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for document in documents:
        if document.get("updateAvailable"):
            kind = document.get("updateKind") or {}
            name = kind.get("semverDiff") if kind.get("kind") == "tag" else kind.get("kind")
            counts[document.get("watcher", ""), document.get("agent") or "", name or "unknown"] += 1
    for (watcher, agent, kind_name), n in sorted(counts.items()):
        yield (("watcher", watcher), ("agent", agent), ("kind", kind_name)), n
