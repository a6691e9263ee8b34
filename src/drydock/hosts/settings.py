"""Watchers: how each Docker host is reached and watched, and its image sets (watching.md §1, §2)."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from drydock.config import kinds
from drydock.config.load import Family, FamilyReading, component_names
from drydock.config.reader import Reading, read_component, read_section, read_with_prefix, unknown
from drydock.config.schema import option, section, section_of, spellings
from drydock.config.source import Problem, Source
from drydock.core.imgset import ImageSet
from drydock.core.labels import WatcherDefaults
from drydock.docker.settings import EngineSettings

WATCHER_PREFIX = "DD_WATCHER_"
IMGSET = "IMGSET_"


@section(
    "DD_WATCHER_",
    "Watchers",
    "One group per Docker host. `<NAME>` is one word without underscore. Without any, one watcher `local` on the local socket.",
    family=True,
)
class WatcherSettings(EngineSettings, WatcherDefaults):
    """`DD_WATCHER_<NAME>_*`. `name` and `image_sets` come from the variable names."""

    name: str = ""
    image_sets: tuple[ImageSetSettings, ...] = ()
    cron: str = option("CRON", kinds.cron(), default="0 */6 * * *", help="When to check, in the zone of `TZ`.")
    jitter: int = option(
        "JITTER", kinds.integer(0), default=60_000, help="Random delay in ms before each scheduled check."
    )
    watch_by_default: bool = option(
        "WATCHBYDEFAULT", kinds.boolean(), default=True, help="Watch containers that have no `dd.watch` label."
    )
    watch_all: bool = option("WATCHALL", kinds.boolean(), default=False, help="Watch stopped containers too.")
    watch_events: bool = option("WATCHEVENTS", kinds.boolean(), default=True, help="React to Docker events.")
    maintenance_window: str | None = option(
        "MAINTENANCE_WINDOW",
        kinds.cron(),
        default=None,
        help="Minutes in which scheduled checks and automatic updates may run.",
        also=("MAINTENANCEWINDOW",),
    )
    maintenance_window_tz: str = option(
        "MAINTENANCE_WINDOW_TZ",
        kinds.zone(),
        default="UTC",
        help="Time zone of the window.",
        also=("MAINTENANCEWINDOWTZ",),
    )
    maturity_mode: Literal["all", "mature"] | None = option(
        "MATURITY_MODE",
        kinds.choice("all", "mature"),
        default=None,
        help="`mature`: hold updates back until they have aged.",
        also=("MATURITYMODE",),
    )
    maturity_min_age_days: int | None = option(
        "MATURITY_MIN_AGE_DAYS",
        kinds.integer(1, 365),
        default=None,
        help="Age in days that `mature` asks for.",
        also=("MATURITYMINAGEDAYS",),
    )
    discovery_settle_ms: int = option(
        "DISCOVERY_SETTLE_MS",
        kinds.integer(0),
        default=30_000,
        help="How long a new container must be seen before it is watched; 0 = at once.",
        also=("DISCOVERYSETTLEMS",),
    )
    tag_family: str | None = option(
        "TAG_FAMILY",
        kinds.choice("strict", "loose"),
        default=None,
        help="`loose`: pinned and floating tags climb without an include filter.",
        also=("TAGFAMILY",),
    )
    tag_pin_info: bool | None = option(
        "TAG_PIN_INFO",
        kinds.boolean(),
        default=None,
        help="Show newer versions beyond pinned tags.",
        also=("TAGPININFO",),
    )
    watch_at_start: bool = option(
        "WATCHATSTART",
        kinds.boolean(),
        default=True,
        help="`false`: no check at start.",
        deprecated="deprecated; scheduled checks start with the process",
    )
    watch_digest: bool | None = option(
        "WATCHDIGEST",
        kinds.boolean(),
        default=None,
        help="Ignored.",
        deprecated="deprecated and ignored; digests are watched automatically",
    )


@section(
    "DD_WATCHER_<NAME>_IMGSET_",
    "Image sets",
    "Presets for all containers of one image; labels of a container win over them.",
    family=True,
)
class ImageSetSettings(ImageSet):
    """`DD_WATCHER_<NAME>_IMGSET_<SET>_*`."""

    image: str = option(
        "IMAGE", kinds.text(), default="", help="Image that the set is for (required); its tag is ignored."
    )
    tag_include: str | None = option(
        "TAG_INCLUDE", kinds.text(), default=None, help="As label `dd.tag.include`.", also=("INCLUDE",)
    )
    tag_exclude: str | None = option(
        "TAG_EXCLUDE", kinds.text(), default=None, help="As label `dd.tag.exclude`.", also=("EXCLUDE",)
    )
    tag_transform: str | None = option(
        "TAG_TRANSFORM", kinds.text(), default=None, help="As label `dd.tag.transform`.", also=("TRANSFORM",)
    )
    tag_family: str | None = option(
        "TAG_FAMILY", kinds.choice("strict", "loose"), default=None, help="As label `dd.tag.family`."
    )
    tag_pin_info: bool | None = option(
        "TAG_PIN_INFO", kinds.boolean(), default=None, help="As label `dd.tag.pin.info`."
    )
    link_template: str | None = option("LINK_TEMPLATE", kinds.text(), default=None, help="As label `dd.link.template`.")
    display_name: str | None = option("DISPLAY_NAME", kinds.text(), default=None, help="As label `dd.display.name`.")
    display_icon: str | None = option("DISPLAY_ICON", kinds.text(), default=None, help="As label `dd.display.icon`.")
    trigger_include: str | None = option(
        "TRIGGER_INCLUDE", kinds.text(), default=None, help="As the include labels of both kinds."
    )
    trigger_exclude: str | None = option(
        "TRIGGER_EXCLUDE", kinds.text(), default=None, help="As the exclude labels of both kinds."
    )
    registry_lookup_image: str | None = option(
        "REGISTRY_LOOKUP_IMAGE",
        kinds.text(),
        default=None,
        help="As label `dd.registry.lookup.image`.",
        also=("REGISTRY_LOOKUP_URL",),
    )
    watch_digest: bool | None = option(
        "WATCH_DIGEST", kinds.boolean(), default=None, help="As label `dd.watch.digest`."
    )
    inspect_tag_path: str | None = option(
        "INSPECT_TAG_PATH", kinds.text(), default=None, help="As label `dd.inspect.tag.path`."
    )


@section("DD_", "Local watcher", "The watcher that exists without configuration.")
class LocalWatcherSettings:
    """Whether there is an implicit watcher."""

    local_watcher: bool = option(
        "LOCAL_WATCHER",
        kinds.boolean(),
        default=True,
        help="`false`: no watcher `local` when none is configured.",
        lenient=True,
    )


def read_watchers(source: Source) -> FamilyReading:
    """Every watcher that can be used; without any configured one `local`, unless that is switched off."""
    names = component_names(source, WATCHER_PREFIX)
    if not names:
        wanted = read_section(LocalWatcherSettings, source).settings
        implicit = wanted is None or wanted.local_watcher
        return FamilyReading((WatcherSettings(name="local"),) if implicit else ())
    problems: list[Problem] = []
    made: list[WatcherSettings] = []
    readings: list[Reading[Any]] = []
    for name in names:
        watcher, own = _watcher(source, name, problems)
        readings += own
        if watcher is not None:
            made.append(watcher)
    return FamilyReading(tuple(made), tuple(readings), tuple(problems))


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


WATCHERS = Family(WATCHER_PREFIX, WatcherSettings, read_watchers)
