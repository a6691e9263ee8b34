"""Builds sign-in: providers, sessions, keys, lockout, and their background tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import structlog

from drydock.api.network import Proxies, bucket, client_address
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.auth.authentication import Authentication
from drydock.auth.caller import Connection
from drydock.auth.cookies import Signer
from drydock.auth.keys import ApiKey, ApiKeys
from drydock.auth.lockout import LockoutFile, LockoutKeeper, LockoutSettings
from drydock.auth.openid import OpenId
from drydock.auth.providers import Providers, read_providers
from drydock.auth.report import SignInReport
from drydock.auth.sessions import Session, Sessions, new_secret
from drydock.auth.settings import AnonymousSettings, AuthSettings, SessionSettings
from drydock.auth.strategies.basic import Passwords
from drydock.auth.strategies.oidc import OidcConfig, OidcStrategy
from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.secret import Secret
from drydock.store.keys import KeyRecords
from drydock.store.sessions import SessionRecords
from drydock.store.settings import StoreSettings
from drydock.store.store import Store
from drydock.supervisor import Supervisor

log = structlog.get_logger("auth")

SESSION_SECRET = ("secrets", "session")
SESSION_PRUNE_S = 3600.0


@asynccontextmanager
async def authentication(
    settings: Settings, store: Store, clock: Clock, report: SignInReport, supervisor: Supervisor
) -> AsyncIterator[Authentication]:
    """Sign-in as configured. Faulty providers are named in the log and leave the instance closed."""
    providers = read_providers(settings, settings[PublicSettings].public_url)
    sessions = Sessions(
        clock,
        SessionRecords(store.database, Session),
        Signer(await session_secrets(settings, store)),
        settings[ServerSettings].max_sessions,
    )
    keeper = LockoutKeeper(lockout_file(settings, store), clock, lockout_settings(settings))
    keys = ApiKeys(clock, KeyRecords(store.database, ApiKey), providers.keys)
    await keys.load()
    proxies = Proxies(settings[ServerSettings].trust_proxy)

    def address_of(connection: Connection) -> str:
        return client_address(connection.scope, proxies)

    async with aiohttp.ClientSession(trust_env=True) as http:
        made = Authentication(
            sessions=sessions,
            passwords=Passwords(
                providers.basic,
                keeper.lockout,
                clock,
                report,
                at_once=settings[AuthSettings].max_concurrent_login_attempts,
                bucket=bucket,
            ),
            keys=keys,
            report=report,
            address_of=address_of,
            oidc=[_oidc(config, http, clock) for config in providers.oidc],
            anonymous=settings[AnonymousSettings].anonymous_auth_confirm,
            faults=providers.errors,
            bucket=bucket,
        )
        _tell(made, providers, settings)
        _start(made, keeper, settings, clock, supervisor)
        try:
            yield made
        finally:
            await keeper.flush()


def _oidc(config: OidcConfig, http: aiohttp.ClientSession, clock: Clock) -> OidcStrategy:
    return OidcStrategy(config, OpenId(config.client(), http, clock), clock)


def _start(
    made: Authentication, keeper: LockoutKeeper, settings: Settings, clock: Clock, supervisor: Supervisor
) -> None:
    async def prune_sessions() -> None:
        while True:
            await made.sessions.prune()
            await clock.sleep(SESSION_PRUNE_S)

    supervisor.start("auth:lockouts", keeper.run)
    supervisor.start(
        "auth:lockout-prune", lambda: keeper.prune(settings[AuthSettings].lockout_prune_interval_ms / 1000)
    )
    supervisor.start("auth:sessions", prune_sessions)
    for strategy in made.oidc.values():
        supervisor.spawn(f"auth:oidc:{strategy.name}", strategy.warm_up())


def _tell(made: Authentication, providers: Providers, settings: Settings) -> None:
    """What an operator must know about authentication, at start."""
    for fault in providers.errors:
        log.error("auth.provider_not_registered", provider=fault.provider, reason=fault.error)
    if not made.ready:
        log.error("auth.closed", advice=made.closed_hint())
    if made.anonymous:
        log.warning("auth.anonymous", advice="everyone who can reach this server may do everything")
    elif settings[AnonymousSettings].anonymous_auth_confirm:
        log.warning("auth.anonymous_ignored", reason="a sign-in provider is configured")
    if settings[ServerSettings].trust_proxy is True:
        log.warning("auth.every_proxy_trusted", reason="clients can choose their address; name your proxies instead")


async def session_secrets(settings: Settings, store: Store) -> list[Secret]:
    """The configured secrets, else the one kept in the store, made at the first start."""
    configured = settings[SessionSettings].secret
    if configured is not None:
        parts = [part.strip() for part in configured.reveal().split(",")]
        found = [Secret(part) for part in parts if part]
        if found:
            return found
    kept = await store.documents.get(*SESSION_SECRET, str)
    if kept is None:
        kept = new_secret()
        await store.documents.put(*SESSION_SECRET, kept)
    else:
        log.warning("auth.stored_session_secret", advice="set DD_SESSION_SECRET to keep it out of the store")
    return [Secret(kept)]


def lockout_settings(settings: Settings) -> LockoutSettings:
    """The limits as the lockout takes them."""
    auth = settings[AuthSettings]
    return LockoutSettings(
        account_attempts=auth.account_lockout_max_attempts,
        address_attempts=auth.ip_lockout_max_attempts,
        window_ms=auth.lockout_window_ms,
        duration_ms=auth.lockout_duration_ms,
        tracked=auth.lockout_max_tracked_identities,
    )


def lockout_file(settings: Settings, store: Store) -> LockoutFile:
    """`<store file>.auth-lockouts.json`; beside where the file would be when the store is a server."""
    location = store.database.location
    file = location.file if location is not None else Path(settings[StoreSettings].path) / settings[StoreSettings].file
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LockoutFile(file.with_name(file.name + ".auth-lockouts.json"))
