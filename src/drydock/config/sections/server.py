"""The HTTP server, its features and limits (platform.md §2.1)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.core.secret import Secret

TRUST_PROXY = kinds.either(kinds.boolean(), kinds.either(kinds.integer(0), kinds.text()))


@section("DD_SERVER_", "Server", "The HTTP server: address, TLS, features, limits.")
class ServerSettings:
    """`DD_SERVER_*`."""

    enabled: bool = option(
        "ENABLED", kinds.boolean(), default=True, help="`false`: no HTTP listener at all; watching goes on."
    )
    host: str | None = option(
        "HOST", kinds.text(), default=None, help="Address to listen on. Unset: all interfaces, IPv4 and IPv6."
    )
    port: int = option("PORT", kinds.integer(0, 65535), default=3000, help="TCP port to listen on.")
    name: str | None = option(
        "NAME",
        kinds.text(),
        default=None,
        help="Name of this server in messages. Unset: the Engine's host name, else this machine's.",
    )
    tls_enabled: bool = option("TLS_ENABLED", kinds.boolean(), default=False, help="Serve HTTPS; needs both TLS files.")
    tls_key: str | None = option("TLS_KEY", kinds.path(), default=None, help="Private key (PEM).")
    tls_cert: str | None = option("TLS_CERT", kinds.path(), default=None, help="Certificate chain (PEM).")
    cors_enabled: bool = option("CORS_ENABLED", kinds.boolean(), default=False, help="Answer cross-origin requests.")
    cors_origin: str | None = option(
        "CORS_ORIGIN", kinds.text(), default=None, help="The one origin allowed, or `*`. Required when CORS is on."
    )
    cors_methods: str = option(
        "CORS_METHODS", kinds.text(), default="GET,HEAD,PUT,PATCH,POST,DELETE", help="Methods allowed across origins."
    )
    compression_enabled: bool = option(
        "COMPRESSION_ENABLED", kinds.boolean(), default=True, help="gzip answers when accepted."
    )
    compression_threshold: int = option(
        "COMPRESSION_THRESHOLD", kinds.integer(0), default=1024, help="Smallest body in bytes that is compressed."
    )
    ui_enabled: bool = option("UI_ENABLED", kinds.boolean(), default=True, help="`false`: API only.")
    feature_containeractions: bool = option(
        "FEATURE_CONTAINERACTIONS",
        kinds.boolean(),
        default=True,
        help="Start, stop, restart and update through the API.",
    )
    feature_delete: bool = option(
        "FEATURE_DELETE", kinds.boolean(), default=True, help="Delete container records through the API."
    )
    cookie_samesite: str = option(
        "COOKIE_SAMESITE",
        kinds.choice("strict", "lax", "none"),
        default="lax",
        help="SameSite attribute of the session cookie.",
    )
    trustproxy: bool | int | str = option(
        "TRUSTPROXY",
        TRUST_PROXY,
        default=False,
        help="Whose forwarding headers count: `true`, a number of proxies, or addresses and networks.",
    )
    session_maxconcurrentsessions: int = option(
        "SESSION_MAXCONCURRENTSESSIONS", kinds.integer(1), default=5, help="Sessions one user may hold at a time."
    )
    ratelimit_max: int = option(
        "RATELIMIT_MAX", kinds.integer(1), default=1000, help="Requests per client in 15 minutes."
    )
    ratelimit_identitykeying: bool = option(
        "RATELIMIT_IDENTITYKEYING",
        kinds.boolean(),
        default=False,
        help="Count signed-in requests per session, not per address.",
    )
    metrics_auth: bool = option(
        "METRICS_AUTH", kinds.boolean(), default=True, help="`/metrics` asks for the API's credentials."
    )
    metrics_token: Secret | None = option(
        "METRICS_TOKEN", kinds.secret(), default=None, help="Bearer token for `/metrics`, at least 16 characters."
    )


@section("DD_", "Process", "Settings of the whole process.")
class ProcessSettings:
    """Variables without a group of their own."""

    config_file: str | None = option("CONFIG_FILE", kinds.path(), default=None, help="YAML file with further settings.")
    anonymous_auth_confirm: bool = option(
        "ANONYMOUS_AUTH_CONFIRM",
        kinds.boolean(),
        default=False,
        help="Serve everybody without a login, on every address. Only for networks where everybody may do everything.",
        also=("AUTH_ANONYMOUS_CONFIRM",),
        lenient=True,
    )
    action_labels_strict: bool = option(
        "ACTION_LABELS_STRICT",
        kinds.boolean(),
        default=False,
        help="`true`: `dd.action.include` and `.exclude` refuse manual updates too.",
        lenient=True,
    )
    public_url: str | None = option(
        "PUBLIC_URL", kinds.url("http", "https"), default=None, help="Address that people use."
    )
    version: str | None = option(
        "VERSION", kinds.text(), default=None, help="Version to show instead of the package's."
    )
    compat_wudcard: bool = option(
        "COMPAT_WUDCARD",
        kinds.boolean(),
        default=False,
        help="Answer the routes below the unversioned `/api` that dashboards written for WUD read.",
        lenient=True,
    )
    dns_mode: str = option(
        "DNS_MODE",
        kinds.choice("ipv4first", "ipv6first", "verbatim"),
        default="ipv4first",
        help="Order of resolved addresses for every outbound connection.",
        lenient=True,
    )
    outbound_http_timeout_ms: int = option(
        "OUTBOUND_HTTP_TIMEOUT_MS",
        kinds.integer(1),
        default=30_000,
        help="Longest time of one outbound request.",
        lenient=True,
    )
    event_handler_timeout_ms: int = option(
        "EVENT_HANDLER_TIMEOUT_MS",
        kinds.integer(1),
        default=30_000,
        help="A hung event handler is skipped after this.",
        lenient=True,
    )
    sse_max_clients: int = option(
        "SSE_MAX_CLIENTS", kinds.integer(1), default=500, help="Event stream clients at a time.", lenient=True
    )
    sse_debug_log_ip: bool = option(
        "SSE_DEBUG_LOG_IP",
        kinds.boolean(),
        default=False,
        help="Addresses of event stream clients in the log as they are, instead of a hash.",
        lenient=True,
    )
    ui_maturity_threshold_days: int = option(
        "UI_MATURITY_THRESHOLD_DAYS",
        kinds.integer(1),
        default=7,
        help="Age in days at which an update counts as mature instead of hot.",
        lenient=True,
    )
    release_notes_github_token: Secret | None = option(
        "RELEASE_NOTES_GITHUB_TOKEN", kinds.secret(), default=None, help="Token for release notes from GitHub."
    )
    release_notes_max_intermediate: int = option(
        "RELEASE_NOTES_MAX_INTERMEDIATE",
        kinds.integer(0),
        default=20,
        help="Intermediate release notes at most.",
        lenient=True,
    )
