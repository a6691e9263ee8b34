"""Sign-in: limits, sessions, and the families of providers and keys (platform.md §2.2, §13)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from drydock.config import kinds
from drydock.config.components import Family, Member
from drydock.config.schema import option, section
from drydock.core.secret import Secret


@section(
    "DD_AUTH_",
    "Sign-in limits",
    "How many attempts are allowed, and how long an account or address is locked afterwards.",
)
class AuthSettings:
    """The tuning variables among `DD_AUTH_*`."""

    account_attempts: int = option(
        "ACCOUNT_LOCKOUT_MAX_ATTEMPTS",
        kinds.integer(1),
        default=5,
        help="Failed sign-ins after which an account is locked.",
        lenient=True,
    )
    address_attempts: int = option(
        "IP_LOCKOUT_MAX_ATTEMPTS",
        kinds.integer(1),
        default=25,
        help="Failed sign-ins after which an address is locked.",
        lenient=True,
    )
    window_s: float = option(
        "LOCKOUT_WINDOW_MS",
        kinds.milliseconds(1),
        default=900.0,
        help="Failures are forgotten after this long without an attempt (ms).",
        lenient=True,
    )
    lock_s: float = option(
        "LOCKOUT_DURATION_MS",
        kinds.milliseconds(1),
        default=900.0,
        help="How long a lock lasts (ms).",
        lenient=True,
    )
    prune_interval_s: float = option(
        "LOCKOUT_PRUNE_INTERVAL_MS",
        kinds.milliseconds(1),
        default=60.0,
        help="How often old failures are removed (ms).",
        lenient=True,
    )
    tracked: int = option(
        "LOCKOUT_MAX_TRACKED_IDENTITIES",
        kinds.integer(1),
        default=5000,
        help="Accounts, and addresses, tracked at a time.",
        lenient=True,
    )
    concurrent_attempts: int = option(
        "MAX_CONCURRENT_LOGIN_ATTEMPTS",
        kinds.integer(1),
        default=2,
        help="Passwords verified at the same time; more are rejected with 429.",
        lenient=True,
    )


@section("DD_", "Open access", "Access without sign-in.")
class AnonymousSettings:
    """Whether no login is needed."""

    confirmed: bool = option(
        "ANONYMOUS_AUTH_CONFIRM",
        kinds.boolean(),
        default=False,
        help="Serve everyone without a login, on every address. Only for networks where everyone may do everything.",
        also=("AUTH_ANONYMOUS_CONFIRM",),
        lenient=True,
    )


@section("DD_SESSION_", "Sessions", "Signed-in browsers.")
class SessionSettings:
    """`DD_SESSION_*`."""

    secret: Secret | None = option(
        "SECRET",
        kinds.secret(),
        default=None,
        help="Signs session cookies. A comma-separated list: the first signs, the others still verify. "
        "Unset: a generated one is kept in the store.",
    )


@section(
    "DD_AUTH_BASIC_",
    "Users with a password",
    "One group per user. `drydock hash-password` makes the hash; inside a Compose file write each `$` as `$$`.",
    family=True,
)
class BasicSettings:
    """`DD_AUTH_BASIC_<NAME>_*`."""

    name: str = ""
    user: str | None = option("USER", kinds.text(), default=None, help="User name. Required.")
    hash: Secret | None = option("HASH", kinds.secret(), default=None, help="argon2id hash of the password. Required.")
    role: Literal["viewer", "operator", "admin"] = option(
        "ROLE", kinds.choice("viewer", "operator", "admin"), default="admin", help="What the user may do."
    )


_MILLISECONDS = kinds.milliseconds(501)
_WHOLE_SECONDS = replace(_MILLISECONDS, read=lambda text: math.ceil(_MILLISECONDS.read(text)))


@section(
    "DD_AUTH_OIDC_",
    "OpenID Connect",
    "One group per identity provider; needs `DD_PUBLIC_URL`. The redirect address to register there is "
    "`<DD_PUBLIC_URL>/auth/oidc/<name>/cb`.",
    family=True,
)
class OidcSettings:
    """`DD_AUTH_OIDC_<NAME>_*`."""

    name: str = ""
    discovery: str | None = option(
        "DISCOVERY", kinds.url("https"), default=None, help="Address of the discovery document. Required."
    )
    client_id: str | None = option("CLIENTID", kinds.text(), default=None, help="Client id. Required.")
    client_secret: Secret | None = option("CLIENTSECRET", kinds.secret(), default=None, help="Client secret. Required.")
    cafile: str | None = option("CAFILE", kinds.path(), default=None, help="CA certificates (PEM) for this provider.")
    insecure: bool = option(
        "INSECURE", kinds.boolean(), default=False, help="Do not verify the provider's certificate. Only for testing."
    )
    redirect: bool = option(
        "REDIRECT", kinds.boolean(), default=False, help="Skip Drydock's login page and redirect there at once."
    )
    logout_url: str | None = option(
        "LOGOUTURL", kinds.url("http", "https"), default=None, help="Where to go after signing out."
    )
    timeout_s: float = option(
        "TIMEOUT", _WHOLE_SECONDS, default=5.0, help="Longest time of one call (ms), rounded up to seconds."
    )
    role_map: str | None = option(
        "ROLEMAP",
        kinds.text(),
        default=None,
        help="Roles of groups, `admins:admin,ops:operator,*:viewer`; a user without a listed group is rejected. "
        "Unset: everyone is an admin.",
    )
    groups_claim: str = option("GROUPSCLAIM", kinds.text(), default="groups", help="Claim that holds the groups.")
    username_claim: str | None = option(
        "USERNAMECLAIM", kinds.text(), default=None, help="Claim that holds the user name. Unset: `email`, else `sub`."
    )
    allowed_users: tuple[str, ...] = option(
        "ALLOWEDUSERS", kinds.csv(), default=(), help="User names that may sign in. Empty: everyone."
    )
    allowed_groups: tuple[str, ...] = option(
        "ALLOWEDGROUPS", kinds.csv(), default=(), help="Groups whose members may sign in. Empty: everyone."
    )


@section(
    "DD_AUTH_APIKEY_",
    "API keys by configuration",
    "Keys for programs, defined before anyone signs in. Others are created in the web interface.",
    family=True,
)
class ApiKeySettings:
    """`DD_AUTH_APIKEY_<NAME>_*`."""

    name: str = ""
    hash: Secret | None = option(
        "HASH", kinds.secret(), default=None, help="SHA-256 of the token, 64 hexadecimal digits. Required."
    )
    scopes: tuple[str, ...] = option(
        "SCOPES", kinds.csv(), default=("read",), help="What it may do: read, watch, update, admin."
    )
    watchers: tuple[str, ...] = option(
        "WATCHERS", kinds.csv(), default=(), help="Limits it to the containers of these watchers."
    )
    agents: tuple[str, ...] = option(
        "AGENTS",
        kinds.csv(),
        default=(),
        help="Limits it to the containers of these agents; `__local__` is the server itself.",
    )


AUTHENTICATIONS = Family(
    kind="authentication",
    prefixes=("DD_AUTH_",),
    members=(
        Member(type="basic", options=BasicSettings),
        Member(type="oidc", options=OidcSettings),
        Member(type="apikey", options=ApiKeySettings),
    ),
)
