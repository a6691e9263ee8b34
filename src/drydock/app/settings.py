"""The one list of everything that can be configured; each section lives in its room."""

from __future__ import annotations

from drydock.api.settings import PublicSettings, ServerSettings
from drydock.auth.settings import (
    AUTHENTICATIONS,
    AnonymousSettings,
    AuthSettings,
    SessionSettings,
)
from drydock.compat.settings import CompatSettings
from drydock.config import kinds
from drydock.config.components import Reserved
from drydock.config.load import Schema
from drydock.config.schema import option, section
from drydock.fleet.settings import FleetSettings
from drydock.hosts.settings import WATCHERS, LocalWatcherSettings
from drydock.http.settings import HttpSettings
from drydock.icons.settings import IconSettings
from drydock.live.settings import StreamSettings
from drydock.logs.settings import LogSettings
from drydock.metrics.settings import ContainerMetricsSettings, MetricsAccessSettings, MetricsSettings
from drydock.notify.providers import PROVIDERS
from drydock.registries.instances import FAMILY as REGISTRIES
from drydock.registries.settings import GhcrSettings, RegistriesSettings
from drydock.release_notes.settings import ReleaseNotesSettings
from drydock.security.scanners import SECTIONS as SCANNERS
from drydock.security.settings import SecuritySettings
from drydock.security.signatures.cosign import CosignSettings
from drydock.stats.settings import StatsSettings
from drydock.store.settings import StoreSettings
from drydock.triggers import trigger_family
from drydock.updates.actions import ACTIONS
from drydock.updates.settings import ActionLabelSettings, HooksSettings, UpdatesSettings
from drydock.watch.settings import WatchingSettings


@section("DD_", "Process", "Settings of the whole process.")
class ProcessSettings:
    """Variables without a room."""

    config_file: str | None = option("CONFIG_FILE", kinds.path(), default=None, help="YAML file with further settings.")
    event_handler_timeout_ms: int = option(
        "EVENT_HANDLER_TIMEOUT_MS",
        kinds.integer(1),
        default=30_000,
        help="A hung event handler is skipped after this.",
        lenient=True,
    )


SCHEMA = Schema(
    sections=(
        ServerSettings,
        PublicSettings,
        MetricsAccessSettings,
        ProcessSettings,
        HttpSettings,
        StreamSettings,
        CompatSettings,
        AuthSettings,
        AnonymousSettings,
        SessionSettings,
        StoreSettings,
        LogSettings,
        MetricsSettings,
        ContainerMetricsSettings,
        StatsSettings,
        FleetSettings,
        WatchingSettings,
        LocalWatcherSettings,
        RegistriesSettings,
        GhcrSettings,
        UpdatesSettings,
        ActionLabelSettings,
        HooksSettings,
        SecuritySettings,
        *SCANNERS,
        CosignSettings,
        ReleaseNotesSettings,
        IconSettings,
    ),
    families=(
        WATCHERS,
        AUTHENTICATIONS,
        trigger_family((*ACTIONS, *PROVIDERS)),
        REGISTRIES,
        Reserved(("DD_AGENT_",)),
    ),
)
"""Every section, in the order of the documentation, and every family."""
