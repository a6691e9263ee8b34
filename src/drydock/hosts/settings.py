"""Watchers: how each Docker host is reached and watched, and its image sets (watching.md §1, §2)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Literal

from drydock.config import kinds
from drydock.config.components import FamilyReading, component_names
from drydock.config.reader import Reading, meant, read, read_section
from drydock.config.schema import option, section, section_of, spellings
from drydock.config.source import ComponentId, Problem, Source
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
        help="`mature`: hold updates back until they have reached that age.",
        also=("MATURITYMODE",),
    )
    maturity_min_age_days: int | None = option(
        "MATURITY_MIN_AGE_DAYS",
        kinds.integer(1, 365),
        default=None,
        help="Age in days that `mature` requires.",
        also=("MATURITYMINAGEDAYS",),
    )
    discovery_settle_ms: int = option(
        "DISCOVERY_SETTLE_MS",
        kinds.integer(0),
        default=30_000,
        help="How long a new container must be visible before it is watched; 0 = at once.",
        also=("DISCOVERYSETTLEMS",),
    )
    tag_family: str | None = option(
        "TAG_FAMILY",
        kinds.choice("strict", "loose"),
        default=None,
        help="`loose`: pinned and floating tags are updated without an include filter.",
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
        "IMAGE", kinds.text(), default="", help="Image that the set applies to (required); its tag is ignored."
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


class WatcherFamily:
    """Every watcher that can be used; without any configured one `local`, unless that is switched off."""

    all_prefixes = (WATCHER_PREFIX,)
    sections: tuple[type[Any], ...] = (WatcherSettings, ImageSetSettings)

    def read(self, source: Source, plain: Collection[str]) -> FamilyReading:
        """Read every watcher; anything wrong with one makes it unusable, and only it."""
        del plain
        family = FamilyReading()
        names = component_names(source, WATCHER_PREFIX)
        if not names:
            wanted = read_section(LocalWatcherSettings, source).settings
            if wanted is None or wanted.local_watcher:
                family.components.append(WatcherSettings(name="local"))
        for name in names:
            _read_watcher(source, name, family)
        return family


def _read_watcher(source: Source, name: str, family: FamilyReading) -> None:
    prefix = f"{WATCHER_PREFIX}{name.upper()}_"
    reading = read(WatcherSettings, prefix, source.under(prefix), name=name)
    readings: list[Reading[Any]] = [reading]
    sets: list[ImageSetSettings] = []
    problems: list[Problem] = []
    for set_name in component_names(source, prefix + IMGSET):
        set_prefix = f"{prefix}{IMGSET}{set_name.upper()}_"
        image_set = read(ImageSetSettings, set_prefix, source.under(set_prefix), name=set_name)
        readings.append(image_set)
        if image_set.settings is not None:
            sets.append(image_set.settings)
            if not image_set.settings.image:
                problems.append(Problem(f"{set_prefix}IMAGE", "is required", fatal=True))
    problems += [problem for part in readings for problem in part.problems]
    used = {variable for part in readings for variable in part.used}
    mine = [name for name in source.names(prefix[:-1]) if name == prefix[:-1] or name.startswith(prefix)]
    problems += [_unknown(variable, prefix) for variable in mine if variable not in used]

    identity = ComponentId("watcher", "docker", name)
    family.problems += [replace(one, fatal=False, component=identity if one.fatal else None) for one in problems]
    family.effective += [line for part in readings for line in part.effective]
    family.used |= used
    if reading.settings is not None and not any(problem.fatal for problem in problems):
        family.components.append(replace(reading.settings, image_sets=tuple(sets)))


def _unknown(variable: str, prefix: str) -> Problem:
    known = [suffix for suffix, _, _ in spellings(section_of(WatcherSettings))]
    if "_AUTH_OIDC_" in variable:
        hint = "use AUTH_TYPE basic or bearer"
        return Problem(variable, "signing in to a Docker API by OIDC is not available", True, hint)
    if any(variable.endswith("_" + suffix) for suffix in known):
        return Problem(variable, "unknown variable", True, "a watcher name is one word without underscore")
    return Problem(variable, "unknown variable", True, meant(variable.removeprefix(prefix), known, prefix))


WATCHERS = WatcherFamily()
