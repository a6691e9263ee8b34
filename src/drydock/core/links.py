"""Links from templates such as `https://…/v${major}.${minor}` (watching.md §8.5)."""

from __future__ import annotations

import re

from drydock.core.model import Container
from drydock.core.tags import version
from drydock.core.tags.transform import transformed

_VARIABLE = re.compile(r"\$\{\s*([A-Za-z0-9_]*)\s*\}")


def render(template: str, tag: str, *, formula: str | None, semver: bool) -> str:
    """Fill a template for a tag; unknown or inapplicable words become empty."""
    text = transformed(tag, formula)
    values = {"original": tag, "raw": tag, "transformed": text, **(_numbers(text) if semver else {})}
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), template)


def _numbers(text: str) -> dict[str, str]:
    parsed = version.parse(text)
    if parsed is None:
        return {}
    return {
        "major": str(parsed.major),
        "minor": str(parsed.minor),
        "patch": str(parsed.patch),
        "prerelease": str(parsed.prerelease[0]) if parsed.prerelease else "",
    }


def link(container: Container, tag: str | None) -> str | None:
    """The link for one of the container's tags; None without a template."""
    if not container.link_template:
        return None
    return render(
        container.link_template,
        tag or "",
        formula=container.transform_tags,
        semver=container.image.tag.semver,
    )
