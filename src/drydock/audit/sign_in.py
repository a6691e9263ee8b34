"""What happens at the door, written to the audit log and counted (platform.md §9, §10)."""

from __future__ import annotations

from typing import Protocol

from drydock.audit.catalogue import AUTHENTICATION
from drydock.audit.trail import AuditTrail
from drydock.core.scrub import printable
from drydock.metrics.catalogue import Metrics


class Attempt(Protocol):
    """One attempt to sign in, as the auth room tells it."""

    @property
    def outcome(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def details(self) -> str: ...
    @property
    def user(self) -> str | None: ...
    @property
    def address(self) -> str | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def quiet(self) -> bool: ...


class AuthReport:
    """Implements `auth.report.Report`."""

    def __init__(self, trail: AuditTrail, metrics: Metrics) -> None:
        self._trail = trail
        self._metrics = metrics

    async def login(self, attempt: Attempt) -> None:
        """Count an attempt, and write it unless it is quiet."""
        outcome, provider = attempt.outcome, attempt.provider
        self._metrics.logins.inc(outcome=outcome, provider=provider)
        self._metrics.login_seconds.observe(attempt.seconds, outcome=outcome, provider=provider)
        if attempt.quiet:
            return
        user = printable(attempt.user) if attempt.user is not None else None
        details = f"{attempt.details}; user={user}" if user is not None else attempt.details
        await self._trail.note(
            "auth-login",
            "success" if attempt.outcome == "success" else "error",
            container_name=AUTHENTICATION,
            details=details,
            user=user,
            ip=attempt.address,
        )

    async def event(self, action: str, *, user: str | None, address: str | None, details: str | None = None) -> None:
        """Write an entry about a person or key."""
        await self._trail.note(action, "success", container_name=AUTHENTICATION, user=user, ip=address, details=details)

    def unknown_user(self) -> None:
        """Count an attempt with a name that nobody has."""
        self._metrics.unknown_users.inc()

    def locked(self, accounts: int, addresses: int) -> None:
        """Show how many are locked now."""
        self._metrics.accounts_locked.set(accounts)
        self._metrics.addresses_locked.set(addresses)
