"""What the routes call: everything that the rooms built, in one frozen value that `app` makes at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from drydock.api.legacy import LegacyInputs
from drydock.api.network import Proxies
from drydock.audit.trail import AuditTrail
from drydock.auth.room import Authentication
from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.diagnostics.room import Diagnostics
from drydock.fleet.fleet import Fleet
from drydock.icons.room import Icons
from drydock.live.room import Live
from drydock.logs.room import Logs
from drydock.logs.server_log import LogBuffer
from drydock.metrics.room import Metrics
from drydock.notify.room import Notifications
from drydock.preferences.room import Preferences
from drydock.registries.room import Registries
from drydock.release_notes.room import ReleaseNotesService
from drydock.security.room import Security
from drydock.stats.room import Stats
from drydock.updates.room import Updates
from drydock.updates.self_update.curl_healthcheck import CurlOverride
from drydock.watch.service import WatchService


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything a request may need."""

    clock: Clock
    settings: Settings
    fleet: Fleet
    audit: AuditTrail
    auth: Authentication
    watching: WatchService
    registries: Registries
    updates: Updates
    security: Security
    notifications: Notifications
    release_notes: ReleaseNotesService
    preferences: Preferences
    icons: Icons
    logs: Logs
    log: LogBuffer
    """The server's own log."""
    stats: Stats
    live: Live
    metrics: Metrics
    diagnostics: Diagnostics
    curl_healthcheck: Callable[[], Awaitable[CurlOverride]]
    """Whether the health check of Drydock's own container calls curl, which the image does not have."""
    legacy: LegacyInputs
    proxies: Proxies
    started_at: float
    """Monotonic seconds at which the process began to serve."""
