"""Where the source of an image lives. Pure.

A repository that only the container's own label names is not trusted: no token is sent for it, or anyone who may set a
label could read private notes with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from drydock.core.labels import OCI_SOURCE, SOURCE_REPO
from drydock.core.model import Container

OCI_URL = "org.opencontainers.image.url"

_SCP = re.compile(r"^(?:[\w.-]+@)([\w.-]+):(?!//)(.+)$")
_PREFIX = re.compile(r"^(?:git\+)?[a-z][a-z0-9+.-]*://(?:[^/@]*@)?", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LINK = re.compile(r"https?://github\.com/([A-Za-z0-9-]+/[A-Za-z0-9_.-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A repository; `trusted` when more than the container's own label names it."""

    host: str
    owner: str
    repository: str
    trusted: bool = True

    @property
    def name(self) -> str:
        """`host/owner/repository`, as `sourceRepo` shows it."""
        return f"{self.host}/{self.owner}/{self.repository}"


def source_of(container: Container) -> Source | None:
    """From the labels, what the watcher found, or the path of a GitHub package; None when nothing names one."""
    own = parse(container.labels.get(SOURCE_REPO, ""), trusted=False)
    if own is not None:
        return own
    named = (container.labels.get(OCI_SOURCE, ""), container.labels.get(OCI_URL, ""), container.source_repo or "")
    found = (parse(text) for text in named)
    return next((source for source in found if source is not None), None) or _package(container)


def parse(text: str, *, trusted: bool = True) -> Source | None:
    """`owner/repo`, `host/owner/repo`, or any usual URL of a repository."""
    cleaned = text.strip()
    scp = _SCP.match(cleaned)
    cleaned = f"{scp[1]}/{scp[2]}" if scp else _PREFIX.sub("", cleaned)
    parts = [part for part in re.split(r"[?#]", cleaned)[0].split("/") if part]
    if len(parts) == 2 and "." not in parts[0]:
        parts = ["github.com", *parts]
    if len(parts) < 3:
        return None
    host, owner, repository = parts[0].lower().removeprefix("www."), parts[1], parts[2].removesuffix(".git")
    if not (_NAME.fullmatch(owner) and _NAME.fullmatch(repository)):
        return None
    return Source(host, owner, repository, trusted)


def mentioned(text: str) -> Source | None:
    """The one GitHub repository that a description links to; None when it is none or several."""
    found = {match.removesuffix(".git").rstrip(".").lower(): match for match in _LINK.findall(text)}
    return parse(f"github.com/{next(iter(found.values()))}") if len(found) == 1 else None


def _package(container: Container) -> Source | None:
    """A GitHub package belongs to a repository of the same owner."""
    if container.image.registry.url != "ghcr.io":
        return None
    parts = container.image.name.split("/")
    return parse(f"github.com/{parts[0]}/{parts[1]}") if len(parts) >= 2 else None
