"""API keys (platform.md §13), on a real store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from drydock.auth.caller import ALL_SCOPES
from drydock.auth.keys import ApiKey, ApiKeys, ConfiguredKey
from drydock.core.errors import BadRequest, NotFound
from drydock.store.keys import KeyRecords
from drydock.store.store import Store

from .conftest import SkippingClock


@pytest.fixture
def keys(clock: SkippingClock, store: Store) -> ApiKeys:
    return ApiKeys(clock, KeyRecords(store.database, ApiKey))


async def test_a_key_is_shown_once_and_stored_hashed(keys: ApiKeys, store: Store, tmp_path: Path) -> None:
    key, token = await keys.create("dash", ["read"], "ann")
    secret = token.split("_", 2)[2]
    assert token.startswith(f"dd_{key.id}_")
    await store.database.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert key.id.encode() in content
    assert secret.encode() not in content
    assert secret not in repr(keys.listed())


async def test_a_token_proves_itself(keys: ApiKeys) -> None:
    key, token = await keys.create("dash", ["read", "watch"], "ann")
    found = await keys.admit(token, "10.0.0.1")
    assert found is not None
    assert (found.id, found.owner, found.scopes, found.first_use) == (key.id, "ann", {"read", "watch"}, True)
    again = await keys.admit(token, "10.0.0.1")
    assert again is not None
    assert not again.first_use
    for wrong in (token[:-1], token + "a", token[:14] + "A" * 43, "dd_", "dd_x_y", f"dd_{'z' * 10}_{token[14:]}"):
        assert await keys.admit(wrong, "10.0.0.1") is None


async def test_admin_includes_the_others(keys: ApiKeys) -> None:
    _, token = await keys.create("all", ["admin"], "ann")
    found = await keys.admit(token, "x")
    assert found is not None
    assert found.scopes == ALL_SCOPES


async def test_expiry(keys: ApiKeys, clock: SkippingClock) -> None:
    _, token = await keys.create("short", ["read"], "ann", expires_in_days=1)
    clock.advance(86_399)
    assert await keys.admit(token, "x") is not None
    clock.advance(1)
    assert await keys.admit(token, "x") is None


async def test_rotation_with_and_without_grace(keys: ApiKeys, clock: SkippingClock) -> None:
    key, first = await keys.create("k", ["read"], "ann")
    _, second = await keys.rotate(key.id, grace_minutes=10)
    assert await keys.admit(first, "x") is not None
    assert await keys.admit(second, "x") is not None
    clock.advance(600)
    assert await keys.admit(first, "x") is None
    _, third = await keys.rotate(key.id)
    assert await keys.admit(second, "x") is None
    assert await keys.admit(third, "x") is not None


async def test_revocation_survives_a_restart_and_a_use_at_the_same_time(
    keys: ApiKeys, clock: SkippingClock, store: Store
) -> None:
    key, token = await keys.create("k", ["read"], "ann")
    await keys.revoke(key.id)
    await KeyRecords(store.database, ApiKey).touch(key.id, clock.now_ms(), "x")
    assert await keys.admit(token, "x") is None
    again = ApiKeys(clock, KeyRecords(store.database, ApiKey))
    await again.load()
    assert await again.admit(token, "x") is None
    assert again.listed() == []
    with pytest.raises(NotFound):
        await keys.revoke(key.id)


async def test_last_use_is_kept_to_the_minute(keys: ApiKeys, clock: SkippingClock, store: Store) -> None:
    key, token = await keys.create("k", ["read"], "ann")
    await keys.admit(token, "10.0.0.9")
    again = ApiKeys(clock, KeyRecords(store.database, ApiKey))
    await again.load()
    (stored,) = again.listed()
    assert stored.last_used_at == clock.now_ms() // 60_000 * 60_000
    assert stored.last_used_ip == "10.0.0.9"
    assert stored.id == key.id


async def test_names_are_unique_among_live_keys(keys: ApiKeys) -> None:
    key, _ = await keys.create("k", ["read"], "ann")
    with pytest.raises(BadRequest):
        await keys.create("k", ["read"], "ann")
    await keys.revoke(key.id)
    await keys.create("k", ["read"], "ann")


async def test_configured_keys_by_the_hash_of_token_or_secret(clock: SkippingClock, store: Store) -> None:
    token = "dd_abcdefghij_" + "s" * 43
    for text in (token, "s" * 43):
        hashed = hashlib.sha256(text.encode()).hexdigest()
        keys = ApiKeys(
            clock,
            KeyRecords(store.database, ApiKey),
            [ConfiguredKey(name="ci", hash=hashed, scopes=frozenset({"watch"}))],
        )
        found = await keys.admit(token, "x")
        assert found is not None
        assert (found.id, found.scopes) == ("env:ci", {"watch"})
        assert await keys.admit("dd_abcdefghij_" + "t" * 43, "x") is None
