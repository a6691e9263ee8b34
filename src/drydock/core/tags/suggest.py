"""The tag to pin to when a container runs `latest` (watching.md §7.11, B13). Information only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from drydock.core.tags import version as versions
from drydock.core.tags.subject import Current
from drydock.core.tags.version import Version

_BARE = re.compile(r"v?[0-9]+(?:\.[0-9]+){0,2}", re.IGNORECASE)
_DATE = re.compile(r"v?[0-9]{6,}", re.IGNORECASE)


def suggested_tag(tags: Iterable[str], current: Current, *, running: str | None = None) -> str | None:
    """Highest stable version of the list, only when the running tag is empty or `latest`.

    Bare numbers of six digits and more are taken for dates and lose against anything else. `running` stands in for
    the running tag where a digest has none (§7.10).
    """
    tag = current.subject.tag if running is None else running
    if tag.strip().lower() not in ("", "latest"):
        return None
    found = [(version.core, name) for name in tags if _allowed(name, current) and (version := _stable(name))]
    real = [item for item in found if not _DATE.fullmatch(item[1])]
    best = max(real or found, default=None)
    return best[1] if best else None


def _allowed(tag: str, current: Current) -> bool:
    if current.include is not None and not current.include.matches(tag):
        return False
    return current.exclude is None or not current.exclude.matches(tag)


def _stable(tag: str) -> Version | None:
    version = versions.parse(tag)
    if version is None or version.prerelease:
        return None
    return None if version.path == "coerce" and not _BARE.fullmatch(tag) else version
