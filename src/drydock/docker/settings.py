"""How one Engine is reached: the connection keys of a watcher (watching.md §1.2–§1.4)."""

from __future__ import annotations

from typing import Literal

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.core.secret import Secret

DEFAULT_SOCKET = "/var/run/docker.sock"

AuthType = Literal["basic", "bearer", "oidc"]


@section("DD_WATCHER_", "Connection", "How a Docker host is reached; part of the watchers.", family=True)
class EngineSettings:
    """The connection keys, named as the variables `DD_WATCHER_<NAME>_*`. `host` wins over `socket`; files are PEM paths."""

    socket: str = option("SOCKET", kinds.path(), default=DEFAULT_SOCKET, help="Unix socket; used when HOST is unset.")
    host: str | None = option(
        "HOST", kinds.text(), default=None, help="Host name or address of a remote Engine, without scheme."
    )
    port: int = option("PORT", kinds.integer(0, 65535), default=2375, help="TCP port of the remote Engine.")
    protocol: Literal["http", "https"] | None = option(
        "PROTOCOL",
        kinds.choice("http", "https"),
        default=None,
        help="Scheme of the remote Engine; https when TLS files are given.",
    )
    cafile: str | None = option("CAFILE", kinds.path(), default=None, help="CA certificate (PEM) of the remote Engine.")
    certfile: str | None = option("CERTFILE", kinds.path(), default=None, help="Client certificate (PEM).")
    keyfile: str | None = option("KEYFILE", kinds.path(), default=None, help="Client key (PEM).")
    auth_type: AuthType | None = option(
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
        help="Only warn about incomplete or unencrypted sign-in instead of refusing it.",
    )

    @property
    def tls(self) -> bool:
        """Whether any TLS file is given."""
        return bool(self.cafile or self.certfile or self.keyfile)

    @property
    def auth_given(self) -> bool:
        """Whether any credential, or a type, is set."""
        return any((self.auth_type, self.auth_user, self.auth_password, self.auth_bearer))
