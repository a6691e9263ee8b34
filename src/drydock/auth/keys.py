"""API keys: `dd_<id>_<secret>`, shown once, stored as a SHA-256 (platform.md §13).

The secret has 256 random bits, so a fast hash is enough and a check costs microseconds. All keys are in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Sequence
from typing import Protocol

import msgspec

from drydock.auth.caller import ALL_SCOPES, Reach, Scope
from drydock.clock import Clock
from drydock.core.errors import BadRequest, NotFound
from drydock.core.times import DAY_MS

PREFIX = "dd_"
ID_LENGTH = 10
LONGEST_GRACE_MINUTES = 24 * 60
LONGEST_LIFE_DAYS = 3650
MINUTE_MS = 60_000

_ID_ALPHABET = string.ascii_letters + string.digits
_TOKEN = re.compile(r"dd_([A-Za-z0-9]{10})_([A-Za-z0-9_-]{43})")


class ApiKey(msgspec.Struct, kw_only=True):
    """One key. Times in epoch milliseconds. `previous_hash` still works until `previous_until` after a rotation."""

    id: str
    name: str
    owner: str
    secret_hash: str
    scopes: list[Scope]
    watchers: list[str] = []
    agents: list[str] = []
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None
    last_used_ip: str | None = None
    revoked_at: int | None = None
    previous_hash: str | None = None
    previous_until: int | None = None

    def __repr__(self) -> str:
        return f"ApiKey(id={self.id!r}, name={self.name!r})"


class ConfiguredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key from `DD_AUTH_APIKEY_<NAME>_*`: the SHA-256 (hex) of the whole token, or of its secret part."""

    name: str
    hash: str
    scopes: frozenset[str]
    reach: Reach | None = None


class KeyRecords(Protocol):
    """Where keys survive (`store.keys`)."""

    async def all(self) -> list[ApiKey]: ...
    async def put(self, key: ApiKey) -> None: ...
    async def touch(self, id: str, used_at: int, address: str) -> None: ...


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What a token proved: the key's id and name, its owner, its scopes, and whether this is its first use."""

    id: str
    name: str
    owner: str
    scopes: frozenset[str]
    reach: Reach | None = None
    first_use: bool = False


class ApiKeys:
    """All keys of this server."""

    def __init__(self, clock: Clock, records: KeyRecords, configured: Sequence[ConfiguredKey] = ()) -> None:
        self._clock = clock
        self._records = records
        self.configured = tuple(configured)
        self._keys: dict[str, ApiKey] = {}

    async def load(self) -> None:
        """Read the stored keys; once, at start."""
        self._keys = {key.id: key for key in await self._records.all()}

    @property
    def usable(self) -> bool:
        """Whether any key is valid now."""
        return bool(self.configured) or any(self._alive(key) for key in self._keys.values())

    def listed(self) -> list[ApiKey]:
        """Keys that are not revoked, newest first."""
        kept = [key for key in self._keys.values() if key.revoked_at is None]
        return sorted(kept, key=lambda key: -key.created_at)

    async def create(
        self,
        name: str,
        scopes: Sequence[Scope],
        owner: str,
        expires_in_days: int | None = None,
        *,
        watchers: Sequence[str] = (),
        agents: Sequence[str] = (),
    ) -> tuple[ApiKey, str]:
        """Make a key; gives it and its token, which is never shown again. `BadRequest` for a name in use.

        `watchers` and `agents` (lower-case) limit it to their containers.
        """
        if any(key.name == name for key in self.listed()):
            raise BadRequest(f"An API key named {name!r} exists already")
        now = self._clock.now_ms()
        id, secret = "".join(secrets.choice(_ID_ALPHABET) for _ in range(ID_LENGTH)), secrets.token_urlsafe(32)
        expires = now + expires_in_days * DAY_MS if expires_in_days else None
        key = ApiKey(
            id=id,
            name=name,
            owner=owner,
            secret_hash=_hash(secret),
            scopes=list(scopes),
            watchers=list(watchers),
            agents=list(agents),
            created_at=now,
            expires_at=expires,
        )
        self._keys[id] = key
        await self._records.put(key)
        return key, f"{PREFIX}{id}_{secret}"

    async def rotate(self, id: str, grace_minutes: int = 0) -> tuple[ApiKey, str]:
        """Give a key a new secret; the old one works for `grace_minutes` more. `NotFound` for an unknown key."""
        key = self._existing(id)
        secret = secrets.token_urlsafe(32)
        until = self._clock.now_ms() + grace_minutes * MINUTE_MS
        key.previous_hash, key.previous_until = (key.secret_hash, until) if grace_minutes else (None, None)
        key.secret_hash = _hash(secret)
        await self._records.put(key)
        return key, f"{PREFIX}{id}_{secret}"

    async def revoke(self, id: str) -> ApiKey:
        """End a key for good. `NotFound` for an unknown one."""
        key = self._existing(id)
        key.revoked_at = self._clock.now_ms()
        await self._records.put(key)
        return key

    async def admit(self, token: str, address: str) -> Admitted | None:
        """Who presents this token; None when it is unknown, expired or revoked. Remembers the use, to the minute."""
        configured = self._configured_key(token)
        if configured is not None:
            return configured
        match = _TOKEN.fullmatch(token)
        key = self._keys.get(match[1]) if match else None
        if match is None or key is None or not self._proves(key, match[2]):
            return None
        first = key.last_used_at is None
        await self._touch(key, address)
        return Admitted(
            id=key.id,
            name=key.name,
            owner=key.owner,
            scopes=_effective(key),
            reach=reach_of(key.watchers, key.agents),
            first_use=first,
        )

    def _configured_key(self, token: str) -> Admitted | None:
        match = _TOKEN.fullmatch(token)
        hashes = {_hash(token), _hash(match[2])} if match else {_hash(token)}
        for key in self.configured:
            if any(hmac.compare_digest(key.hash, given) for given in hashes):
                return Admitted(id=f"env:{key.name}", name=key.name, owner=key.name, scopes=key.scopes, reach=key.reach)
        return None

    def _proves(self, key: ApiKey, secret: str) -> bool:
        given = _hash(secret)
        now = self._clock.now_ms()
        current = hmac.compare_digest(key.secret_hash, given)
        older = bool(key.previous_hash) and hmac.compare_digest(key.previous_hash or "", given)
        return self._alive(key) and (current or (older and now < (key.previous_until or 0)))

    def _alive(self, key: ApiKey) -> bool:
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > self._clock.now_ms())

    async def _touch(self, key: ApiKey, address: str) -> None:
        """Written once a minute, and only these two fields: a revocation at the same time must not be undone."""
        minute = self._clock.now_ms() // MINUTE_MS * MINUTE_MS
        if key.last_used_at != minute:
            key.last_used_at, key.last_used_ip = minute, address
            await self._records.touch(key.id, minute, address)

    def _existing(self, id: str) -> ApiKey:
        key = self._keys.get(id)
        if key is None or key.revoked_at is not None:
            raise NotFound("API key not found")
        return key


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _effective(key: ApiKey) -> frozenset[str]:
    return ALL_SCOPES if "admin" in key.scopes else frozenset(key.scopes)


def reach_of(watchers: Sequence[str], agents: Sequence[str]) -> Reach | None:
    """What a key is limited to; None when to nothing."""
    if not watchers and not agents:
        return None
    return Reach(watchers=frozenset(map(str.lower, watchers)), agents=frozenset(map(str.lower, agents)))
