"""Where the auth room tells what happened: implemented by whoever writes audit entries and metrics."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

Outcome = Literal["success", "invalid", "locked", "error"]


class LoginAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to sign in. `seconds` is the time of the verification; `quiet`: count it, write no audit entry."""

    outcome: Outcome
    provider: str
    details: str
    user: str | None = None
    address: str | None = None
    seconds: float = 0.0
    quiet: bool = False


class Report(Protocol):
    """Receives what happens at the door."""

    async def login(self, attempt: LoginAttempt) -> None: ...
    async def event(
        self, action: str, *, user: str | None, address: str | None, details: str | None = None
    ) -> None: ...
    def unknown_user(self) -> None: ...
    def locked(self, accounts: int, addresses: int) -> None: ...


class NoReport:
    """Tells nobody."""

    async def login(self, attempt: LoginAttempt) -> None: ...
    async def event(
        self, action: str, *, user: str | None, address: str | None, details: str | None = None
    ) -> None: ...
    def unknown_user(self) -> None: ...
    def locked(self, accounts: int, addresses: int) -> None: ...
