"""What one Docker event does (watching.md §6, §13, §17.4)."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.core.model import audit_key
from drydock.events import ChecksFinished, ContainerChecked, ContainerUpdated, HealthChanged, UpdateApplied

A, B = "a" * 64, "b" * 64


@pytest.fixture
async def place(make_place: Any) -> Any:
    made = await make_place(discovery_settle_ms=0)
    made.host.add(A, "web")
    made.host.add(B, "db")
    await made.watcher.scan("cron")
    made.host.calls.clear()
    made.events.clear()
    return made


@pytest.mark.parametrize("action", ["start", "stop", "die", "pause", "unpause", "update", "health_status: healthy"])
async def test_an_event_refreshes_its_container_with_one_call(place: Any, action: str) -> None:
    place.host.containers[A]["State"] = "paused"
    await place.one.events.handle({"Action": action, "Actor": {"ID": A}})
    assert place.get("web").status == "paused"
    assert place.host.calls == {"inspect": 1}
    assert len(place.published(ContainerUpdated)) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"Action": "create", "id": A},
        {"Action": "destroy", "id": A},
        {"Action": "start"},
        {"Action": "start", "id": "f" * 64},
    ],
)
async def test_others_ask_for_an_enumeration(place: Any, event: dict[str, Any]) -> None:
    await place.one.events.handle(event)
    assert place.host.calls == {}
    waiting = place.one.rescan.wait()
    import asyncio

    task = asyncio.ensure_future(waiting)
    await place.clock.pass_time(5)
    assert task.done()


async def test_health_is_followed(place: Any) -> None:
    entry = place.host.containers[A]
    for status in ("healthy", "unhealthy"):
        entry["StateMore"] = {"Health": {"Status": status}}
        await place.one.events.handle({"Action": f"health_status: {status}", "id": A})
    assert place.get("web").health == "unhealthy"
    assert [event.previous for event in place.published(HealthChanged)] == ["healthy"]


async def test_17_4_06_renaming_by_the_updater_is_not_followed(place: Any) -> None:
    place.host.containers[A]["Names"] = ["/web-old-1767225600000"]
    await place.one.events.handle({"Action": "rename", "id": A})
    assert place.get("web").id == A


async def test_a_rename_is_followed_with_the_display_name(place: Any) -> None:
    place.host.containers[A]["Names"] = ["/shop"]
    await place.one.events.handle({"Action": "rename", "id": A})
    assert place.get("shop").display_name == "shop"


async def test_an_alias_of_its_own_asks_for_an_enumeration(place: Any) -> None:
    place.host.containers[A]["Names"] = [f"/{A[:12]}_web"]
    await place.one.events.handle({"Action": "rename", "id": A})
    assert place.get("web").id == A
    assert place.host.calls == {"inspect": 1}


async def test_an_engine_that_fails_meanwhile_changes_nothing(place: Any) -> None:
    before = place.get("web")
    place.host.broken.add(A)
    await place.one.events.handle({"Action": "start", "id": A})
    assert place.get("web") == before


async def test_a_thousand_events_are_kept(place: Any) -> None:
    for number in range(1100):
        await place.one.events.handle(
            {"Action": "create", "id": A, "Type": "container", "timeNano": number * 1_000_000}
        )
    seen = place.one.events.seen
    assert (len(seen), seen[-1].timestamp_ms, seen[-1].action, seen[-1].id) == (1000, 1099, "create", A)


async def test_after_an_update_the_container_is_checked_at_once(place: Any) -> None:
    old = place.get("web")
    del place.host.containers[A]
    place.host.add("c" * 64, "web", "app:2.0.0")
    await place.service.on_update_applied(UpdateApplied(operation={}, container=old))
    new = place.fleet.by_audit_key(audit_key(old))
    assert [(c.id, c.image.tag.value) for c in new] == [("c" * 64, "2.0.0")]
    assert [report.container.name for report in place.published(ContainerChecked)] == ["web"]
    assert place.published(ChecksFinished) == [], "no batch report"
