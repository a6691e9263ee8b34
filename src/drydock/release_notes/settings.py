"""Where release notes come from (container-api.md §7.8)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.core.secret import Secret


@section("DD_RELEASE_NOTES_", "Release notes", "Where the notes of a new version come from.")
class ReleaseNotesSettings:
    """`DD_RELEASE_NOTES_*`."""

    github_token: Secret | None = option(
        "GITHUB_TOKEN",
        kinds.secret(),
        default=None,
        help="Token for GitHub; sent only for repositories that an image's own labels or a registry name.",
    )
    github_url: str = option(
        "GITHUB_URL",
        kinds.url("http", "https"),
        default="https://api.github.com",
        help="Base address of the GitHub API.",
    )
    max_intermediate: int = option(
        "MAX_INTERMEDIATE", kinds.integer(0), default=20, help="Releases between two versions shown; 0 = none."
    )
