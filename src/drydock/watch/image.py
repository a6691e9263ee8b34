"""Which image a container runs, from the Engine's documents (watching.md §4, §5.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drydock.core.reference import DEFAULT_TAG, UNKNOWN_TAG, Reference, try_parse
from drydock.core.times import from_iso, to_iso
from drydock.docker.api import Document

DIGEST_MARK = "sha256:"
OWN_TAG_PREFIX = "drydock-backup/"


@dataclass(frozen=True)
class RunningImage:
    """The repository a container runs from and the tag in use; `tag` may be a digest or `unknown`.

    `how` says in words which text was read, for the trace.
    """

    reference: Reference
    tag: str
    how: str


def running_image(entry: Document, inspected: Document | None, image: Document) -> RunningImage | None:
    """Resolve the image of a list entry; None when its text is no reference at all."""
    text = str(entry.get("Image") or "")
    if DIGEST_MARK in text:
        # the list shows the digest where the tag has moved on; the container knows what was asked for
        configured = ((inspected or {}).get("Config") or {}).get("Image")
        text = configured.strip() or text if isinstance(configured, str) else text
    reference = try_parse(text)
    if DIGEST_MARK in text and not (reference is not None and reference.tag and reference.digest):
        tagged = next((t for t in image.get("RepoTags") or [] if not str(t).startswith(OWN_TAG_PREFIX)), None)
        named = try_parse(str(tagged)) if tagged else None
        if named is not None and named.tag:
            return RunningImage(named, named.tag, f"{text} is tagged {tagged} on this host")
        for known in image.get("RepoDigests") or []:
            found = try_parse(str(known))
            if found is not None and found.digest:
                return RunningImage(found, found.digest, f"{text} has no tag on this host, only {known}")
        without = f"{text} has neither tag nor repository digest on this host"
        return RunningImage(Reference(path=text), UNKNOWN_TAG, without)
    if reference is None:
        return None
    return RunningImage(reference, reference.tag or DEFAULT_TAG, f"the container was created from {text}")


def walk(document: Document, path: str) -> str | None:
    """The value at a `/`-separated path (label `dd.inspect.tag.path`) as trimmed text; None if there is none."""
    node: Any = document
    for key in path.strip("/").split("/"):
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return str(node).strip() or None if isinstance(node, str | int | float) else None


def created(image: Document) -> str | None:
    """Build date of an image; None when it is no valid date."""
    instant = from_iso(str(image.get("Created") or ""))
    return to_iso(instant) if instant is not None and instant > 0 else None
