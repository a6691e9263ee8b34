"""Cookies and sessions (platform.md §5), on a real store."""

from __future__ import annotations

import pytest

from drydock.auth.sessions import (
    PENDING_MOST,
    Identity,
    Pending,
    Session,
    Sessions,
    Signer,
    add_pending,
    key_of,
    read_cookie,
    set_cookie,
    take_pending,
)
from drydock.core.secret import Secret
from drydock.store.sessions import SessionRecords
from drydock.store.store import Store

from .conftest import SkippingClock

SIGNER = Signer([Secret("first"), Secret("second")])


@pytest.fixture
def sessions(clock: SkippingClock, store: Store) -> Sessions:
    return Sessions(clock, SessionRecords(store.database, Session), SIGNER, most_per_user=3)


def who(user: str = "ann") -> Identity:
    return Identity(user=user, provider="basic:ann", role="admin", fingerprint="f")


def test_only_our_signature_counts() -> None:
    value = SIGNER.sign("id.with.dots")
    assert SIGNER.unsign(value) == "id.with.dots"
    assert Signer([Secret("new"), Secret("first")]).unsign(value) == "id.with.dots"
    for forged in (value[:-1], value + "x", "id.with.dots", "." + value, "", "ü.ü", Signer([Secret("x")]).sign("id")):
        assert SIGNER.unsign(forged) is None


def test_attributes_of_the_cookie() -> None:
    assert set_cookie("v", same_site="lax", secure=False, max_age_s=None) == (
        "drydock.sid=v; Path=/; HttpOnly; SameSite=Lax"
    )
    assert set_cookie("v", same_site="none", secure=False, max_age_s=5).endswith("SameSite=None; Max-Age=5; Secure")


def test_the_cookie_is_found_among_others() -> None:
    assert read_cookie("a=b; drydock.sid=v.s; connect.sid=old") == "v.s"
    assert read_cookie("xdrydock.sid=v") is None
    assert read_cookie(None) is None


async def test_a_session_is_found_by_its_cookie_only(sessions: Sessions, store: Store) -> None:
    session, cookie = await sessions.establish(who(), remember=False, replaces=None)
    found = await sessions.find(cookie)
    assert found is not None
    assert found.user == "ann"
    assert await sessions.find(SIGNER.sign(session.key)) is None
    id = SIGNER.unsign(cookie)
    assert id is not None
    assert session.key == key_of(id) != id


async def test_login_rotates_the_id(sessions: Sessions) -> None:
    before, fixed = await sessions.begin(remember=True)
    _, cookie = await sessions.establish(who(), remember=True, replaces=before)
    assert cookie != fixed
    assert await sessions.find(fixed) is None


async def test_the_oldest_sessions_make_room(sessions: Sessions, clock: SkippingClock) -> None:
    cookies = []
    for _ in range(4):
        cookies.append((await sessions.establish(who(), remember=False, replaces=None))[1])
        clock.advance(1)
    assert [await sessions.find(cookie) is not None for cookie in cookies] == [False, True, True, True]
    assert len(await sessions.of_user("ann")) == 3
    await sessions.establish(who("bob"), remember=False, replaces=None)
    assert len(await sessions.of_user("ann")) == 3


async def test_unused_sessions_expire_and_used_ones_live_on(sessions: Sessions, clock: SkippingClock) -> None:
    _, used = await sessions.establish(who(), remember=False, replaces=None)
    _, unused = await sessions.establish(who(), remember=False, replaces=None)
    _, remembered = await sessions.establish(who(), remember=True, replaces=None)
    for _ in range(8):
        clock.advance(86_400)
        assert await sessions.find(used) is not None
    assert await sessions.find(unused) is None
    assert await sessions.find(remembered) is not None
    assert await sessions.prune() == 1


async def test_a_session_before_login_lives_ten_minutes(sessions: Sessions, clock: SkippingClock) -> None:
    _, cookie = await sessions.begin(remember=False)
    clock.advance(599)
    assert await sessions.find(cookie) is not None
    clock.advance(2)
    assert await sessions.find(cookie) is None


async def test_a_closed_session_is_not_brought_back_by_a_late_write(sessions: Sessions, clock: SkippingClock) -> None:
    session, cookie = await sessions.establish(who(), remember=False, replaces=None)
    await sessions.close(session)
    await sessions.save(session)
    assert await sessions.find(cookie) is None
    clock.advance(60)
    assert await sessions.find(cookie) is None


async def test_sessions_survive_a_restart(sessions: Sessions, clock: SkippingClock, store: Store) -> None:
    _, cookie = await sessions.establish(who(), remember=True, replaces=None)
    again = Sessions(clock, SessionRecords(store.database, Session), SIGNER)
    found = await again.find(cookie)
    assert found is not None
    assert found.role == "admin"


def check(number: int, now: int) -> Pending:
    return Pending(state=f"state-{number}", verifier="v", nonce="n", created_at=now)


async def test_a_pending_check_is_used_once_and_for_five_minutes(sessions: Sessions, clock: SkippingClock) -> None:
    session, _ = await sessions.begin(remember=False)
    for number in range(7):
        add_pending(session, "corp", check(number, clock.now_ms()), clock.now_ms())
    assert len(session.pending["corp"]) == PENDING_MOST
    assert take_pending(session, "corp", "state-1", clock.now_ms()) is None
    assert take_pending(session, "other", "state-6", clock.now_ms()) is None
    assert take_pending(session, "corp", "state-6", clock.now_ms()) == check(6, clock.now_ms())
    assert take_pending(session, "corp", "state-6", clock.now_ms()) is None
    assert take_pending(session, "corp", "state-5", clock.now_ms() + 300_000) is None
