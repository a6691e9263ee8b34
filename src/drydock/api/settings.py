"""What the HTTP server needs to know, as one plain value (platform.md §2.1). Reading variables is not done here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Effective server configuration; the defaults are the documented ones."""

    version: str = "0"
    enabled: bool = True
    host: str | None = None
    port: int = 3000
    name: str | None = None
    public_url: str | None = None
    tls: bool = False
    cors_origin: str | None = None
    cors_methods: str = "GET,HEAD,PUT,PATCH,POST,DELETE"
    compression: bool = True
    compression_threshold: int = 1024
    ui: bool = True
    container_actions: bool = True
    delete: bool = True
    cookie_samesite: Literal["strict", "lax", "none"] = "lax"
    trust_proxy: bool | int | str = False
    max_sessions: int = 5
    rate_limit_max: int = 1000
    identity_keying: bool = False
    metrics_auth: bool = True
    metrics_token_configured: bool = False
    webhooks: bool = False
    sse_max_clients: int = 500
    store_path: str = "/store"
    store_file: str = "drydock.db"
