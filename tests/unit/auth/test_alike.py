"""An unknown name costs what a known one costs: counted by the verifications that ran, not by the time they took."""

from __future__ import annotations

import pytest

from drydock.auth.lockout import Lockout, normal
from drydock.auth.passwords import PasswordHash, make_hash, parse_hash, verify
from drydock.auth.settings import AuthSettings
from drydock.auth.strategies.basic import BasicUser, Guess, Passwords
from drydock.events import LoginAttempted
from kit.clock import ManualClock


class Counting:
    """Verifies as the product does, and remembers against which hash."""

    def __init__(self) -> None:
        self.ran: list[PasswordHash] = []

    def __call__(self, stored: PasswordHash, password: str) -> bool:
        self.ran.append(stored)
        return verify(stored, password)


def passwords(verifier: Counting, *names: str) -> Passwords:
    users = [
        BasicUser(provider=name, user=name, hash=parse_hash(make_hash(name)), role="admin", fingerprint=name)
        for name in names
    ]

    async def report(attempt: LoginAttempted) -> None:
        del attempt

    clock = ManualClock()
    return Passwords(users, Lockout(clock, AuthSettings()), clock, report, verifier=verifier)


@pytest.mark.parametrize("way", ["login", "check"])
@pytest.mark.parametrize("name", ["admin", "nobody", "", "\ud800", "x" * 10_000])
async def test_every_name_costs_one_verification(name: str, way: str) -> None:
    verifier = Counting()
    room = passwords(verifier, "admin")
    assert await getattr(room, way)(Guess(name, "wrong", "192.0.2.1")) is None
    assert verifier.ran == [room.users[0].hash]


async def test_an_unknown_name_looks_like_one_of_the_users_and_always_the_same() -> None:
    verifier = Counting()
    room = passwords(verifier, "ann", "bob", "carl")
    for _ in range(2):
        for number in range(12):
            await room.login(Guess(f"unknown{number}", "wrong", f"192.0.2.{number}"))
    first, second = verifier.ran[:12], verifier.ran[12:]
    assert first == second
    assert len({stored.salt for stored in first}) > 1


@pytest.mark.parametrize("variant", ["ADMIN", " admin ", "ad\u00admin"[:2] + "min", "ａｄｍｉｎ", "Admin\n", "\tadmin"])
def test_spellings_of_a_name_share_one_count(variant: str) -> None:
    assert normal(variant) == normal("admin")


def test_a_name_too_long_to_be_real_is_counted_by_its_hash() -> None:
    assert len(normal("x" * 60_000)) == 64
    assert normal("x" * 60_000) != normal("x" * 60_001)
