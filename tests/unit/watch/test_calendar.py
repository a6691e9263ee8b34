"""Schedule and maintenance window: the tables of watching.md §1.6, and what follows from them over time (§1.5, §17.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from drydock.core.cron import CronError, make_window
from drydock.core.times import from_iso, to_iso
from drydock.events import ScanPutOff
from drydock.hosts.settings import WatcherSettings
from drydock.watch.component import configuration, metadata
from drydock.watch.schedule import timetable

UTC = ZoneInfo("UTC")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text.replace(" ", "T") + "+00:00").timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "zone", "instant", "is_open", "next_minute"),
    [
        ("* 2-3 * * *", "Europe/Berlin", "2026-01-15 01:30:20", True, "2026-01-15 01:31:00"),
        ("* 2-3 * * *", "Europe/Berlin", "2026-01-15 03:00:00", False, "2026-01-16 01:00:00"),
        ("0 2-3 * * *", "UTC", "2026-01-15 02:00:59", True, "2026-01-15 03:00:00"),
        ("0 2-3 * * *", "UTC", "2026-01-15 02:01:00", False, "2026-01-15 03:00:00"),
        ("* 2-3 * * 6,0", "UTC", "2026-01-17 02:15:00", True, "2026-01-17 02:16:00"),
        ("* 2 * * *", "Europe/Berlin", "2026-03-29 00:30:00", False, "2026-03-30 00:00:00"),
    ],
)
def test_the_window_is_open(window: str, zone: str, instant: str, is_open: bool, next_minute: str) -> None:
    made = make_window(window, zone)
    assert made.is_open(ms(instant)) is is_open
    assert made.next_minute(ms(instant)) == ms(next_minute)


def test_a_window_that_never_opens_is_refused() -> None:
    with pytest.raises(CronError, match="never opens"):
        timetable(WatcherSettings(name="a", maintenance_window="30 * 2 * * *"), UTC)


def test_the_next_run_moves_into_the_window() -> None:
    inside = timetable(WatcherSettings(name="a", cron="0 * * * *", maintenance_window="* 2-3 * * *"), UTC)
    assert inside.next_run(ms("2026-01-15 01:30:00"), queued=False) == ms("2026-01-15 02:00:00"), "a tick inside of it"
    assert inside.next_run(ms("2026-01-15 04:30:00"), queued=False) == ms("2026-01-16 02:00:00"), "after the tick"
    assert inside.next_run(ms("2026-01-15 02:30:00"), queued=True) == ms("2026-01-15 02:31:00"), "queued: next minute"
    free = timetable(WatcherSettings(name="a", cron="0 * * * *"), UTC)
    assert free.next_run(ms("2026-01-15 04:30:00"), queued=False) == ms("2026-01-15 05:00:00")


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, "2026-01-15 01:00:00", True),
        ("2026-01-15 00:00:05", "2026-01-15 05:59:59", False),
        ("2026-01-15 00:00:05", "2026-01-15 06:00:00", True),
        ("2026-01-15 05:00:00", "2026-01-15 04:00:00", True),
    ],
)
def test_a_restart_scans_only_when_a_tick_was_missed(last: str | None, now: str, due: bool) -> None:
    calendar = timetable(WatcherSettings(name="a"), UTC)
    assert calendar.is_due(ms(last) if last else None, ms(now)) is due


async def test_ticks_scan_after_their_jitter(make_place: Any) -> None:
    place = await make_place(at=ms("2026-01-15 00:10:00"), cron="0 * * * *", jitter=30_000)
    place.host.add("a" * 64, "web")
    await place.schedule()
    await place.clock.pass_time(1)
    assert place.host.calls["list"] == 1, "the first scan comes a second after the start"
    await place.clock.pass_time(50 * 60 + 30)
    assert place.host.calls["list"] == 2
    jitter = next(seconds for seconds in place.clock.slept if 0 < seconds < 30 and seconds != 1.0)
    ran = from_iso(metadata(place.one)["lastRunAt"])
    assert ran == ms("2026-01-15 01:00:00") + int(jitter * 1000)


async def test_17_4_12_a_closed_window_queues_one_scan(make_place: Any) -> None:
    place = await make_place(at=ms("2026-01-15 00:10:00"), cron="0 * * * *", jitter=0, maintenance_window="* 2-3 * * *")
    place.memory["watcher.local.lastRunAt"] = str(ms("2026-01-15 00:05:00"))
    await place.schedule()
    await place.clock.pass_time(60)
    place.host.calls.clear()
    await place.clock.pass_time(51 * 60)
    assert place.host.calls.total() == 0, "the tick at 01:00 asks the Engine nothing"
    assert [event.host.watcher for event in place.published(ScanPutOff)] == ["local"], "told once"
    assert configuration(place.one)["maintenancewindowqueued"] is True
    assert configuration(place.one)["maintenancewindowopen"] is False
    assert configuration(place.one)["maintenancenextwindow"] == "2026-01-15T02:00:00.000Z"
    assert metadata(place.one)["nextRunAt"] == "2026-01-15T02:00:00.000Z"
    await place.clock.pass_time(59 * 60 + 30)
    assert place.host.calls["list"] == 1, "exactly one scan when it opens"
    assert configuration(place.one)["maintenancewindowqueued"] is False


async def test_b12_a_fresh_start_outside_the_window_shows_the_containers(make_place: Any) -> None:
    place = await make_place(at=ms("2026-01-15 12:00:00"), maintenance_window="* 2 * * *")
    place.host.add("a" * 64, "web")
    await place.schedule()
    await place.clock.pass_time(5)
    assert place.names() == ["web"]
    assert place.fleet.trace("a" * 64) is None, "nothing was checked"
    assert place.one.queued
    await place.clock.pass_time(14 * 3600 + 60)
    assert place.fleet.trace("a" * 64) is not None, "checked when the window opened"


async def test_api_scans_ignore_the_window(make_place: Any) -> None:
    place = await make_place(at=ms("2026-01-15 12:00:00"), maintenance_window="* 2 * * *")
    place.host.add("a" * 64, "web")
    await place.service.watch_all()
    assert place.fleet.trace("a" * 64) is not None


async def test_an_event_outside_the_window_keeps_the_picture_and_queues(make_place: Any) -> None:
    place = await make_place(at=ms("2026-01-15 12:00:00"), maintenance_window="* 2 * * *", discovery_settle_ms=0)
    await place.schedule()
    await place.clock.pass_time(5)
    place.host.add("a" * 64, "web")
    place.one.rescan.signal()
    await place.clock.pass_time(6)
    assert place.names() == ["web"]
    assert place.fleet.trace("a" * 64) is None
    assert place.one.queued


async def test_a_restart_before_the_next_tick_keeps_results(make_place: Any) -> None:
    first = await make_place(at=ms("2026-01-15 00:10:00"))
    first.host.add("a" * 64, "web")
    await first.schedule()
    await first.clock.pass_time(2)
    checked = first.fleet.trace("a" * 64).checked_at
    await first.stop()
    await first.clock.pass_time(600)
    second = await make_place(like=first, discovery_settle_ms=0)
    assert second.names() == ["web"], "the last picture is there at once"
    second.host.add("b" * 64, "new")
    await second.schedule()
    await second.clock.pass_time(2)
    assert second.fleet.trace("a" * 64).checked_at == checked, "not checked again before its time"
    assert second.fleet.trace("b" * 64) is not None, "what is new is"
    assert metadata(second.one)["nextRunAt"] == "2026-01-15T06:00:00.000Z"


async def test_watchatstart_false_checks_only_what_was_never_checked(make_place: Any) -> None:
    first = await make_place(at=ms("2026-01-15 00:10:00"))
    first.host.add("a" * 64, "web")
    await first.watcher.scan("api")
    checked = first.fleet.trace("a" * 64).checked_at
    await first.clock.pass_time(24 * 3600)
    second = await make_place(like=first, watch_at_start=False)
    await second.schedule()
    await second.clock.pass_time(2)
    assert second.fleet.trace("a" * 64).checked_at == checked


async def test_without_an_engine_at_the_start_the_owed_scan_is_made_up(make_place: Any) -> None:
    place = await make_place(at=ms("2026-01-15 00:10:00"))
    place.host.add("a" * 64, "web")
    place.host.down = True
    await place.schedule()
    await place.clock.pass_time(2)
    assert metadata(place.one)["status"] == "unreachable"
    assert metadata(place.one)["error"] == "the daemon is down"
    assert metadata(place.one)["lastRunAt"] == "2026-01-15T00:10:01.000Z", "a failed scan is a scan"
    assert "watcher.local.lastRunAt" not in place.memory, "but a restart makes it up"
    place.host.down = False
    await place.clock.pass_time(61)
    assert metadata(place.one)["status"] == "connected"
    assert place.fleet.trace("a" * 64) is not None


def test_instants_are_utc_with_milliseconds() -> None:
    assert to_iso(ms("2026-01-15 02:00:00")) == "2026-01-15T02:00:00.000Z"
