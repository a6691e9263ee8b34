"""Users with a password: lock check, concurrency cap, argon2 off the event loop, a short memory of successes.

Every password goes through here, whatever route it came by (platform.md §4.3, §6.1; platform-api.md §3).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from drydock.auth.lockout import Locked, Lockout, normal
from drydock.auth.passwords import PasswordHash, verify
from drydock.auth.recent import Recent
from drydock.auth.sessions import Identity
from drydock.clock import Clock
from drydock.core.errors import TooManyRequests
from drydock.events import LoginAttempted, LoginOutcome
from drydock.single_flight import SingleFlight

REMEMBER_S = 60.0
REMEMBER_MOST = 256
QUIET_S = 60.0
QUIET_MOST = 1000


class BasicUser(Identity, frozen=True, kw_only=True):
    """One configured user."""

    hash: PasswordHash


class TooManyLogins(TooManyRequests):
    """More passwords at once than may be checked."""

    default = "Too many concurrent login attempts"


class Guess(NamedTuple):
    """A user name and password as presented, and from where."""

    user: str
    password: str
    address: str


class Passwords:
    """All users with a password. `report` hears of every attempt; `bucket` turns an address into the key under which it is counted.

    `verifier` compares a password with a hash; it is called in a thread.
    """

    def __init__(
        self,
        users: Sequence[BasicUser],
        lockout: Lockout,
        clock: Clock,
        report: Callable[[LoginAttempted], Awaitable[None]],
        *,
        at_once: int = 2,
        bucket: Callable[[str], str] = str,
        verifier: Callable[[PasswordHash, str], bool] = verify,
    ) -> None:
        self._verify = verifier
        self.users = tuple(users)
        self.lockout = lockout
        self._clock = clock
        self._report = report
        self._at_once = at_once
        self._bucket = bucket
        self._running = 0
        self._key = secrets.token_bytes(32)
        self._good: Recent[BasicUser] = Recent(clock, REMEMBER_MOST, REMEMBER_S)
        self._reported: Recent[bool] = Recent(clock, QUIET_MOST, QUIET_S)
        self._checks: SingleFlight[BasicUser | None] = SingleFlight()

    async def login(self, guess: Guess) -> BasicUser | None:
        """Check a guess at the login route: every attempt is verified, counted and told.

        `Locked` while the account or address waits, `TooManyLogins` over the cap.
        """
        return await self._attempt(guess, header=False)

    async def check(self, guess: Guess) -> BasicUser | None:
        """Check the `Authorization` header of any other request: as `login`, but a good one is remembered for 60 s.

        The same guess in several requests at once is verified once.
        """
        text = f"{len(guess.user)}:{guess.user}{guess.password}".encode("utf-8", "surrogatepass")
        mark = hmac.new(self._key, text, hashlib.sha256).digest()  # useless outside this process

        async def attempt() -> BasicUser | None:
            found = await self._attempt(guess, header=True)
            if found is not None:
                self._good.put(mark, found)
            return found

        return self._good.get(mark) or await self._checks.run(mark, attempt)

    async def _attempt(self, guess: Guess, header: bool) -> BasicUser | None:
        key, began = self._bucket(guess.address), self._clock.monotonic()
        given = _digest(guess.user)  # so compared, a name costs the same time wherever it differs
        known = [user for user in self.users if hmac.compare_digest(_digest(user.user), given)]
        unknown_user = False

        async def report(outcome: LoginOutcome, details: str, *, quiet: bool) -> None:
            await self._report(
                LoginAttempted(
                    outcome=outcome,
                    provider="basic",
                    details=details,
                    user=guess.user,
                    address=guess.address,
                    seconds=self._clock.monotonic() - began,
                    unknown_user=unknown_user,
                    quiet=quiet,
                )
            )

        try:
            self.lockout.check(guess.user, key)
            found = await self._verified(guess.password, known or self._stand_in(guess.user))
            unknown_user = not known
            found = None if unknown_user else found
            if found is None:
                self.lockout.failed(guess.user, key)
            else:
                self.lockout.succeeded(guess.user, key)
        except Locked:
            await report("locked", "Account or address locked", quiet=header and self._repeated(guess))
            raise
        except TooManyLogins:
            await report("error", TooManyLogins.default, quiet=header and self._repeated(guess))
            raise
        if found is None:
            await report("invalid", "Invalid credentials", quiet=False)
        else:
            await report("success", "Login succeeded", quiet=header)
        return found

    async def _verified(self, password: str, users: Sequence[BasicUser]) -> BasicUser | None:
        """The first of `users` with this password. argon2 takes its time, in a thread; `TooManyLogins` over the cap."""
        if self._running >= self._at_once:
            raise TooManyLogins(headers={"Retry-After": "1"})
        self._running += 1
        try:
            for user in users:
                if await asyncio.to_thread(self._verify, user.hash, password):
                    return user
            return None
        finally:
            self._running -= 1

    def _stand_in(self, name: str) -> Sequence[BasicUser]:
        """Whose hash an unknown name is checked against, so that it costs as much time as a known one.

        Always the same one for the same name, so that repetition reveals nothing.
        """
        if not self.users:
            return ()
        number = hmac.new(self._key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return (self.users[int.from_bytes(number[:8], "big") % len(self.users)],)

    def _repeated(self, guess: Guess) -> bool:
        """Whether a refusal of this client was reported within the last minute: a flood must not fill the audit log."""
        key = f"{guess.address}\n{normal(guess.user)}"
        repeated = self._reported.get(key) is not None
        if not repeated:
            self._reported.put(key, True)
        return repeated


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
