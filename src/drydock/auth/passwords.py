"""Password hashes: the two argon2id notations that Drydock accepts, and how a new one is made (platform.md §4.3).

Pure computing. Who calls `verify` sees to it that it runs off the event loop.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

import msgspec
from argon2.low_level import Type, hash_secret_raw

from drydock.core.errors import ConfigError

MEMORY_KIB = (19_456, 1_048_576)
PASSES = (2, 100)
LANES = (1, 16)
SHORTEST_SALT = 16
SHORTEST_DIGEST = 32

NEW_MEMORY_KIB = 65_536
NEW_PASSES = 3
NEW_LANES = 4

_PARAMETER = re.compile(r"([mtp])=(\d{1,10})")
_NUMBER = re.compile(r"\d{1,10}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


class PasswordHash(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed argon2id hash. Memory in KiB."""

    memory_kib: int
    passes: int
    lanes: int
    salt: bytes
    digest: bytes

    def __repr__(self) -> str:
        return f"PasswordHash(memory_kib={self.memory_kib}, passes={self.passes}, lanes={self.lanes})"


def parse_hash(text: str) -> PasswordHash:
    """Read a stored hash; `ConfigError` says what is wrong with it and never repeats it."""
    parts = text.strip().split("$")
    if len(parts) == 1:
        raise ConfigError("hash contains no `$`: inside a Compose file each `$` of it must be written `$$`")
    if parts[:2] == ["", "argon2id"] and len(parts) == 6:
        return _phc(parts)
    if parts[0] == "argon2id" and len(parts) == 6:
        memory, passes, lanes = (_whole(part) for part in parts[1:4])
        return _bounded(memory, passes, lanes, parts[4], parts[5])
    raise ConfigError("hash must be an argon2id hash; `drydock hash-password` makes one")


def _phc(parts: list[str]) -> PasswordHash:
    if parts[2] != "v=19":
        raise ConfigError("hash must be of argon2 version 19 (`v=19`)")
    found = [_PARAMETER.fullmatch(item) for item in parts[3].split(",")]
    values = {match[1]: int(match[2]) for match in found if match}
    if len(found) != 3 or len(values) != 3:
        raise ConfigError("hash must have the parameters m, t and p, each exactly once")
    return _bounded(values["m"], values["t"], values["p"], parts[4], parts[5])


def _bounded(memory: int, passes: int, lanes: int, salt: str, digest: str) -> PasswordHash:
    _within("memory (m)", memory, MEMORY_KIB)
    _within("passes (t)", passes, PASSES)
    _within("lanes (p)", lanes, LANES)
    made = PasswordHash(
        memory_kib=memory, passes=passes, lanes=lanes, salt=_decode("salt", salt), digest=_decode("digest", digest)
    )
    if len(made.salt) < SHORTEST_SALT or len(made.digest) < SHORTEST_DIGEST:
        raise ConfigError(f"hash needs a salt of {SHORTEST_SALT} bytes and a digest of {SHORTEST_DIGEST} bytes or more")
    return made


def _whole(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ConfigError("hash must be `argon2id$<KiB>$<passes>$<lanes>$<salt>$<digest>`")
    return int(text)


def _within(name: str, value: int, bounds: tuple[int, int]) -> None:
    if not bounds[0] <= value <= bounds[1]:
        raise ConfigError(f"hash has {name} {value}, allowed is {bounds[0]} to {bounds[1]}")


def _decode(what: str, text: str) -> bytes:
    """Standard or URL alphabet, with the right padding or with none."""
    bare = text.rstrip("=")
    padding = "=" * (-len(bare) % 4)
    if not _BASE64.fullmatch(text) or (text != bare and text != bare + padding):
        raise ConfigError(f"hash has a {what} that is not base64")
    try:
        return base64.b64decode(bare.replace("-", "+").replace("_", "/") + padding, validate=True)
    except binascii.Error as error:
        raise ConfigError(f"hash has a {what} that is not base64") from error


def verify(stored: PasswordHash, password: str) -> bool:
    """True when `password` has this hash. Takes as long as the hash's parameters ask, whatever the password."""
    return hmac.compare_digest(_compute(stored, password, len(stored.digest)), stored.digest)


def make_hash(password: str) -> str:
    """A new argon2id hash of `password` in PHC notation."""
    made = PasswordHash(
        memory_kib=NEW_MEMORY_KIB, passes=NEW_PASSES, lanes=NEW_LANES, salt=secrets.token_bytes(16), digest=b""
    )
    digest = _compute(made, password, SHORTEST_DIGEST)
    parameters = f"m={made.memory_kib},t={made.passes},p={made.lanes}"
    return f"$argon2id$v=19${parameters}${_bare(made.salt)}${_bare(digest)}"


def _bare(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _compute(stored: PasswordHash, password: str, length: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hash_secret_raw(
        secret, stored.salt, stored.passes, stored.memory_kib, stored.lanes, length, Type.ID, version=19
    )


def fingerprint(parts: Mapping[str, str]) -> str:
    """A short text that changes when a user's credentials do; kept with sessions (platform.md §5)."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]
