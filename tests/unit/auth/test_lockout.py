"""Counting and locking (platform.md §6.1)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drydock.auth.lockout import Locked, Lockout, LockoutFile
from drydock.auth.settings import AuthSettings

from .conftest import SkippingClock


def lockout(clock: SkippingClock, **settings: int) -> Lockout:
    return Lockout(clock, AuthSettings(**settings))


def fail(found: Lockout, user: str | None, address: str, times: int = 1) -> None:
    for _ in range(times):
        found.failed(user, address)


def test_the_attempt_that_reaches_the_threshold_is_refused(clock: SkippingClock) -> None:
    found = lockout(clock)
    fail(found, "Admin", "10.0.0.1", 4)
    with pytest.raises(Locked) as caught:
        found.failed(" admin ", "10.0.0.1")
    assert caught.value.status == 423
    assert caught.value.headers["Retry-After"] == "900"
    with pytest.raises(Locked):
        found.check("ADMIN", "10.9.9.9")
    found.check("other", "10.0.0.1")
    assert found.locked() == (1, 0)


def test_the_lock_ends_and_the_count_starts_again(clock: SkippingClock) -> None:
    found = lockout(clock)
    with pytest.raises(Locked):
        fail(found, "a", "x", 5)
    clock.advance(899.999)
    with pytest.raises(Locked) as caught:
        found.check("a", "x")
    assert caught.value.headers["Retry-After"] == "1"
    clock.advance(1)
    fail(found, "a", "x", 4)
    found.check("a", "x")


def test_the_window_counts_from_the_last_attempt(clock: SkippingClock) -> None:
    found = lockout(clock)
    for _ in range(4):
        found.failed("a", "x")
        clock.advance(899)
    with pytest.raises(Locked):
        found.failed("a", "x")


def test_an_idle_window_forgets(clock: SkippingClock) -> None:
    found = lockout(clock)
    fail(found, "a", "x", 4)
    clock.advance(901)
    fail(found, "a", "x", 4)


def test_many_names_from_one_address_lock_the_address(clock: SkippingClock) -> None:
    found = lockout(clock, address_attempts=10)
    for number in range(9):
        found.failed(f"user{number}", "x")
    with pytest.raises(Locked):
        found.failed("user9", "x")
    with pytest.raises(Locked):
        found.check("innocent", "x")
    found.check("innocent", "y")


def test_success_clears_account_and_address(clock: SkippingClock) -> None:
    found = lockout(clock)
    fail(found, "a", "x", 4)
    found.succeeded("a", "x")
    fail(found, "a", "x", 4)


def test_a_stranger_cannot_lock_the_owner_out(clock: SkippingClock) -> None:
    found = lockout(clock)
    found.succeeded("owner", "home")
    with pytest.raises(Locked):
        fail(found, "owner", "attacker", 5)
    with pytest.raises(Locked):
        found.check("owner", "elsewhere")
    found.check("owner", "home")


def test_a_known_address_cannot_guess_for_ever(clock: SkippingClock) -> None:
    found = lockout(clock)
    found.succeeded("owner", "home")
    with pytest.raises(Locked):
        fail(found, "owner", "home", 5)


def test_a_crafted_name_cannot_reach_anothers_count(clock: SkippingClock) -> None:
    found = lockout(clock)
    found.succeeded("owner", "home")
    with pytest.raises(Locked):
        fail(found, "owner\nhome", "attacker", 5)
    found.check("owner", "home")


def test_a_flood_of_names_does_not_unlock_an_account(clock: SkippingClock) -> None:
    found = lockout(clock, tracked=10, address_attempts=10_000)
    with pytest.raises(Locked):
        fail(found, "victim", "x", 5)
    for number in range(100):
        found.failed(f"u{number}", "x")
    assert len(found.state.accounts) <= 10
    with pytest.raises(Locked):
        found.check("victim", "y")


def test_pruning_keeps_what_matters(clock: SkippingClock) -> None:
    found = Lockout(clock, AuthSettings())
    found.failed("a", "x")
    clock.advance(60)
    found.failed("b", "y")
    clock.advance(850)
    found.changed.clear()
    found.prune()
    assert set(found.state.accounts) == {"b"}
    assert found.changed.is_set()
    found.changed.clear()
    found.prune()
    assert not found.changed.is_set()


def test_locks_survive_a_restart_in_a_private_file(clock: SkippingClock, tmp_path: Path) -> None:
    file = LockoutFile(tmp_path / "drydock.db.auth-lockouts.json")
    assert file.read().accounts == {}
    first = lockout(clock)
    with pytest.raises(Locked):
        fail(first, "a", "x", 5)
    os.umask(0o022)
    file.write(first.state)
    assert (tmp_path / "drydock.db.auth-lockouts.json").stat().st_mode & 0o777 == 0o600
    second = Lockout(clock, AuthSettings(), file)
    with pytest.raises(Locked):
        second.check("a", "x")


def test_a_corrupt_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("{not json")
    assert LockoutFile(tmp_path / "f").read().addresses == {}
