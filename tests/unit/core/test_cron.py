"""Cron expressions and maintenance windows (watching.md §1.5, §1.6)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.cron import CronError, make_window, parse_cron
from drydock.core.times import from_iso, to_iso

UTC = ZoneInfo("UTC")


def next_of(expression: str, after: str, zone: str = "UTC") -> str | None:
    found = parse_cron(expression).next_after(from_iso(after) or 0, ZoneInfo(zone))
    return found and to_iso(found)[:19]


@pytest.mark.parametrize(
    ("expression", "zone", "instant", "is_open", "next_minute"),
    [
        ("* 2-3 * * *", "Europe/Berlin", "2026-01-15T01:30:20Z", True, "2026-01-15T01:31"),
        ("* 2-3 * * *", "Europe/Berlin", "2026-01-15T03:00:00Z", False, "2026-01-16T01:00"),
        ("0 2-3 * * *", "UTC", "2026-01-15T02:00:59Z", True, "2026-01-15T03:00"),
        ("0 2-3 * * *", "UTC", "2026-01-15T02:01:00Z", False, "2026-01-15T03:00"),
        ("* 2-3 * * 6,0", "UTC", "2026-01-17T02:15:00Z", True, "2026-01-17T02:16"),
        ("* 2 * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", False, "2026-03-30T00:00"),
    ],
)
def test_window_table(expression: str, zone: str, instant: str, is_open: bool, next_minute: str) -> None:
    window = make_window(expression, zone)
    now = from_iso(instant) or 0
    assert window.is_open(now) is is_open
    assert to_iso(window.next_minute(now) or 0)[:16] == next_minute


@pytest.mark.parametrize(
    "expression",
    ["31 2", "* * 31 2 *", "60 * * * *", "5-1 * * * *", "a * * * *", "* * * *", "* * * * * * *", "*/0 * * * *", ""],
)
def test_rejected(expression: str) -> None:
    with pytest.raises(CronError):
        parse_cron(expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * 13 * 5", "2027-08-13T00:00:00"),
        ("@daily", "2026-11-22T00:00:00"),
        ("@weekly", "2026-11-22T00:00:00"),
        ("0 */6 * * *", "2026-11-21T06:00:00"),
        ("*/30 * * * * *", "2026-11-21T00:00:30"),
        ("0 0 1 JAN-mar Mon,SUN", "2027-02-01T00:00:00"),
        ("? * * * ?", "2026-11-21T00:01:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 * * 7", "2026-11-22T00:00:00"),
        ("0 0 * * 5-7", "2026-11-22T00:00:00"),
    ],
)
def test_next(expression: str, expected: str) -> None:
    assert next_of(expression, "2026-11-21T00:00:00Z") == expected


def test_day_fields_combine_with_and() -> None:
    friday_13 = parse_cron("* * 13 * 5")
    assert next_of("* * 13 * 5", "2026-11-21T00:00:00Z", "UTC") is not None
    assert friday_13.fields[3] == {13}


def test_window_that_never_opens_is_rejected() -> None:
    with pytest.raises(CronError):
        make_window("30 * 2 * * *", "UTC")


def test_window_for_single_minutes_is_noticed() -> None:
    assert make_window("0 2-3 * * *", "UTC").opens_for_single_minutes
    assert not make_window("* 2-3 * * *", "UTC").opens_for_single_minutes


@given(st.text(alphabet="0123456789*/-,? @adfjmnosu", max_size=30))
def test_parse_never_raises_anything_else(text: str) -> None:
    try:
        parsed = parse_cron(text)
    except CronError:
        return
    assert len(parsed.fields) == 6


@given(st.integers(0, 4_000_000_000_000))
def test_next_is_later_and_matches(now: int) -> None:
    cron = parse_cron("*/7 3-5 * * 1-5")
    found = cron.next_after(now, UTC)
    assert found is not None
    assert found > now
