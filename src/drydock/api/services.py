"""What the routes call: the services of the process, behind Protocols, in one value that `app` builds.

A room that brings a service adds a field here (default None where the room can be absent) and its routes in `routes/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import msgspec

from drydock.api.network import Proxies, bucket
from drydock.api.settings import ServerSettings
from drydock.api.streams import Streams
from drydock.audit.trail import AuditTrail
from drydock.auth.authentication import Authentication
from drydock.auth.caller import Access
from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.errors import Unavailable
from drydock.core.model import Container
from drydock.fleet.fleet import Fleet
from drydock.icons.room import Icons
from drydock.live.acknowledgements import Acknowledgements
from drydock.live.event_stream import EventStream
from drydock.logs.room import Logs
from drydock.logs.server_log import LogBuffer
from drydock.metrics.room import Metrics
from drydock.notify.room import Notifications
from drydock.preferences.room import Preferences
from drydock.release_notes.room import ReleaseNotesService
from drydock.security.room import Security
from drydock.stats.room import Stats
from drydock.updates.room import Updates

T = TypeVar("T")


class Component(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A watcher, registry, trigger or authentication as listed (platform-api.md §7.1); secrets are masked already."""

    id: str
    type: str
    name: str
    configuration: dict[str, Any]
    agent: str | None = None
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Watching(Protocol):
    """Runs checks (watching.md §13, §14)."""

    async def watch_all(self) -> None:
        """Scan every watcher; joins a running cycle. Raises only when no watcher could run."""
        ...

    async def watch_watcher(self, name: str) -> None:
        """Scan one watcher of this process; joins a running cycle. `NotFound` for an unknown one; raises when it cannot."""
        ...

    async def watch_some(self, ids: Sequence[str]) -> None:
        """Check these containers; the ids are known to the fleet. Raises when an owning watcher is not registered."""
        ...

    async def watch_one(self, id: str) -> Container:
        """Refresh and check one container; `NotFound` when it is gone from its host."""
        ...

    def components(self) -> Sequence[Component]:
        """The watchers; the API adds the counts of their containers."""
        ...

    def next_check_at(self, container: Container) -> str | None:
        """When the schedule of the container's watcher comes round again (ISO)."""
        ...

    def engine_name(self) -> str | None:
        """The host name that an Engine told; None while none has."""
        ...


class RegistriesInfo(Protocol):
    """The configured registries."""

    def components(self) -> Sequence[Component]: ...


class Agents(Protocol):
    """The agents that this controller knows."""

    async def delete_container(self, agent: str, id: str) -> None:
        """Delete a record on its agent; done as well when the agent does not know it. Raises when it cannot."""
        ...

    def names(self) -> Sequence[str]:
        """Every configured agent."""
        ...

    def all_connected(self) -> bool:
        """Whether every configured agent answers."""
        ...


class CurlOverride(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A health check of our own container that calls curl, as compose files of 1.x have it (platform-api.md §4.2)."""

    detected: bool
    command_preview: str | None = None
    container_name: str | None = None


Check = Callable[[], Awaitable[bool]]


class LegacyInputs(msgspec.Struct, kw_only=True):
    """Old names met since the start, by source (platform-api.md §4.2)."""

    env: set[str] = msgspec.field(default_factory=set)
    label: set[str] = msgspec.field(default_factory=set)
    api: set[str] = msgspec.field(default_factory=set)
    totals: dict[str, int] = msgspec.field(default_factory=dict)
    uses: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    """How often each name was used, by source and name; the metric `dd_legacy_input_total`."""

    def count(self, source: str, key: str) -> None:
        """Remember one use of an old name."""
        getattr(self, source).add(key)
        self.totals[source] = self.totals.get(source, 0) + 1
        self.uses[source, key] = self.uses.get((source, key), 0) + 1


def needed(service: T | None) -> T:
    """A service that this process must have for the request; `Unavailable` without it."""
    if service is None:
        raise Unavailable()
    return service


@dataclass(kw_only=True)
class Services:
    """Everything a request may need. Rooms that are switched off stay None."""

    clock: Clock
    settings: Settings
    access: Access
    fleet: Fleet
    watching: Watching
    registries: RegistriesInfo
    audit: AuditTrail
    agents: Agents | None = None
    logs: Logs | None = None
    stats: Stats | None = None
    updates: Updates | None = None
    security: Security | None = None
    notes: ReleaseNotesService | None = None
    notifications: Notifications | None = None
    auth: Authentication | None = None
    events: EventStream | None = None
    acks: Acknowledgements | None = None
    log: LogBuffer | None = None
    metrics: Metrics | None = None
    preferences: Preferences | None = None
    icons: Icons | None = None
    dump: Callable[[int], Awaitable[bytes]] | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    """What `/health?verbose=1` asks, by name."""
    curl_healthcheck: Callable[[], Awaitable[CurlOverride]] | None = None
    """Whether the health check of our own container calls curl, which the image does not have."""
    untrusted_proxy: bool = False
    """A request came through an HTTPS proxy that is not trusted; the interface says so."""
    legacy: LegacyInputs = field(default_factory=LegacyInputs)
    streams: Streams = field(default_factory=Streams)
    started_at: float = 0.0
    """Monotonic seconds at which the process began to serve."""

    @property
    def door(self) -> Authentication:
        """Sign-in; `Unavailable` in a process without it."""
        return needed(self.auth)

    @cached_property
    def proxies(self) -> Proxies:
        return Proxies(self.settings[ServerSettings].trust_proxy)

    @staticmethod
    def address_key(address: str) -> str:
        """The counter key of an address."""
        return bucket(address)
