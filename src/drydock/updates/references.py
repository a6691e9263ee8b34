"""The few questions updates have about image references; parsing in full is `core.reference`."""

from __future__ import annotations


def split_tag(reference: str) -> tuple[str, str] | None:
    """`(repository, tag)` of a reference that can be tagged; None for ids and digests. No tag means `latest`."""
    if "@" in reference or reference.startswith("sha256:"):
        return None
    head, colon, tail = reference.rpartition(":")
    if not colon or "/" in tail:
        return reference, "latest"
    return head, tail


def without_tag(reference: str) -> str:
    """The pullable name without tag and digest: `ghcr.io/acme/web:1@sha256:…` → `ghcr.io/acme/web`."""
    parts = split_tag(reference.partition("@")[0])
    return parts[0] if parts else reference


def is_digest_only(reference: str) -> bool:
    """Whether the reference is a bare image id or a digest without a name to pull by."""
    return reference.startswith("sha256:")
