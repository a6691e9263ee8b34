"""Container labels: their names, and the settings they give together with image set and watcher (watching.md §3).

Precedence per value: label (non-blank) > image set > watcher default > built-in. Discovery decides where labels come
from (Swarm services); dependencies, hooks and rollback settings are read by the rooms that act on them, through the
helpers below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from drydock.core import compose_labels
from drydock.core.former_names import TRIGGER_EXCLUDE, TRIGGER_INCLUDE, former_label
from drydock.core.imgset import ImageSet
from drydock.core.model import DeclarativePolicy, UpdatePolicy
from drydock.core.tags.shape import Family, family_of

WATCH: Final = "dd.watch"
TAG_INCLUDE: Final = "dd.tag.include"
TAG_EXCLUDE: Final = "dd.tag.exclude"
TAG_TRANSFORM: Final = "dd.tag.transform"
TAG_FAMILY: Final = "dd.tag.family"
TAG_PIN_INFO: Final = "dd.tag.pin.info"
WATCH_DIGEST: Final = "dd.watch.digest"
INSPECT_TAG_PATH: Final = "dd.inspect.tag.path"
INSPECT_TAG_VERSION_ONLY: Final = "dd.inspect.tag.version-only"
REGISTRY_LOOKUP_IMAGE: Final = "dd.registry.lookup.image"
REGISTRY_LOOKUP_URL: Final = "dd.registry.lookup.url"
LINK_TEMPLATE: Final = "dd.link.template"
DISPLAY_NAME: Final = "dd.display.name"
DISPLAY_ICON: Final = "dd.display.icon"
DISPLAY_PICTURE: Final = "dd.display.picture"
PORT_LABEL: Final = "dd.port.label"
GROUP: Final = "dd.group"
MATURITY_MODE: Final = "dd.updatePolicy.maturityMode"
MATURITY_MIN_AGE_DAYS: Final = "dd.updatePolicy.maturityMinAgeDays"
SKIP_TAGS: Final = "dd.updatePolicy.skipTags"
SKIP_DIGESTS: Final = "dd.updatePolicy.skipDigests"
ACTION_INCLUDE: Final = "dd.action.include"
ACTION_EXCLUDE: Final = "dd.action.exclude"
ACTION_AUTO: Final = "dd.action.auto"
NOTIFICATION_INCLUDE: Final = "dd.notification.include"
NOTIFICATION_EXCLUDE: Final = "dd.notification.exclude"
DEPENDS_ON: Final = "dd.depends_on"
DEPENDS_ON_ACTION: Final = "dd.depends_on.action"
HOOK_PRE: Final = "dd.hook.pre"
HOOK_POST: Final = "dd.hook.post"
HOOK_PRE_ABORT: Final = "dd.hook.pre.abort"
HOOK_TIMEOUT: Final = "dd.hook.timeout"
ROLLBACK_AUTO: Final = "dd.rollback.auto"
ROLLBACK_WINDOW: Final = "dd.rollback.window"
ROLLBACK_INTERVAL: Final = "dd.rollback.interval"
UPDATE_MODE: Final = "dd.update.mode"
ROLLBACK_GATE: Final = "dd.update.rollback-gate"
SECURITY_GATE: Final = "dd.security.gate"
WEBHOOK_ENABLED: Final = "dd.webhook.enabled"
COMPOSE_FILE: Final = "dd.compose.file"
SOURCE_REPO: Final = "dd.source.repo"
ENTRYPOINT_ORIGIN: Final = "dd.runtime.entrypoint.origin"
CMD_ORIGIN: Final = "dd.runtime.cmd.origin"
SELF_UPDATE_HELPER: Final = "dd.self-update.helper"
SELF_UPDATE_OPERATION: Final = "dd.self-update.operation-id"
UPDATE_OPERATION: Final = "dd.update.operation"
UPDATE_REBUILT: Final = "dd.update.rebuilt"
OCI_VERSION: Final = "org.opencontainers.image.version"
OCI_SOURCE: Final = "org.opencontainers.image.source"
OCI_URL: Final = "org.opencontainers.image.url"

OWN: Final = frozenset({UPDATE_OPERATION, UPDATE_REBUILT})
"""Labels that Drydock itself puts on containers: never shown."""

MaturityMode = Literal["all", "mature"]
DEFAULT_ICON = "mdi:docker"


@dataclass(frozen=True, kw_only=True)
class WatcherDefaults:
    """The watcher's own settings that stand behind labels and image sets."""

    watch_by_default: bool = True
    tag_family: str | None = None
    tag_pin_info: bool | None = None
    maturity_mode: MaturityMode | None = None
    maturity_min_age_days: int | None = None


class LabelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Resolved settings of one container. `watch_digest` None means automatic (watching.md §7.9)."""

    watched: bool
    tag_family: Family
    tag_pin_info: bool
    declarative: DeclarativePolicy | None
    include_tags: str | None = None
    exclude_tags: str | None = None
    transform_tags: str | None = None
    watch_digest: bool | None = None
    inspect_tag_path: str | None = None
    inspect_version_only: bool = False
    lookup_image: str | None = None
    link_template: str | None = None
    display_name: str | None = None
    display_icon: str = DEFAULT_ICON
    port_label: str | None = None
    group: str | None = None
    action_trigger_include: str | None = None
    action_trigger_exclude: str | None = None
    action_trigger_auto: str | None = None
    notification_trigger_include: str | None = None
    notification_trigger_exclude: str | None = None
    trigger_include: str | None = None
    trigger_exclude: str | None = None
    warnings: list[str] = []
    legacy_keys: list[str] = []


class Reader:
    """Reads labels one by one: trims, falls back to the legacy `wud.` name, and collects warnings."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.warnings: list[str] = []
        self.legacy: list[str] = []

    def text(self, key: str) -> str | None:
        """The trimmed value; None when absent or blank."""
        value = self.labels.get(key, "").strip()
        if value:
            return value
        old = former_label(key)
        value = self.labels.get(old, "").strip() if key.startswith("dd.") else ""
        if value and old not in self.legacy:
            self.legacy.append(old)
            self.warnings.append(f"Label {old} is a legacy name: use {key}")
        return value or None

    def switch(self, key: str) -> bool | None:
        """`true` in any case is True, any other non-blank text False, absent None."""
        value = self.text(key)
        return None if value is None else value.lower() == "true"

    def strict_bool(self, key: str) -> bool | None:
        """`true`/`false` in any case; anything else counts as absent."""
        return {"true": True, "false": False}.get((self.text(key) or "").lower())

    def old_trigger(self, key: str, new: str) -> str | None:
        """A `dd.trigger.*` label, accepted for both categories with a warning."""
        value = self.text(key)
        if value is not None:
            self.legacy.append(key)
            category = new.rpartition(".")[2]
            self.warnings.append(
                f"Label {key} is a legacy name: use dd.action.{category} or dd.notification.{category}"
            )
        return value


def read(labels: Mapping[str, str], imgset: ImageSet | None, defaults: WatcherDefaults) -> LabelSettings:
    """Resolve every label of watching.md §3 that discovery stores. Never raises; oddities end in `warnings`."""
    reader = Reader(labels)
    preset = imgset or ImageSet(name="", image="")
    reader.switch(WATCH)  # counts the legacy name, if that is the one in use
    family_text = reader.text(TAG_FAMILY) or preset.tag_family or defaults.tag_family
    family, understood = family_of(family_text)
    if not understood:
        reader.warnings.append(f"{TAG_FAMILY}={family_text!r} is neither strict nor loose; strict is used")
    pin_info = _first_set(reader.strict_bool(TAG_PIN_INFO), preset.tag_pin_info, defaults.tag_pin_info)
    lookup = reader.text(REGISTRY_LOOKUP_IMAGE) or reader.text(REGISTRY_LOOKUP_URL) or preset.registry_lookup_image
    return LabelSettings(
        watched=is_watched(labels, defaults),
        include_tags=reader.text(TAG_INCLUDE) or preset.tag_include,
        exclude_tags=reader.text(TAG_EXCLUDE) or preset.tag_exclude,
        transform_tags=reader.text(TAG_TRANSFORM) or preset.tag_transform,
        tag_family=family,
        tag_pin_info=True if pin_info is None else pin_info,
        watch_digest=_first_set(reader.switch(WATCH_DIGEST), preset.watch_digest),
        inspect_tag_path=reader.text(INSPECT_TAG_PATH) or preset.inspect_tag_path,
        inspect_version_only=bool(reader.switch(INSPECT_TAG_VERSION_ONLY)),
        lookup_image=lookup,
        link_template=reader.text(LINK_TEMPLATE) or preset.link_template,
        display_name=reader.text(DISPLAY_NAME) or preset.display_name,
        display_icon=reader.text(DISPLAY_ICON) or preset.display_icon or DEFAULT_ICON,
        port_label=reader.text(PORT_LABEL),
        group=group_of(labels),
        declarative=declarative_policy(reader, defaults),
        **_triggers(reader, preset),
        warnings=reader.warnings,
        legacy_keys=reader.legacy,
    )


def is_watched(labels: Mapping[str, str], defaults: WatcherDefaults) -> bool:
    """What `read` says of `watched`, without reading the rest."""
    watch = Reader(labels).switch(WATCH)
    return defaults.watch_by_default if watch is None else watch


def _first_set(*values: bool | None) -> bool | None:
    return next((value for value in values if value is not None), None)


def _triggers(reader: Reader, preset: ImageSet) -> dict[str, str | None]:
    """Each category reads its own label; legacy label and image set fill both."""
    include = reader.old_trigger(TRIGGER_INCLUDE, ACTION_INCLUDE) or preset.trigger_include
    exclude = reader.old_trigger(TRIGGER_EXCLUDE, ACTION_EXCLUDE) or preset.trigger_exclude
    action_include = reader.text(ACTION_INCLUDE) or include
    action_exclude = reader.text(ACTION_EXCLUDE) or exclude
    notification_include = reader.text(NOTIFICATION_INCLUDE) or include
    notification_exclude = reader.text(NOTIFICATION_EXCLUDE) or exclude
    return {
        "action_trigger_include": action_include,
        "action_trigger_exclude": action_exclude,
        "action_trigger_auto": reader.text(ACTION_AUTO),
        "notification_trigger_include": notification_include,
        "notification_trigger_exclude": notification_exclude,
        "trigger_include": action_include or notification_include,
        "trigger_exclude": action_exclude or notification_exclude,
    }


def category_gap(settings: LabelSettings, *, has_action: bool, has_notification: bool) -> str | None:
    """A warning when only one category has trigger labels while the other has triggers that now go unfiltered."""
    action = bool(settings.action_trigger_include or settings.action_trigger_exclude)
    notification = bool(settings.notification_trigger_include or settings.notification_trigger_exclude)
    if action and not notification and has_notification:
        return "Only dd.action.* labels are set: notifications are not limited; add dd.notification.include or .exclude"
    if notification and not action and has_action:
        return "Only dd.notification.* labels are set: actions are not limited; add dd.action.include or .exclude"
    return None


def group_of(labels: Mapping[str, str]) -> str | None:
    """`dd.group`, the Compose project, the Swarm stack, or None."""
    names = (labels.get(key, "").strip() for key in (GROUP, compose_labels.PROJECT, compose_labels.STACK))
    return next((name for name in names if name), None)


def shown(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as stored and shown: without those that Drydock itself adds."""
    return {key: value for key, value in labels.items() if key not in OWN}


def csv(text: str | None) -> list[str]:
    """A comma-separated list: trimmed, no empty entries, no duplicates, order kept."""
    return list(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def positive_int(text: str | None, default: int) -> int:
    """A whole number above zero, else the default."""
    value = (text or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 and int(value) > 0 else default


def declarative_policy(reader: Reader, defaults: WatcherDefaults) -> DeclarativePolicy | None:
    """The two lower policy layers (watching.md §10); None when both are empty."""
    env = UpdatePolicy(
        maturity_mode=defaults.maturity_mode,
        maturity_min_age_days=defaults.maturity_min_age_days,
    )
    mode_text, days_text = reader.text(MATURITY_MODE), reader.text(MATURITY_MIN_AGE_DAYS)
    modes: dict[str, MaturityMode] = {"all": "all", "mature": "mature"}
    mode = modes.get((mode_text or "").lower())
    if mode_text is not None and mode is None:
        reader.warnings.append(f"{MATURITY_MODE}={mode_text!r} is neither all nor mature; ignored")
    days = positive_int(days_text, 0)
    usable = 1 <= days <= 365
    if days_text is not None and not usable:
        reader.warnings.append(f"{MATURITY_MIN_AGE_DAYS}={days_text!r} is no whole number from 1 to 365; ignored")
    label = UpdatePolicy(
        skip_tags=csv(reader.text(SKIP_TAGS)) or None,
        skip_digests=csv(reader.text(SKIP_DIGESTS)) or None,
        maturity_mode=mode,
        maturity_min_age_days=days if usable else None,
    )
    empty = UpdatePolicy()
    if env == empty and label == empty:
        return None
    return DeclarativePolicy(env=None if env == empty else env, label=None if label == empty else label)
