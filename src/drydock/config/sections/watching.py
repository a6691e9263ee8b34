"""Watchers, image sets, and what holds for all of them (watching.md §1, §2)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.core.secret import Secret


@section(
    "DD_WATCHER_",
    "Watchers",
    "One group per Docker host. `<NAME>` is one word without underscore. Without any, one watcher `local` on the local socket.",
    family=True,
)
class WatcherSettings:
    """`DD_WATCHER_<NAME>_*`. `name` and `image_sets` come from the variable names."""

    name: str = ""
    image_sets: tuple[ImageSetSettings, ...] = ()
    socket: str = option(
        "SOCKET", kinds.path(), default="/var/run/docker.sock", help="Unix socket; used when HOST is unset."
    )
    host: str | None = option(
        "HOST", kinds.text(), default=None, help="Host name or address of a remote Engine, without scheme."
    )
    port: int = option("PORT", kinds.integer(0, 65535), default=2375, help="TCP port of the remote Engine.")
    protocol: str | None = option(
        "PROTOCOL",
        kinds.choice("http", "https"),
        default=None,
        help="Scheme of the remote Engine; https when TLS files are given.",
    )
    cafile: str | None = option("CAFILE", kinds.path(), default=None, help="CA certificate (PEM) of the remote Engine.")
    certfile: str | None = option("CERTFILE", kinds.path(), default=None, help="Client certificate (PEM).")
    keyfile: str | None = option("KEYFILE", kinds.path(), default=None, help="Client key (PEM).")
    auth_type: str | None = option(
        "AUTH_TYPE",
        kinds.choice("basic", "bearer", "oidc"),
        default=None,
        help="How to sign in at the remote Engine's proxy.",
    )
    auth_user: str | None = option("AUTH_USER", kinds.text(), default=None, help="User name for basic authentication.")
    auth_password: Secret | None = option(
        "AUTH_PASSWORD", kinds.secret(), default=None, help="Password for basic authentication."
    )
    auth_bearer: Secret | None = option(
        "AUTH_BEARER", kinds.secret(), default=None, help="Token for bearer authentication."
    )
    auth_insecure: bool = option(
        "AUTH_INSECURE",
        kinds.boolean(),
        default=False,
        help="Turn refusals of incomplete or unencrypted sign-in into warnings.",
    )
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
    maturity_mode: str | None = option(
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
class ImageSetSettings:
    """`DD_WATCHER_<NAME>_IMGSET_<SET>_*`."""

    name: str = ""
    image: str | None = option(
        "IMAGE", kinds.text(), default=None, help="Image that the set is for (required); its tag is ignored."
    )
    include: str | None = option(
        "TAG_INCLUDE", kinds.text(), default=None, help="As label `dd.tag.include`.", also=("INCLUDE",)
    )
    exclude: str | None = option(
        "TAG_EXCLUDE", kinds.text(), default=None, help="As label `dd.tag.exclude`.", also=("EXCLUDE",)
    )
    transform: str | None = option(
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
    lookup_image: str | None = option(
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


@section("DD_", "Watching", "What holds for all watchers.")
class WatchingSettings:
    """Process-wide variables of watching.md §1.8."""

    local_watcher: bool = option(
        "LOCAL_WATCHER",
        kinds.boolean(),
        default=True,
        help="`false`: no watcher `local` when none is configured.",
        lenient=True,
    )
    maturity_sweep_cron: str | None = option(
        "MATURITY_SWEEP_CRON",
        kinds.optional_cron(),
        default="*/5 * * * *",
        help="When to look for updates whose maturity gate opened.",
        lenient=True,
        fallback=None,
    )


@section("DD_REGISTRIES_", "Registries in general", "What holds for all registries.")
class RegistriesSettings:
    """`DD_REGISTRIES_*` (registries.md §1.6)."""

    auto: bool = option(
        "AUTO",
        kinds.boolean(),
        default=True,
        help="Ask hosts that no configured registry serves, anonymously and over HTTPS.",
    )
    concurrency: int = option("CONCURRENCY", kinds.integer(1, 32), default=4, help="Requests to one host at a time.")
    cache_mb: int = option(
        "CACHE_MB", kinds.integer(0), default=64, help="Size of the registry cache on disk in MiB; 0 = none."
    )
    allow_private_realms: bool = option(
        "ALLOW_PRIVATE_REALMS",
        kinds.boolean(),
        default=False,
        help="Follow registries to token servers and redirects with private addresses.",
    )


@section("DD_GHCR_", "GitHub packages", "Look-ups of publication dates.")
class GhcrSettings:
    """`DD_GHCR_*`."""

    versions_max_pages: int = option(
        "VERSIONS_MAX_PAGES",
        kinds.integer(1),
        default=500,
        help="Pages of package versions read at most.",
        lenient=True,
    )
