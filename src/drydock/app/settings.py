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
from drydock.config.components import Reserved
from drydock.config.load import Schema
from drydock.config.settings import ConfigSettings
from drydock.events import EventSettings
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

SCHEMA = Schema(
    sections=(
        ServerSettings,
        PublicSettings,
        MetricsAccessSettings,
        ConfigSettings,
        EventSettings,
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
