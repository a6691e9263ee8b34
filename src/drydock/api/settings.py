"""The HTTP server: address, TLS, features and limits (platform.md §2.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from drydock import __version__
from drydock.config import kinds
from drydock.config.reader import Reading
from drydock.config.schema import option, section
from drydock.config.source import Problem

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
    tls: bool = option("TLS_ENABLED", kinds.boolean(), default=False, help="Serve HTTPS; needs both TLS files.")
    tls_key: str | None = option("TLS_KEY", kinds.path(), default=None, help="Private key (PEM).")
    tls_cert: str | None = option("TLS_CERT", kinds.path(), default=None, help="Certificate chain (PEM).")
    cors_enabled: bool = option("CORS_ENABLED", kinds.boolean(), default=False, help="Answer cross-origin requests.")
    cors_origin: str | None = option(
        "CORS_ORIGIN", kinds.text(), default=None, help="The one origin allowed, or `*`. Required when CORS is on."
    )
    cors_methods: str = option(
        "CORS_METHODS", kinds.text(), default="GET,HEAD,PUT,PATCH,POST,DELETE", help="Methods allowed across origins."
    )
    compression: bool = option("COMPRESSION_ENABLED", kinds.boolean(), default=True, help="gzip answers when accepted.")
    compression_threshold: int = option(
        "COMPRESSION_THRESHOLD", kinds.integer(0), default=1024, help="Smallest body in bytes that is compressed."
    )
    ui: bool = option("UI_ENABLED", kinds.boolean(), default=True, help="`false`: API only.")
    container_actions: bool = option(
        "FEATURE_CONTAINERACTIONS",
        kinds.boolean(),
        default=True,
        help="Start, stop, restart and update through the API.",
    )
    delete: bool = option(
        "FEATURE_DELETE", kinds.boolean(), default=True, help="Delete container records through the API."
    )
    cookie_samesite: Literal["strict", "lax", "none"] = option(
        "COOKIE_SAMESITE",
        kinds.choice("strict", "lax", "none"),
        default="lax",
        help="SameSite attribute of the session cookie.",
    )
    trust_proxy: bool | int | str = option(
        "TRUSTPROXY",
        TRUST_PROXY,
        default=False,
        help="Trusted proxies: `true`, a number of hops, or addresses and networks.",
    )
    max_sessions: int = option(
        "SESSION_MAXCONCURRENTSESSIONS", kinds.integer(1), default=5, help="Sessions one user may hold at a time."
    )
    rate_limit_max: int = option(
        "RATELIMIT_MAX", kinds.integer(1), default=1000, help="Requests per client in 15 minutes."
    )
    identity_keying: bool = option(
        "RATELIMIT_IDENTITYKEYING",
        kinds.boolean(),
        default=False,
        help="Count signed-in requests per session, not per address.",
    )

    @property
    def allowed_origin(self) -> str | None:
        """The origin that CORS allows; None while it is off."""
        return self.cors_origin if self.cors_enabled else None

    @staticmethod
    def problems(reading: Reading[ServerSettings]) -> Iterator[Problem]:
        """Rules that involve two variables (platform.md §2.1)."""
        server = reading.settings
        if server is None:
            return
        if server.tls and not (server.tls_key and server.tls_cert):
            yield Problem("DD_SERVER_TLS_ENABLED", "needs DD_SERVER_TLS_KEY and DD_SERVER_TLS_CERT", fatal=True)
        if server.cors_enabled and not server.cors_origin:
            yield Problem("DD_SERVER_CORS_ENABLED", "needs DD_SERVER_CORS_ORIGIN", fatal=True)
        if server.cookie_samesite == "none" and not server.tls and not server.trust_proxy:
            yield Problem("DD_SERVER_COOKIE_SAMESITE", "none needs TLS or a trusted proxy", fatal=True)


@section("DD_", "Addresses and version", "How people reach this server, and what it says it is.")
class PublicSettings:
    """What the server says of itself."""

    public_url: str | None = option(
        "PUBLIC_URL", kinds.url("http", "https"), default=None, help="Public address of this server."
    )
    version_shown: str | None = option(
        "VERSION", kinds.text(), default=None, help="Version to show instead of the package's."
    )

    @property
    def version(self) -> str:
        """The version of this server, as it is shown."""
        return self.version_shown or __version__
