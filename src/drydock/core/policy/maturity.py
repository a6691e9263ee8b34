"""The maturity clock, its gate, age and level of an update (watching.md §8.6, §11; container-api.md §2.6, D3)."""

from __future__ import annotations

from typing import Literal

import msgspec

from drydock.core.model import Container, UpdatePolicy
from drydock.core.times import DAY_MS, from_iso

ClockSource = Literal["publishedAt", "detectedAt"]
Level = Literal["hot", "mature", "established"]

DEFAULT_MIN_AGE_DAYS = 7
DEFAULT_THRESHOLD_DAYS = 7
ESTABLISHED_AFTER_DAYS = 30


class Clock(msgspec.Struct, frozen=True):
    """Since when (epoch ms) the candidate is known to exist, and by which date."""

    start: int
    source: ClockSource


def clock(container: Container, now_ms: int) -> Clock | None:
    """The earlier of detection and a trusted push date that is not in the future; None when neither is known."""
    detected = from_iso(container.update_detected_at)
    if detected is None:
        detected = from_iso(container.first_seen_at)
    published, result = None, container.result
    if result is not None and result.published_at_trusted:
        published = from_iso(result.published_at)
    if published is not None and published <= now_ms and (detected is None or published <= detected):
        return Clock(published, "publishedAt")
    return Clock(detected, "detectedAt") if detected is not None else None


def min_age_days(policy: UpdatePolicy) -> int:
    """The soak in days; 7 where it is missing or not in 1…365."""
    days = policy.maturity_min_age_days
    return days if days is not None and 1 <= days <= 365 else DEFAULT_MIN_AGE_DAYS


def is_pending(container: Container, policy: UpdatePolicy, now_ms: int) -> bool:
    """Whether the gate still holds the candidate back; an unknown clock keeps it closed (§11.2)."""
    if policy.maturity_mode != "mature":
        return False
    opens = lift_time(container, policy, now_ms)
    return opens is None or now_ms < opens


def lift_time(container: Container, policy: UpdatePolicy, now_ms: int) -> int | None:
    """When the gate opens (epoch ms); None while the clock is unknown."""
    started = clock(container, now_ms)
    return None if started is None else started.start + min_age_days(policy) * DAY_MS


def age(container: Container, now_ms: int) -> int | None:
    """Age of the candidate in ms, never negative; None while the clock is unknown."""
    started = clock(container, now_ms)
    return None if started is None else max(0, now_ms - started.start)


def level(age_ms: int, threshold_days: int = DEFAULT_THRESHOLD_DAYS) -> Level:
    """`established` beyond 30 days wins over everything; the threshold alone moves the line hot/mature (D3)."""
    if age_ms > ESTABLISHED_AFTER_DAYS * DAY_MS:
        return "established"
    return "mature" if age_ms >= threshold_days * DAY_MS else "hot"


def threshold_days(value: int | None) -> int:
    """`DD_UI_MATURITY_THRESHOLD_DAYS`: any whole number above zero, else 7."""
    return value if value is not None and value > 0 else DEFAULT_THRESHOLD_DAYS
