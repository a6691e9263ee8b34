"""One enumeration of a Docker host: which containers run here, as records (watching.md §5). Asks the Engine only."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from drydock.clock import Clock
from drydock.core import labels as label_names
from drydock.core.compose_labels import SWARM_SERVICE
from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.model import Container
from drydock.core.temporary import canonical_name, is_temporary, is_temporary_name_of
from drydock.docker.api import Document, EngineReader
from drydock.hosts.host import Host
from drydock.registries.room import Registries
from drydock.watch.compose import ComposeFiles
from drydock.watch.names import (
    AliasFilter,
    display_name,
    raw_names,
)
from drydock.watch.notices import Notices
from drydock.watch.record import Context, Facts, refresh, register, settings_for

log = structlog.get_logger("watcher")

PARALLEL = 10
"""Inspections at a time: enough to hide a remote host's delay, few enough to leave its Engine responsive."""


def context_of(host: Host, registries: Registries) -> Context:
    """What a host's settings add to the facts of its containers."""

    def route(registry: str, repository: str, lookup: str | None) -> str:
        return registries.route(registry, repository, lookup=lookup).instance_id

    return Context(host.key, host.settings.image_sets, host.settings, route)


class Known(Protocol):
    """What is already stored of this watcher."""

    def get(self, id: str) -> Container | None: ...

    def has_name(self, name: str, besides: str) -> bool:
        """Whether a record other than `besides` (an id) has this name."""
        ...


@dataclass
class Enumeration:
    """The outcome. `present` are the records of what was listed; `fresh` the ids that are new or run another image."""

    present: list[Container] = field(default_factory=list)
    fresh: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    """Ids of passing aliases: to be removed from the store."""
    pending: set[str] = field(default_factory=set)
    """Ids that must settle first."""
    unwatched: set[str] = field(default_factory=set)
    """Listed, but excluded by label or default."""
    failed: set[str] = field(default_factory=set)
    """Ids of containers that could not be read: they are neither registered nor removed."""

    @property
    def seen(self) -> set[str]:
        """Ids that were found, or must settle first."""
        return {record.id for record in self.present} | self.pending


class Discovery:
    """Enumerates one host. Keeps what must be remembered between scans: settling and alias decisions."""

    def __init__(self, host: Host, context: Context, clock: Clock, notices: Notices | None = None) -> None:
        self.host = host
        self.context = context
        self.aliases = AliasFilter()
        self.notices = notices or Notices()
        self.compose = ComposeFiles(host.folders)
        self.settling = Settling(host.settings.discovery_settle_ms)
        self.clock = clock

    async def enumerate(self, known: Known, *, settled: bool, light: bool = False) -> Enumeration:
        """List, select and inspect. `settled` registers new containers at once (first scan of an empty store).

        `light` inspects only containers that are new or run another image; the others are refreshed from the list.
        Raises EngineError when the list itself fails: nothing may be pruned then.
        """
        entries = await self.host.reader.list_containers(all=self.host.settings.watch_all)
        scan = _Scan(self, known, light=light)
        await scan.select(entries, settled=settled)
        await scan.inspect()
        return scan.outcome

    async def look_at(
        self, inspected: Document, stored: Container, *, with_image: bool = False, image: Document | None = None
    ) -> Container:
        """One known container from its inspect document: everything but the registry's side.

        `with_image` inspects the image too, even if it is already known; `image` is its document, if at hand.
        """
        self.host.namespaces.learn(inspected)
        entry = entry_of(inspected)
        labels = await ServiceLabels(self.host.reader).effective(entry["Labels"])
        if image is None and (with_image or entry["ImageID"] != stored.image.id):
            image = await self.host.reader.inspect_image(entry["ImageID"])
        return refresh(stored, Facts(entry, labels, inspected, image), self.context)

    async def is_watched(self, entry: Document) -> bool:
        """Whether labels and the watcher's default select this list entry (§5.3)."""
        labels = await ServiceLabels(self.host.reader).effective(entry.get("Labels"))
        return label_names.is_watched(labels, self.context.defaults)


def entry_of(inspected: Document) -> Document:
    """The list entry that an inspect document stands for."""
    config = inspected.get("Config") or {}
    return {
        "Id": inspected["Id"],
        "Names": [inspected.get("Name", "")],
        "Image": config.get("Image") or inspected.get("Image", ""),
        "ImageID": inspected.get("Image", ""),
        "State": (inspected.get("State") or {}).get("Status"),
        "Labels": config.get("Labels") or {},
    }


class _Scan:
    """The state of one enumeration."""

    def __init__(self, discovery: Discovery, known: Known, *, light: bool) -> None:
        self._light = light
        self.outcome = Enumeration()
        self._discovery = discovery
        self._reader = discovery.host.reader
        self._known = known
        self._services = ServiceLabels(self._reader)
        self._images: dict[str, asyncio.Task[Document]] = {}
        self._slots = asyncio.Semaphore(PARALLEL)
        self._selected: list[tuple[Document, dict[str, str]]] = []

    async def select(self, entries: Sequence[Document], *, settled: bool) -> None:
        """Label filter, alias filter, settling; in this order."""
        discovery, known, now_ms = self._discovery, self._known, self._discovery.clock.now_ms()
        usable = [entry for entry in entries if entry.get("Id") and entry.get("Image")]

        async def effective(entry: Document) -> dict[str, str]:
            async with self._slots:
                return await self._services.effective(entry.get("Labels"))

        labels = await asyncio.gather(*map(effective, usable))
        pairs = [pair for pair in zip(usable, labels, strict=True) if not self._is_passing(*pair)]
        watched = [pair for pair in pairs if label_names.is_watched(pair[1], discovery.context.defaults)]
        self.outcome.unwatched = {e["Id"] for e in usable} - {e["Id"] for e, _ in watched}

        # how many list entries carry each name; an alias gives way where another entry has its real name
        listed = Counter(name for entry in usable for name in set(raw_names(entry)))

        def is_no_alias(entry: Document) -> bool:
            own = set(raw_names(entry))
            stored = partial(known.has_name, besides=entry["Id"])
            return discovery.aliases.keep(entry, lambda name: listed[name] > (name in own), stored, now_ms)

        kept = [pair for pair in watched if is_no_alias(pair[0])]
        self.outcome.skipped = {e["Id"] for e, _ in watched} - {e["Id"] for e, _ in kept}

        if not settled:
            unknown = {e["Id"]: display_name(e) for e, _ in kept if known.get(e["Id"]) is None}
            # one with a known name was recreated: it need not settle
            new = {id: name for id, name in unknown.items() if not known.has_name(name, besides=id)}
            self.outcome.pending = discovery.settling.pending(new, now_ms)
        self._selected = [pair for pair in kept if pair[0]["Id"] not in self.outcome.pending]

    async def inspect(self) -> None:
        """Inspect every selected container and turn it into a record."""

        async def guarded(entry: Document, labels: dict[str, str]) -> Container | None:
            try:
                return await self._record(entry, labels)
            except Exception as error:  # a document that cannot be read costs its own container only
                log.exception("watcher.container_unusable", container=str(entry.get("Id")))
                self._not_registered(entry, f"{type(error).__name__}: {error}")
                return None

        records = await asyncio.gather(*(guarded(entry, labels) for entry, labels in self._selected))
        self.outcome.present = [record for record in records if record is not None]

    def _is_passing(self, entry: Document, labels: Mapping[str, str]) -> bool:
        """What Drydock itself made for the time of an update; users never see it, unless they knew it before."""
        if label_names.SELF_UPDATE_HELPER in labels:
            return True
        name = display_name(entry)
        unknown = self._known.get(entry["Id"]) is None
        return unknown and is_temporary(name) and self._known.has_name(canonical_name(name), besides=entry["Id"])

    async def _record(self, entry: Document, labels: dict[str, str]) -> Container | None:
        stored, context = self._known.get(entry["Id"]), self._discovery.context
        if stored is not None and is_temporary_name_of(stored.name, display_name(entry)):
            return stored  # being replaced just now: it stays what it was

        if self._light and stored is not None and entry.get("ImageID") == stored.image.id:
            glanced = Facts(entry, labels, None, None)
            told = (glanced.name, glanced.status, label_names.shown(labels))
            return stored if told == (stored.name, stored.status, stored.labels) else refresh(stored, glanced, context)

        inspected, image = await asyncio.gather(self._inspected(entry["Id"]), self._image(entry))
        compose = await self._discovery.compose.depends_on(self._reader, labels)
        facts = Facts(entry, labels, inspected, image if isinstance(image, dict) else None, compose)
        if stored is not None:
            record = refresh(stored, facts, context)
        elif facts.image is None:
            self._not_registered(entry, image)
            return None
        elif (made := register(facts, context)) is None:
            self._not_registered(entry, f"{entry.get('Image')!r} is no image reference")
            return None
        else:
            record = made
        if stored is None or record.image.id != stored.image.id:
            self.outcome.fresh.add(record.id)
        self._discovery.notices.about(record, settings_for(record, labels, context))
        return record

    def _not_registered(self, entry: Document, why: object) -> None:
        self.outcome.failed.add(entry["Id"])
        log.warning("watcher.container_not_registered", container=display_name(entry), reason=str(why))

    async def _inspected(self, container_id: str) -> Document | None:
        async with self._slots:
            try:
                inspected = await self._reader.inspect_container(container_id)
            except EngineError as error:
                log.debug("watcher.container_unreadable", container=container_id, reason=error.message)
                return None
        self._discovery.host.namespaces.learn(inspected)
        return inspected

    async def _image(self, entry: Document) -> Document | EngineError:
        """The image document, requested once per image and scan; the error instead of raising it."""

        async def inspect(ref: str) -> Document:
            async with self._slots:
                return await self._reader.inspect_image(ref)

        ref = str(entry.get("ImageID") or entry.get("Image"))
        if ref not in self._images:
            self._images[ref] = asyncio.ensure_future(inspect(ref))
        try:
            return await self._images[ref]
        except EngineError as error:
            return error


class Settling:
    """New containers wait until they have been visible for a while, so that passing ones are not reported (§5.5).

    Remembers when each unknown container was first seen. Times are epoch ms; `settle_ms` 0 holds nothing back.
    """

    def __init__(self, settle_ms: int) -> None:
        self._settle_ms = settle_ms
        self._first_seen: dict[str, int] = {}

    def pending(self, unknown: Mapping[str, str], now_ms: int) -> set[str]:
        """Ids among `unknown` (id → name) that must still wait; forgets those that vanished."""
        if self._settle_ms == 0:
            return set()
        for container_id in set(self._first_seen) - set(unknown):
            del self._first_seen[container_id]
        for container_id in unknown:
            self._first_seen.setdefault(container_id, now_ms)
        held = {i for i in unknown if now_ms - self._first_seen[i] < self._settle_ms}
        for container_id in set(unknown) - held:
            del self._first_seen[container_id]
        return held

    def next_due(self) -> int | None:
        """When the first held container will have settled; None when nothing waits."""
        return min(self._first_seen.values()) + self._settle_ms if self._first_seen else None


class ServiceLabels:
    """Labels of a Swarm service count for its containers (§5.2); each is inspected once, so make a new one for every scan."""

    def __init__(self, reader: EngineReader) -> None:
        self._reader = reader
        self._known: dict[str, dict[str, str]] = {}

    async def effective(self, labels: Mapping[str, str] | None) -> dict[str, str]:
        """Container labels over the task template's over the service's own."""
        own = dict(labels or {})
        service_id = own.get(SWARM_SERVICE)
        if not service_id:
            return own
        if service_id not in self._known:
            spec: Document = {}
            try:
                spec = (await self._reader.inspect_service(service_id)).get("Spec") or {}
            except EngineNotFound as error:
                log.debug("watcher.service_unknown", service=service_id, reason=error.message)
            except EngineError as error:
                log.warning("watcher.service_unreadable", service=service_id, reason=error.message)
            template = ((spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Labels") or {}
            self._known[service_id] = {**(spec.get("Labels") or {}), **template}
        return {**self._known[service_id], **own}
