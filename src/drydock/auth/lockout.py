"""Counting failed sign-ins and locking accounts and addresses for a while (platform.md §6.1).

A failure counts against the account and against the address. So that no one can lock an owner out by guessing at the
owner's account, an address from which the account signed in before has its own count: failures elsewhere do
not lock it. Times come from the caller's clock in epoch milliseconds; persistence is `LockoutFile`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError
from drydock.core.times import DAY_MS

log = structlog.get_logger("auth")

KNOWN_FOR_MS = 30 * DAY_MS
"""How long an address stays known to an account."""
WRITE_AFTER_S = 0.25
LONGEST_NAME = 128
LARGEST_KNOWN = 20
"""Known addresses per account at most; the oldest goes first."""


class Locked(DrydockError):
    """An account or an address is locked."""

    status = 423
    code = "locked"
    default = "Account temporarily locked due to repeated failed login attempts"


class LockoutSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits; times in milliseconds."""

    account_attempts: int = 5
    address_attempts: int = 25
    window_ms: int = 900_000
    duration_ms: int = 900_000
    tracked: int = 5000


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


class Lockout:
    """The two maps and the rules. `changed` is called after every change of what must survive."""

    def __init__(
        self,
        clock: Clock,
        settings: LockoutSettings,
        state: State | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self.state = state or State()
        self._changed = changed

    def check(self, user: str | None, address: str) -> None:
        """`Locked` with `Retry-After` when this account (seen from this address) or the address is locked."""
        now = self._clock.now_ms()
        until = self._locked_until(self.state.addresses.get(address))
        if user is not None:
            until = max(until, self._locked_until(self.state.accounts.get(self._account(user, address))))
        if until > now:
            raise Locked(headers={"Retry-After": str(max(1, math.ceil((until - now) / 1000)))})

    def failed(self, user: str | None, address: str) -> None:
        """Count a failure; `Locked` when it is the one that reaches a threshold."""
        if user is not None:
            for key in {normal(user), self._account(user, address)}:
                self._count(self.state.accounts, key, self._settings.account_attempts)
        self._count(self.state.addresses, address, self._settings.address_attempts)
        self._changed()
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
        self._changed()

    def prune(self) -> None:
        """Drop what no longer matters."""
        now = self._clock.now_ms()
        before = self._size()
        for entries in (self.state.accounts, self.state.addresses):
            for key in [key for key, entry in entries.items() if self._expired(entry, now)]:
                del entries[key]
        self.state.known = {
            user: kept
            for user, known in self.state.known.items()
            if (kept := {address: at for address, at in known.items() if now - at < KNOWN_FOR_MS})
        }
        if self._size() != before:
            self._changed()

    def locked(self) -> tuple[int, int]:
        """How many accounts and addresses are locked now, for the gauges."""
        now = self._clock.now_ms()
        accounts = {key.split("\n")[0] for key, entry in self.state.accounts.items() if entry.locked_until > now}
        return len(accounts), sum(entry.locked_until > now for entry in self.state.addresses.values())

    def _size(self) -> tuple[int, int, int]:
        return len(self.state.accounts), len(self.state.addresses), sum(map(len, self.state.known.values()))

    def _account(self, user: str, address: str) -> str:
        name = normal(user)
        seen = self.state.known.get(name, {}).get(address)
        if seen is None or self._clock.now_ms() - seen >= KNOWN_FOR_MS:
            return name
        return f"{name}\n{address}"

    def _locked_until(self, entry: Entry | None) -> int:
        return entry.locked_until if entry else 0

    def _count(self, entries: dict[str, Entry], key: str, threshold: int) -> None:
        now = self._clock.now_ms()
        entry = entries.pop(key, None)
        if entry is None or self._expired(entry, now):
            self._make_room(entries, now)
            entry = Entry(window_start_at=now)
        entry.failed_attempts += 1
        entry.last_attempt_at = now
        if entry.failed_attempts >= threshold and entry.locked_until <= now:
            entry.locked_until = now + self._settings.duration_ms
        entries[key] = entry

    def _expired(self, entry: Entry, now: int) -> bool:
        """Not locked, and idle for longer than the window, which counts from the last attempt."""
        return entry.locked_until <= now and now - entry.last_attempt_at > self._settings.window_ms

    def _make_room(self, entries: dict[str, Entry], now: int) -> None:
        if len(entries) < self._settings.tracked:
            return
        for key in [key for key, entry in entries.items() if self._expired(entry, now)]:
            del entries[key]
        while len(entries) >= self._settings.tracked:
            del entries[self._least(entries, now)]

    def _least(self, entries: dict[str, Entry], now: int) -> str:
        """The least recently used entry; a locked one only when all are (a flood must not unlock an account)."""
        return next((key for key, entry in entries.items() if entry.locked_until <= now), next(iter(entries)))


def normal(user: str) -> str:
    """The form in which accounts are counted: any case and Unicode spelling, blanks and line breaks folded.

    A name too long to be real is counted by its hash: thousands of them must not eat the memory.
    """
    name = " ".join(unicodedata.normalize("NFKC", user).casefold().split())
    return name if len(name) <= LONGEST_NAME else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


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


class LockoutKeeper:
    """Keeps the file up to date: written at most 250 ms after a change, and once more at the end."""

    def __init__(self, file: LockoutFile, clock: Clock, settings: LockoutSettings) -> None:
        self._file = file
        self._clock = clock
        self._dirty = asyncio.Event()
        self.lockout = Lockout(clock, settings, file.read(), self._dirty.set)

    async def run(self) -> None:
        """Write after changes, until cancelled."""
        while True:
            await self._dirty.wait()
            await self._clock.sleep(WRITE_AFTER_S)
            await self.flush()

    async def prune(self, every_s: float) -> None:
        """Drop what no longer matters, until cancelled."""
        while True:
            await self._clock.sleep(every_s)
            self.lockout.prune()

    async def flush(self) -> None:
        """Write now, if something changed."""
        if self._dirty.is_set():
            self._dirty.clear()
            await asyncio.to_thread(self._file.write, self.lockout.state)
