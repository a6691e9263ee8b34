"""Counting failed sign-ins and locking accounts and addresses for a while (platform.md §6.1).

A failure counts against the account and against the address. So that guessing at an account does not lock its owner
out, an address from which the account signed in before has a count of its own: failures from elsewhere do not lock it.
Times are epoch milliseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import unicodedata
from pathlib import Path

import msgspec
import structlog

from drydock.auth.settings import AuthSettings
from drydock.clock import Clock
from drydock.core.errors import DrydockError
from drydock.core.times import DAY_MS

log = structlog.get_logger("auth")

KNOWN_FOR_MS = 30 * DAY_MS
"""How long an address stays known to an account."""
WRITE_AFTER_S = 0.25
"""A burst of failures is one write."""
LONGEST_NAME = 128
LARGEST_KNOWN = 20
"""Known addresses per account at most; the oldest goes first."""


class Locked(DrydockError):
    """An account or an address is locked."""

    status = 423
    code = "locked"
    default = "Account temporarily locked due to repeated failed login attempts"


class Entry(msgspec.Struct, kw_only=True, rename="camel"):
    """Failures of one account or address."""

    failed_attempts: int = 0
    window_start_at: int = 0
    locked_until: int = 0
    last_attempt_at: int = 0


class State(msgspec.Struct, kw_only=True):
    """Everything that survives a restart."""

    accounts: dict[str, Entry] = {}
    addresses: dict[str, Entry] = {}
    known: dict[str, dict[str, int]] = {}


class LockoutFile:
    """`<store file>.auth-lockouts.json`: read at start, written whole, readable by the owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> State:
        """What was stored; an unreadable file is an empty one, with a warning."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("auth.lockouts_unreadable", path=str(self._path), reason=str(error)[:200])
            return State()

    def write(self, state: State) -> None:
        """Replace the file at once."""
        draft = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(state))
        draft.replace(self._path)


class Lockout:
    """The counts and the rules. Changes are written to `file`, where there is one, by `keep` and `flush`."""

    def __init__(self, clock: Clock, settings: AuthSettings, file: LockoutFile | None = None) -> None:
        self._clock = clock
        self._settings = settings
        self._window_ms, self._lock_ms = settings.window_s * 1000, round(settings.lock_s * 1000)
        self._file = file
        self.state = file.read() if file is not None else State()
        self.changed = asyncio.Event()
        """Set while something is not written yet."""

    def check(self, user: str | None, address: str) -> None:
        """`Locked` with `Retry-After` when this account (seen from this address) or the address is locked."""
        now = self._clock.now_ms()
        found = [self.state.addresses.get(address)]
        if user is not None:
            found.append(self.state.accounts.get(self._account(user, address)))
        until = max(entry.locked_until if entry else 0 for entry in found)
        if until > now:
            raise Locked(headers={"Retry-After": str(max(1, math.ceil((until - now) / 1000)))})

    def failed(self, user: str | None, address: str) -> None:
        """Count a failure; `Locked` when it is the one that reaches a threshold."""
        if user is not None:
            for key in {normal(user), self._account(user, address)}:
                self._count(self.state.accounts, key, self._settings.account_attempts)
        self._count(self.state.addresses, address, self._settings.address_attempts)
        self.changed.set()
        self.check(user, address)

    def succeeded(self, user: str, address: str) -> None:
        """Forget the failures of the account and the address, and remember that they belong together."""
        for key in (normal(user), self._account(user, address)):
            self.state.accounts.pop(key, None)
        self.state.addresses.pop(address, None)
        known = self.state.known.setdefault(normal(user), {})
        known[address] = self._clock.now_ms()
        if len(known) > LARGEST_KNOWN:
            del known[min(known, key=known.__getitem__)]
        self.changed.set()

    def prune(self) -> None:
        """Drop what no longer matters."""
        now = self._clock.now_ms()
        for entries in (self.state.accounts, self.state.addresses):
            self._drop_expired(entries, now)
        for user, known in list(self.state.known.items()):
            kept = {address: at for address, at in known.items() if now - at < KNOWN_FOR_MS}
            if len(kept) < len(known):
                self.state.known[user] = kept
                self.changed.set()
            if not kept:
                del self.state.known[user]

    def locked(self) -> tuple[int, int]:
        """How many accounts and addresses are locked now, for the gauges."""
        now = self._clock.now_ms()
        accounts = {key.split("\n")[0] for key, entry in self.state.accounts.items() if entry.locked_until > now}
        return len(accounts), sum(entry.locked_until > now for entry in self.state.addresses.values())

    async def keep(self) -> None:
        """Write the file soon after changes, until cancelled."""
        while True:
            await self.changed.wait()
            await self._clock.sleep(WRITE_AFTER_S)
            await self.flush()

    async def flush(self) -> None:
        """Write now, if something changed."""
        if self._file is not None and self.changed.is_set():
            self.changed.clear()
            await asyncio.to_thread(self._file.write, self.state)

    def _account(self, user: str, address: str) -> str:
        name = normal(user)
        seen = self.state.known.get(name, {}).get(address)
        if seen is None or self._clock.now_ms() - seen >= KNOWN_FOR_MS:
            return name
        return f"{name}\n{address}"

    def _count(self, entries: dict[str, Entry], key: str, threshold: int) -> None:
        now = self._clock.now_ms()
        entry = entries.pop(key, None)
        if entry is None or self._expired(entry, now):
            if len(entries) >= self._settings.tracked:
                self._drop_expired(entries, now)
            while len(entries) >= self._settings.tracked:
                # the least recently used one; a locked one only when all are: a flood must not unlock an account
                unlocked = (name for name, one in entries.items() if one.locked_until <= now)
                del entries[next(unlocked, next(iter(entries)))]
            entry = Entry(window_start_at=now)
        entry.failed_attempts += 1
        entry.last_attempt_at = now
        if entry.failed_attempts >= threshold and entry.locked_until <= now:
            entry.locked_until = now + self._lock_ms
        entries[key] = entry

    def _expired(self, entry: Entry, now: int) -> bool:
        """Not locked, and idle for longer than the window, which counts from the last attempt."""
        return entry.locked_until <= now and now - entry.last_attempt_at > self._window_ms

    def _drop_expired(self, entries: dict[str, Entry], now: int) -> None:
        for key in [key for key, entry in entries.items() if self._expired(entry, now)]:
            del entries[key]
            self.changed.set()


def normal(user: str) -> str:
    """The form in which accounts are counted: any case and Unicode spelling, blanks and line breaks folded.

    A name too long to be real is counted by its hash: thousands of them must not eat the memory.
    """
    name = " ".join(unicodedata.normalize("NFKC", user).casefold().split())
    return name if len(name) <= LONGEST_NAME else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
