"""What the debug dump tells of the watchers (platform-api.md §4.6)."""

from __future__ import annotations

import asyncio
from typing import Any

from drydock.core.secret import Secret
from drydock.docker.events import EventListener
from drydock.watch import diagnosis
from kit.wait import settle

A, B = "a" * 64, "b" * 64


async def test_events_and_alias_decisions_of_the_window(make_place: Any) -> None:
    place = await make_place(discovery_settle_ms=0)
    place.host.add(A, f"{A[:12]}_web", Created=place.clock.now_ms() // 1000)
    place.host.add(B, "web")
    await place.watcher.scan("api")
    now = place.clock.now_ms()
    await place.one.events.handle({"Action": "start", "Type": "container", "id": B, "timeNano": (now - 90_000) * 10**6})
    await place.one.events.handle({"Action": "die", "Type": "container", "Actor": {"ID": B}, "time": now // 1000})
    recent = diagnosis.recent_events([place.one], now - 60_000)
    assert [(event["action"], event["actorId"], event["watcherId"]) for event in recent] == [("die", B, "docker.local")]
    assert len(diagnosis.recent_events([place.one], 0)) == 2
    decisions = {one["containerName"]: one for one in diagnosis.alias_decisions([place.one], now - 60_000)}
    alias = decisions[f"{A[:12]}_web"]
    assert (alias["decision"], alias["baseName"], alias["reason"]) == ("skipped", "web", "base-name-present-in-docker")
    assert decisions["web"]["decision"] == "allowed"
    assert diagnosis.alias_decisions([place.one], now + 60_000) == []


async def test_engines_say_who_they_are_or_why_not(make_place: Any) -> None:
    place = await make_place()
    (found,) = await diagnosis.engines([place.one])
    assert found["version"] == {"ApiVersion": "1.45"}
    assert found["info"] == {"Name": "host-of-tests"}
    place.host.down = True
    (found,) = await diagnosis.engines([place.one])
    assert found["versionError"] == "the daemon is down"
    place = await make_place(host="nas.lan", auth_bearer=Secret("t"))
    (found,) = await diagnosis.engines([place.one])
    assert (
        found["authInitializationError"]
        == "Authentication to a Docker API requires HTTPS: set PROTOCOL=https or TLS files"
    )
    assert "version" not in found


async def test_a_lost_stream_and_its_next_attempt(make_place: Any) -> None:
    place = await make_place()
    assert diagnosis.subscriptions([place.one])[0]["listenerActive"] is False
    place.host.down = True
    listener = EventListener(place.host, place.one.events.handle, place.clock, on_reconnect=lambda: None)
    place.one.listener = listener
    task = asyncio.create_task(listener.run())
    await settle()
    (found,) = diagnosis.subscriptions([place.one])
    assert (found["reconnectScheduled"], found["reconnectAttempt"], found["reconnectDelayMs"]) == (True, 1, 1000)
    await place.clock.pass_time(1)
    (found,) = diagnosis.subscriptions([place.one])
    assert (found["reconnectAttempt"], found["reconnectDelayMs"], found["streamActive"]) == (2, 2000, False)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
