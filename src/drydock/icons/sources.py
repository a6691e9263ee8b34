"""The collections that icons come from, as a table, and the names that people may ask for (platform-api.md §15)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from drydock.core.errors import BadRequest

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Source:
    """One collection. `path` is where an icon lies below the content delivery network; its revision is pinned."""

    name: str
    extension: str
    media_type: str
    path: str


SOURCES: Final = (
    Source(
        "homarr",
        "png",
        "image/png",
        "gh/homarr-labs/dashboard-icons@9b69afaeebd27ea684ad70de7b29b369c8973976/png/{slug}.png",
    ),
    Source(
        "selfhst",
        "png",
        "image/png",
        "gh/selfhst/icons@b489eb0fc9ac681dc756cb64e54588303153ca68/png/{slug}.png",
    ),
    Source("simple", "svg", "image/svg+xml", "npm/simple-icons@15.18.0/icons/{slug}.svg"),
)
"""Every collection."""


class IconName(NamedTuple):
    """Which icon of which collection."""

    source: Source
    slug: str

    def __str__(self) -> str:
        return f"{self.source.name}/{self.slug}"

    @property
    def path(self) -> str:
        """Where it lies below the content delivery network."""
        return self.source.path.format(slug=self.slug)

    @property
    def file(self) -> str:
        """Its file name in the cache."""
        return f"{self.slug}.{self.source.extension}"


def icon_name(provider: str, slug: str) -> IconName:
    """The icon that a request names, in any case, with or without its extension. `BadRequest` for what is no name."""
    source = next((one for one in SOURCES if one.name == provider.lower()), None)
    if source is None:
        raise BadRequest("Invalid icon provider", details={"allowed": [one.name for one in SOURCES]})
    plain = slug.lower()
    if not _SLUG.fullmatch(plain):
        raise BadRequest("Invalid icon slug", hint="Letters, digits, dots, underscores and hyphens; 128 at most.")
    return IconName(source, plain.removesuffix(f".{source.extension}"))
