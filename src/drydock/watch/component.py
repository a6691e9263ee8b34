"""A watcher as the API lists it: masked configuration and metadata (watching.md §1.7)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from drydock.core.secret import MASK
from drydock.core.times import to_iso

if TYPE_CHECKING:
    from drydock.watch.service import ScheduledWatcher

STATUSES = {"connecting": "unknown", "connected": "connected", "lost": "unreachable", "refused": "unreachable"}


def configuration(one: ScheduledWatcher) -> dict[str, Any]:
    """The masked configuration of the component (§1.7)."""
    s, now = one.settings, one.now_ms()
    given = {"type": s.auth_type, "user": s.auth_user, "password": s.auth_password, "bearer": s.auth_bearer}
    auth = {key: str(value) if key == "type" else MASK for key, value in given.items() if value}
    image_sets: dict[str, dict[str, Any]] = {}
    for preset in s.image_sets:  # keys without underscores, as everywhere in a configuration
        values = {key.replace("_", ""): value for key, value in asdict(preset).items() if key != "name"}
        image_sets[preset.name] = {key: value for key, value in values.items() if value is not None}
    shown: dict[str, Any] = {
        "socket": s.socket,
        "host": s.host,
        "port": s.port,
        "protocol": s.protocol,
        "cafile": s.cafile,
        "certfile": s.certfile,
        "keyfile": s.keyfile,
        "auth": auth or None,
        "cron": s.cron,
        "jitter": s.jitter,
        "watchbydefault": s.watch_by_default,
        "watchall": s.watch_all,
        "watchevents": s.watch_events,
        "maintenancewindow": s.maintenance_window,
        "maintenancewindowtz": s.maintenance_window_tz,
        "maturitymode": s.maturity_mode,
        "maturityminagedays": s.maturity_min_age_days,
        "discoverysettlems": s.discovery_settle_ms,
        "tagfamily": s.tag_family,
        "tagpininfo": s.tag_pin_info,
        "imgset": image_sets or None,
        "maintenancewindowqueued": one.queued,
        "authblocked": one.watcher.host.state.connection == "refused",
        "authblockedreason": blocked_reason(one),
    }
    if one.timetable.window is not None:
        next_window = one.timetable.next_window(now)
        shown["maintenancewindowopen"] = one.timetable.window_open(now)
        shown["maintenancenextwindow"] = to_iso(next_window) if next_window is not None else None
    return {key: value for key, value in shown.items() if value is not None}


def blocked_reason(one: ScheduledWatcher) -> str | None:
    """Why nothing may be sent to this watcher's Engine (§1.4)."""
    state = one.watcher.host.state
    return state.reason if state.connection == "refused" else None


def metadata(one: ScheduledWatcher) -> dict[str, Any]:
    """When it ran last, when it will run, and whether its Engine answers."""
    next_run, last_run, host = one.next_run_ms(), one.watcher.last_run_ms, one.watcher.host
    status = STATUSES[host.state.connection]
    shown = {
        "lastRunAt": to_iso(last_run) if last_run else None,
        "nextRunAt": to_iso(next_run) if next_run else None,
        "status": status,
        "error": host.state.reason,
        "engineVersion": host.facts.version if host.facts else None,
        "statusSince": to_iso(host.state.since_ms) if host.state.since_ms else None,
    }
    return {key: value for key, value in shown.items() if value is not None}
