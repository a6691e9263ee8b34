"""When a watcher scans by itself: cron with jitter, and the maintenance window (watching.md §1.5, §1.6)."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from drydock.core.cron import Cron, Window, make_window, parse_cron
from drydock.hosts.settings import WatcherSettings


@dataclass(frozen=True)
class Timetable:
    """Pure calendar questions of one watcher; instants are epoch ms."""

    cron: Cron
    zone: ZoneInfo
    window: Window | None = None

    def window_open(self, now_ms: int) -> bool:
        """Whether scheduled work may run now; without a window always."""
        return self.window is None or self.window.is_open(now_ms)

    def next_tick(self, now_ms: int) -> int | None:
        """The next cron match, ignoring jitter and window."""
        return self.cron.next_after(now_ms, self.zone)

    def next_run(self, now_ms: int, *, queued: bool) -> int | None:
        """When the next scheduled scan will really run: the window moves ticks to its next open minute."""
        tick = self.next_tick(now_ms)
        if self.window is None or tick is None:
            return tick
        if queued:
            return self.window.next_minute(now_ms)
        return tick if self.window.is_open(tick) else self.window.next_minute(tick)

    def next_window(self, now_ms: int) -> int | None:
        """The next minute in which the window is open; None without a window."""
        return self.window.next_minute(now_ms) if self.window else None

    def is_due(self, last_run_ms: int | None, now_ms: int) -> bool:
        """Whether a tick passed since the last scan: at start, a recent result is not refreshed."""
        if last_run_ms is None or last_run_ms > now_ms:
            return True
        tick = self.next_tick(last_run_ms)
        return tick is not None and tick <= now_ms


def timetable(settings: WatcherSettings, zone: ZoneInfo) -> Timetable:
    """The timetable of a watcher. Raises CronError for a window that never opens."""
    window = None
    if settings.maintenance_window:
        window = make_window(settings.maintenance_window, settings.maintenance_window_tz)
    return Timetable(parse_cron(settings.cron), zone, window)
