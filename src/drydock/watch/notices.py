"""What an operator should hear once about a container's labels: oddities, old names, blind spots (watching.md §3, §5.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from drydock.core.labels import LabelSettings, category_gap
from drydock.core.model import Container, audit_key
from drydock.watch.record import oddities

log = structlog.get_logger("watcher")


@dataclass
class Notices:
    """Remembers what was reported, so that a scan does not repeat it. `count_legacy` gets every old label in use.

    `has_actions` and `has_notifications`: whether triggers of that category are configured.
    """

    has_actions: bool = False
    has_notifications: bool = False
    count_legacy: Callable[[str], None] = lambda _key: None  # commands export no counters
    _told: set[tuple[str, str]] = field(default_factory=set)

    def about(self, record: Container, settings: LabelSettings) -> None:
        """Report what is new about this container."""
        for key in settings.legacy_keys:
            if self._is_new(record, f"legacy {key}"):
                self.count_legacy(key)
        for warning in settings.warnings:
            self._warn("watcher.label", record, warning)
        for oddity in oddities(record.labels, record.name):
            self._warn("watcher.label", record, oddity)
        gap = category_gap(settings, has_action=self.has_actions, has_notification=self.has_notifications)
        if gap is not None:
            self._warn("watcher.label_gap", record, gap)
        if not record.image.digest.watch and record.image.tag.tag_precision == "floating":
            because = "digest watching is off and the tag is not a version: no update can be reported"
            if record.image.tag.semver:
                because = "digest watching is off: in-place updates of this floating tag will not be noticed"
            self._warn("watcher.blind", record, because)
        if settings.watch_digest and record.image.registry.url == "docker.io":
            self._warn("watcher.digest_on_hub", record, "dd.watch.digest=true asks Docker Hub, which limits requests")

    def _warn(self, event: str, record: Container, reason: str) -> None:
        if self._is_new(record, reason):
            log.warning(event, container=record.name, reason=reason)

    def _is_new(self, record: Container, what: str) -> bool:
        mark = (audit_key(record), what)
        if mark in self._told:
            return False
        self._told.add(mark)
        return True
