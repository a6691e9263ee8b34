"""Image sets: presets for all containers of one image (watching.md §2, B11)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drydock.core.reference import Reference, same_repository, try_parse


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """`DD_WATCHER_{w}_IMGSET_{name}_*` of one set; absent settings are None."""

    name: str = ""
    image: str = ""
    tag_include: str | None = None
    tag_exclude: str | None = None
    tag_transform: str | None = None
    tag_family: str | None = None
    tag_pin_info: bool | None = None
    link_template: str | None = None
    display_name: str | None = None
    display_icon: str | None = None
    trigger_include: str | None = None
    trigger_exclude: str | None = None
    registry_lookup_image: str | None = None
    watch_digest: bool | None = None
    inspect_tag_path: str | None = None


def best_match(sets: Iterable[ImageSet], image: Reference) -> ImageSet | None:
    """The most specific set for an image, None when none matches.

    Of equally specific ones a set that names the registry wins, then the alphabetically first name.
    """
    best, ranked = None, (0, True, "")
    for item in sets:
        wanted = try_parse(item.image.lower())
        rank = (-specificity(item.image, image), wanted is None or wanted.domain is None, item.name)
        if rank < ranked and rank[0] < 0:
            best, ranked = item, rank
    return best


def specificity(pattern: str, image: Reference) -> int:
    """Length of the pattern's longest spelling if it names this image, else 0.

    A pattern with a registry matches that registry only (all names of Docker Hub are one); one without matches the
    path at any registry. A pattern that is no reference is compared as its own text.
    """
    wanted = try_parse(pattern.lower())
    if wanted is None:
        text = pattern.strip().lower()
        return len(text) if text in image.candidates() else 0
    if wanted.domain is not None:
        same = same_repository(wanted, image)
    else:
        same = not set(wanted.candidates()).isdisjoint(image.candidates())
    return max(map(len, wanted.candidates())) if same else 0
