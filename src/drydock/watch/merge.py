"""Which fields of a record belong to whom, so that no writer undoes another's work.

While a watcher looks at a container, somebody may change its policy or scan it. So a watcher never writes its whole
copy: it puts the fields it owns into whatever is stored at that moment.
"""

from __future__ import annotations

import msgspec

from drydock.core.model import Container

OBSERVED = (
    "name",
    "display_name",
    "display_icon",
    "status",
    "health",
    "labels",
    "include_tags",
    "exclude_tags",
    "transform_tags",
    "tag_family",
    "tag_pin_info",
    "link_template",
    "port_label",
    "action_trigger_include",
    "action_trigger_exclude",
    "action_trigger_auto",
    "notification_trigger_include",
    "notification_trigger_exclude",
    "trigger_include",
    "trigger_exclude",
    "update_policy_declarative",
    "details",
    "source_repo",
    "depends_on",
    "depends_on_source",
    "depends_on_action",
    "image",
)
"""What the Engine and the labels say."""

CHECKED = ("result", "error", "current_release_notes")
"""What a check of the registry says, beside the digests of the image."""


def observed(current: Container, seen: Container) -> Container:
    """`current` with everything that `seen` learned from the Engine."""
    return msgspec.structs.replace(current, **{name: getattr(seen, name) for name in OBSERVED})


def checked(current: Container, report: Container) -> Container:
    """`current` with what a check learned; dropped when another image runs by now."""
    if current.image.id != report.image.id:
        return current
    digest = msgspec.structs.replace(current.image, digest=report.image.digest)
    return msgspec.structs.replace(current, image=digest, **{name: getattr(report, name) for name in CHECKED})
