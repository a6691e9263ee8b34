"""Read the whole configuration once, at start: every section, every watcher, every problem together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from drydock.config.reader import Effective, Reading, read_component, read_section, read_with_prefix, unknown
from drydock.config.schema import section_of, spellings
from drydock.config.sections.auth import AuthSettings, SessionSettings
from drydock.config.sections.icons import IconSettings
from drydock.config.sections.security import ReleaseNotesSettings, SecuritySettings, security_problems
from drydock.config.sections.server import ProcessSettings, ServerSettings
from drydock.config.sections.store import (
    CacheSettings,
    ContainerMetricsSettings,
    LogSettings,
    MetricsSettings,
    StatsSettings,
    StoreSettings,
)
from drydock.config.sections.updates import HooksSettings, UpdatesSettings
from drydock.config.sections.watching import (
    GhcrSettings,
    ImageSetSettings,
    RegistriesSettings,
    WatcherSettings,
    WatchingSettings,
)
from drydock.config.source import Problem, Source

SECTIONS: tuple[tuple[str, type[Any]], ...] = (
    ("server", ServerSettings),
    ("process", ProcessSettings),
    ("auth", AuthSettings),
    ("session", SessionSettings),
    ("store", StoreSettings),
    ("log", LogSettings),
    ("metrics", MetricsSettings),
    ("container_metrics", ContainerMetricsSettings),
    ("stats", StatsSettings),
    ("caches", CacheSettings),
    ("watching", WatchingSettings),
    ("registries", RegistriesSettings),
    ("ghcr", GhcrSettings),
    ("updates", UpdatesSettings),
    ("hooks", HooksSettings),
    ("security", SecuritySettings),
    ("notes", ReleaseNotesSettings),
    ("icons", IconSettings),
)
"""Every plain section by its name in `Settings`, in the order of the documentation."""

FAMILIES: tuple[str, ...] = ("DD_REGISTRY_", "DD_ACTION_", "DD_NOTIFICATION_", "DD_TRIGGER_", "DD_AUTH_", "DD_AGENT_")
"""Prefixes of component families whose rooms read their own variables from `Settings.source`."""

WATCHER_PREFIX = "DD_WATCHER_"
IMGSET = "IMGSET_"


@dataclass(frozen=True)
class Settings:
    """The validated configuration. `problems` holds warnings and rejected components; `source` the raw families."""

    server: ServerSettings
    process: ProcessSettings
    auth: AuthSettings
    session: SessionSettings
    store: StoreSettings
    log: LogSettings
    metrics: MetricsSettings
    container_metrics: ContainerMetricsSettings
    stats: StatsSettings
    caches: CacheSettings
    watching: WatchingSettings
    registries: RegistriesSettings
    ghcr: GhcrSettings
    updates: UpdatesSettings
    hooks: HooksSettings
    security: SecuritySettings
    notes: ReleaseNotesSettings
    icons: IconSettings
    watchers: tuple[WatcherSettings, ...]
    source: Source
    effective: tuple[Effective, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Loaded:
    """`settings` is None when something fatal was found; `problems` then says everything that is wrong."""

    settings: Settings | None
    problems: tuple[Problem, ...]


def load(environ: Mapping[str, str]) -> Loaded:
    """Read and validate everything. Never raises for bad values; all problems are reported together."""
    source = Source(environ)
    readings = {name: read_section(cls, source) for name, cls in SECTIONS}
    problems = [*source.problems, *(problem for reading in readings.values() for problem in reading.problems)]
    watchers, watcher_readings = _watchers(source, problems, _implicit_watcher(readings["watching"]))
    problems += _cross_checks(readings)
    problems += security_problems(readings["security"])
    problems += _unknown(source, [*readings.values(), *watcher_readings])
    if any(problem.fatal for problem in problems):
        return Loaded(None, tuple(problems))
    effective = [line for reading in [*readings.values(), *watcher_readings] for line in reading.effective]
    sections: dict[str, Any] = {name: reading.settings for name, reading in readings.items()}
    settings = Settings(
        **sections, watchers=watchers, source=source, effective=tuple(effective), problems=tuple(problems)
    )
    return Loaded(settings, tuple(problems))


def _implicit_watcher(reading: Reading[WatchingSettings]) -> bool:
    return reading.settings is None or reading.settings.local_watcher


def component_names(source: Source, prefix: str) -> list[str]:
    """Names of the components that variables with this prefix mention, lower-case, in alphabetical order."""
    return sorted({name[len(prefix) :].split("_", 1)[0].lower() for name in source.names(prefix)})


def _watchers(
    source: Source, problems: list[Problem], implicit: bool
) -> tuple[tuple[WatcherSettings, ...], list[Reading[Any]]]:
    names = component_names(source, WATCHER_PREFIX)
    if not names:
        return ((WatcherSettings(name="local"),) if implicit else ()), []
    made: list[WatcherSettings] = []
    readings: list[Reading[Any]] = []
    for name in names:
        watcher, own = _watcher(source, name, problems)
        readings += own
        if watcher is not None:
            made.append(watcher)
    return tuple(made), readings


def _watcher(source: Source, name: str, problems: list[Problem]) -> tuple[WatcherSettings | None, list[Reading[Any]]]:
    """One watcher; anything wrong with it makes it unusable, and only it."""
    reading = read_component(WatcherSettings, source, name)
    sets, set_readings = _image_sets(source, name)
    readings: list[Reading[Any]] = [reading, *set_readings]
    used = {variable for part in readings for variable in part.used}
    wrong = [problem for part in readings for problem in part.problems if problem.fatal]
    wrong += _unknown_watcher_keys(source, name, used)
    wrong += [
        Problem(f"{WATCHER_PREFIX}{name.upper()}_{IMGSET}{s.name.upper()}_IMAGE", "is required")
        for s in sets
        if not s.image
    ]
    problems += [problem for part in readings for problem in part.problems if not problem.fatal]
    for problem in wrong:
        problems.append(Problem(problem.variable, f"{problem.message} – watcher {name!r} is not started"))
    if wrong or reading.settings is None:
        return None, readings
    return dataclasses.replace(reading.settings, name=name, image_sets=sets), readings


def _unknown_watcher_keys(source: Source, name: str, used: set[str]) -> list[Problem]:
    prefix = f"{WATCHER_PREFIX}{name.upper()}_"
    known = [prefix + suffix for suffix, _, _ in spellings(section_of(WatcherSettings))]
    strange = [variable for variable in source.names(prefix) if variable not in used]
    strange += [variable for variable in source.names(prefix.rstrip("_")) if variable == prefix.rstrip("_")]
    return [_explain_unknown(variable, known) for variable in strange]


def _explain_unknown(variable: str, known: list[str]) -> Problem:
    if "_AUTH_OIDC_" in variable:
        return Problem(variable, "signing in to a Docker API by OIDC is not available; use AUTH_TYPE basic or bearer")
    if any(variable.endswith("_" + suffix) for suffix, _, _ in spellings(section_of(WatcherSettings))):
        return Problem(variable, "unknown variable; a watcher name is one word without underscore")
    return unknown(variable, known)


def _image_sets(source: Source, watcher: str) -> tuple[tuple[ImageSetSettings, ...], list[Reading[ImageSetSettings]]]:
    prefix = f"{WATCHER_PREFIX}{watcher.upper()}_{IMGSET}"
    sets: list[ImageSetSettings] = []
    readings: list[Reading[ImageSetSettings]] = []
    for name in component_names(source, prefix):
        reading = read_with_prefix(ImageSetSettings, source, f"{prefix}{name.upper()}_")
        readings.append(reading)
        if reading.settings is not None:
            sets.append(dataclasses.replace(reading.settings, name=name))
    return tuple(sets), readings


def _cross_checks(readings: Mapping[str, Reading[Any]]) -> Iterable[Problem]:
    """Rules that involve two variables (platform.md §2.1)."""
    server: ServerSettings | None = readings["server"].settings
    if server is None:
        return
    if server.tls_enabled and not (server.tls_key and server.tls_cert):
        yield Problem("DD_SERVER_TLS_ENABLED", "needs DD_SERVER_TLS_KEY and DD_SERVER_TLS_CERT", fatal=True)
    if server.cors_enabled and not server.cors_origin:
        yield Problem("DD_SERVER_CORS_ENABLED", "needs DD_SERVER_CORS_ORIGIN", fatal=True)
    if server.cookie_samesite == "none" and not server.tls_enabled and not server.trustproxy:
        yield Problem("DD_SERVER_COOKIE_SAMESITE", "none needs TLS or a trusted proxy", fatal=True)
    token = server.metrics_token
    if token is not None and len(token.reveal()) < 16:
        yield Problem("DD_SERVER_METRICS_TOKEN", "[REDACTED] is too short, must have 16 characters", fatal=True)


def known_variables() -> list[str]:
    """Documented names of all plain variables."""
    return [section_of(cls).prefix + suffix for _, cls in SECTIONS for suffix, _, _ in spellings(section_of(cls))]


def _unknown(source: Source, readings: list[Reading[Any]]) -> Iterable[Problem]:
    used = {variable for reading in readings for variable in reading.used}
    known = known_variables()
    for variable in source.names():
        if variable in used or variable.startswith((*FAMILIES, WATCHER_PREFIX)):
            continue
        yield unknown(variable, known)
