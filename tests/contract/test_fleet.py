"""Summary, recent status, groups, watch (container-api.md §4) and the rows of sections C, D and E."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contract.http_app import HttpApp, serve_app
from drydock.core.audit import AuditEntry
from drydock.core.model import CheckError, Result
from drydock.core.times import DAY_MS, HOUR_MS, to_iso
from kit.containers import container, container_id

MINUTE = 60_000


def aged(http_app: HttpApp, number: int, age_ms: int) -> Any:
    at = to_iso(http_app.clock.now_ms() - age_ms)
    return container(number, update="1.1.0", update_detected_at=at, first_seen_at=at)


async def summary(http_app: HttpApp) -> Any:
    answer = await http_app.api.get("/containers/summary")
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.rows("C-061", "C-062", "C-068")
async def test_empty_summary(http_app: HttpApp) -> None:
    assert await summary(http_app) == {
        "containers": {"total": 0, "running": 0, "stopped": 0, "updatesAvailable": 0, "unknown": 0},
        "security": {"issues": 0},
        "hotUpdates": 0,
        "matureUpdates": 0,
    }


@pytest.mark.rows("C-062", "C-063", "C-064", "C-065")
async def test_summary_counts(http_app: HttpApp) -> None:
    def scanned(**counts: int) -> dict[str, Any]:
        return {"scan": {"summary": counts}}

    await http_app.seed(
        *(container(n, status="running") for n in range(1, 11)),
        container(11, status="paused", security=scanned(high=2)),
        container(12, status="created", security=scanned(medium=9)),
        container(13, "x-old-1234567890", security=scanned(critical=1)),
    )
    await http_app.seed(container(1, error=CheckError(message="401"), security=scanned(critical=1)))
    found = await summary(http_app)
    assert found["containers"] == {"total": 12, "running": 10, "stopped": 2, "updatesAvailable": 0, "unknown": 1}
    assert found["security"] == {"issues": 2}
    assert found["containers"]["total"] == (await http_app.api.get("/containers")).json()["total"]


@pytest.mark.rows("C-066", "C-067", "C-302")
@pytest.mark.parametrize("threshold", [1, 7, 14])
async def test_summary_windows(http_app: HttpApp, threshold: int) -> None:
    http_app.mature_after(threshold)
    hot = [HOUR_MS, DAY_MS - MINUTE]
    mature = [DAY_MS, 6 * DAY_MS, 7 * DAY_MS]
    await http_app.seed(*(aged(http_app, n, age) for n, age in enumerate([*hot, *mature, 7 * DAY_MS + MINUTE], 1)))
    found = await summary(http_app)
    assert (found["hotUpdates"], found["matureUpdates"], found["containers"]["updatesAvailable"]) == (2, 3, 6)


@pytest.mark.rows("C-066", "C-067")
async def test_counters_move_with_time_alone(http_app: HttpApp) -> None:
    await http_app.seed(container(1, update="1.1.0"))
    seen = []
    for step in (0, DAY_MS - 1, 1, 6 * DAY_MS, 1):
        http_app.clock.advance(step / 1000)
        found = await summary(http_app)
        seen.append((found["hotUpdates"], found["matureUpdates"]))
    assert seen == [(1, 0), (1, 0), (0, 1), (0, 1), (0, 0)]


@pytest.mark.rows("C-303")
async def test_counters_follow_the_fleet(http_app: HttpApp) -> None:
    await http_app.seed(container(1, update="1.1.0"), container(2))
    await http_app.seed(container(2, status="exited"))
    found = await summary(http_app)
    assert (found["containers"]["running"], found["containers"]["stopped"], found["hotUpdates"]) == (1, 1, 1)
    await http_app.seed(container(1, tag="1.1.0"))
    assert (await summary(http_app))["hotUpdates"] == 0
    await http_app.fleet.remove(container_id(2))
    assert (await summary(http_app))["containers"] == {
        "total": 1,
        "running": 1,
        "stopped": 0,
        "updatesAvailable": 0,
        "unknown": 0,
    }


# recent status


async def note(http_app: HttpApp, action: str, name: str, key: str | None) -> None:
    http_app.clock.advance(1)
    at = http_app.clock.now_ms()
    await http_app.services.audit.record(
        AuditEntry(
            id=f"e{at}",
            timestamp=to_iso(at),
            action=action,
            container_name=name,
            container_identity_key=key,
            status="success",
        )
    )


async def recent(http_app: HttpApp) -> Any:
    return (await http_app.api.get("/containers/recent-status")).json()


@pytest.mark.rows("C-070", "C-076", "C-079", "C-304")
async def test_recent_status(http_app: HttpApp) -> None:
    assert await recent(http_app) == {"statuses": {}, "statusesByIdentity": {}}
    await note(http_app, "update-applied", "web", "::local::web")
    await note(http_app, "update-available", "db", "::local::db")
    await note(http_app, "update-failed", "cache", "::local::cache")
    await note(http_app, "rollback", "other", "::local::other")
    await note(http_app, "update-applied", " ", None)
    found = await recent(http_app)
    assert found["statuses"] == {"web": "updated", "db": "pending", "cache": "failed"}
    assert found["statusesByIdentity"] == {f"::local::{name}": status for name, status in found["statuses"].items()}


@pytest.mark.rows("C-075", "C-077", "C-078")
async def test_the_newest_entry_wins(http_app: HttpApp) -> None:
    await note(http_app, "update-available", "web", "::local::web")
    await note(http_app, "update-applied", "web", "::local::web")
    await note(http_app, "update-failed", "web", "edge-a::docker-prod::web")
    found = await recent(http_app)
    assert found["statuses"] == {"web": "failed"}
    assert found["statusesByIdentity"] == {"::local::web": "updated", "edge-a::docker-prod::web": "failed"}
    await note(http_app, "update-applied", "web", "::local::web")
    assert (await recent(http_app))["statuses"] == {"web": "updated"}


@pytest.mark.rows("C-074")
async def test_only_the_last_hundred_entries_count(http_app: HttpApp) -> None:
    await note(http_app, "update-applied", "web", "::local::web")
    for number in range(99):
        await note(http_app, "rollback", f"c{number}", None)
    assert (await recent(http_app))["statuses"] == {"web": "updated"}
    await note(http_app, "env-reveal", "c", None)
    assert await recent(http_app) == {"statuses": {}, "statusesByIdentity": {}}


# groups


async def test_groups(http_app: HttpApp) -> None:
    await http_app.seed(
        container(1, "a", labels={"dd.group": "mon"}, update="1.1.0"),
        container(2, "b", labels={"com.docker.compose.project": "mon"}),
        container(3, "c", labels={"com.docker.stack.namespace": "__ungrouped__"}),
        container(4, "d"),
    )
    found = (await http_app.api.get("/containers/groups")).json()
    assert found["total"] == 3
    assert [(group["name"], group["containerCount"], group["updatesAvailable"]) for group in found["data"]] == [
        ("mon", 2, 1),
        ("__ungrouped__", 1, 0),
        (None, 1, 0),
    ]
    member = {"id": container_id(1), "name": "a", "displayName": "a", "updateAvailable": True}
    assert found["data"][0]["containers"][0] == member


# watch


@pytest.mark.rows("C-081", "C-082", "C-083")
async def test_watch_all(http_app: HttpApp) -> None:
    await http_app.seed(container(1), container(2))
    http_app.watchers.results[container_id(1)] = container(1, update="1.2.0")
    answer = await http_app.api.post("/containers/watch")
    body = answer.json()
    assert (answer.status_code, http_app.watchers.asked) == (200, ["all"])
    assert (len(body["data"]), body["total"], body["limit"], body["offset"], body["hasMore"]) == (2, 2, 0, 0, False)
    assert body["data"][0]["result"]["tag"] == "1.2.0"
    page = (await http_app.api.post("/containers/watch?limit=1")).json()
    assert page["_links"]["next"] == "/api/v1/containers/watch?limit=1&offset=1"


async def test_watch_some(http_app: HttpApp) -> None:
    await http_app.seed(container(1), container(2))
    body = {"containerIds": [f" {container_id(2)} ", container_id(2)]}
    answer = await http_app.api.post("/containers/watch", json=body)
    assert (answer.status_code, answer.json()["total"]) == (200, 2)
    assert http_app.watchers.asked == [(container_id(2),)]


@pytest.mark.parametrize(
    "body", [[], {"x": 1}, {"containerIds": []}, {"containerIds": "a"}, {"containerIds": [" "]}, {"containerIds": [1]},
             {"containerIds": ["a"] * 201}, {"containerIds": ["a"], "force": True}],
)  # fmt: skip
async def test_watch_refuses_wrong_bodies(http_app: HttpApp, body: Any) -> None:
    answer = await http_app.api.post("/containers/watch", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert http_app.watchers.asked == []


async def test_watch_unknown_and_broken(http_app: HttpApp) -> None:
    answer = await http_app.api.post("/containers/watch", json={"containerIds": ["nope"]})
    assert (answer.status_code, answer.json()["error"]) == (404, "Container not found")
    http_app.watchers.broken = True
    answer = await http_app.api.post("/containers/watch")
    assert (answer.status_code, answer.json()) == (500, {"error": "No watcher could run"})


@pytest.mark.rows("C-091", "C-092", "C-093")
async def test_read_one(http_app: HttpApp) -> None:
    await http_app.seed(container(1, update="1.1.0"))
    one = await http_app.api.get(f"/containers/{container_id(1)}")
    assert one.status_code == 200
    listed = (await http_app.api.get("/containers")).json()["data"][0]
    assert one.json() == listed
    assert one.json()["details"]["env"] == [
        {"key": "TZ", "value": "UTC", "sensitive": False},
        {"key": "DB_PASSWORD", "value": "***", "sensitive": True},
    ]
    for unknown in ("f" * 64, "%2e%2e", "a%20b", container_id(1)[:12], "c001"):
        answer = await http_app.api.get(f"/containers/{unknown}")
        assert (answer.status_code, answer.json()["error"]) == (404, "Container not found")


@pytest.mark.rows("C-094", "C-096")
async def test_watch_one(http_app: HttpApp) -> None:
    await http_app.seed(container(1), container(2))
    http_app.watchers.results[container_id(1)] = container(1, update="2.0.0")
    answer = await http_app.api.post(f"/containers/{container_id(1)}/watch")
    assert (answer.status_code, answer.json()["id"], answer.json()["result"]["tag"]) == (200, container_id(1), "2.0.0")
    assert http_app.watchers.asked == [container_id(1)]
    assert (await http_app.api.post("/containers/nope/watch")).status_code == 404


async def test_rollback_leftovers_are_hidden_but_reachable(http_app: HttpApp) -> None:
    await http_app.seed(container(1, "web-old-1234567890"), container(2, "web-old-123"))
    assert await http_app.names() == ["web-old-123"]
    assert (await http_app.api.get(f"/containers/{container_id(1)}")).status_code == 200


async def test_explain(http_app: HttpApp) -> None:
    await http_app.seed(container(1, "web", update="1.1.0"))
    answer = await http_app.api.get(f"/containers/{container_id(1)}/explain")
    body = answer.json()
    assert (answer.status_code, body["containerId"], body["name"]) == (200, container_id(1), "web")
    assert body["nextCheckAt"] == "2030-01-01T00:00:00.000Z"
    assert body["summary"]
    assert http_app.watchers.asked == []
    fresh = await http_app.api.get(f"/containers/{container_id(1)}/explain?fresh=true")
    assert (fresh.status_code, http_app.watchers.asked) == (200, [container_id(1)])
    assert (await http_app.api.get("/containers/nope/explain?fresh=true")).status_code == 404


async def test_the_last_picture_is_there_after_a_restart(tmp_path: Any) -> None:
    async with serve_app(tmp_path) as http_app:
        await http_app.seed(container(1, update="1.1.0"), container(2, result=Result(tag="3.0.0")))
        before = (await http_app.api.get("/containers")).json()
    async with serve_app(tmp_path) as http_app:
        assert (await http_app.api.get("/containers")).json() == before


def test_samples_are_what_the_contract_says() -> None:
    assert msgspec.json.decode(msgspec.json.encode(container(1)))["image"]["tag"]["tagPrecision"] == "specific"
