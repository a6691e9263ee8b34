"""What sign-ins leave behind: entries of the audit log, and events that are counted (platform.md §9, §10)."""

from __future__ import annotations

from drydock.core.audit import AUTHENTICATION
from drydock.core.scrub import printable
from drydock.events import Bus, LoginAttempted
from drydock.kernel import AuditLog


class SignInReport:
    """Reports attempts to sign in, and what else happens to users and keys."""

    def __init__(self, audit: AuditLog, bus: Bus) -> None:
        self._audit = audit
        self._bus = bus

    async def attempted(self, attempt: LoginAttempted) -> None:
        """Publish an attempt, and write it unless it is quiet. Names are the client's text: unprintable ones are masked."""
        self._bus.publish(attempt)
        if attempt.quiet:
            return
        user = printable(attempt.user) if attempt.user is not None else None
        await self._audit.note(
            "auth-login",
            "success" if attempt.outcome == "success" else "error",
            container_name=AUTHENTICATION,
            details=attempt.details if user is None else f"{attempt.details}; user={user}",
            user=user,
            ip=attempt.address,
        )

    async def event(self, action: str, *, user: str, address: str, details: str | None = None) -> None:
        """Write an entry about a user or a key."""
        await self._audit.note(action, "success", container_name=AUTHENTICATION, user=user, ip=address, details=details)
