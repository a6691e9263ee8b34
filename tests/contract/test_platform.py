"""Health, server facts, the small summary, one watcher at a time, and the audit log as a file (platform-api.md §4, §10, §16, §19)."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.product import PASSWORD, Product, serve_product, user
from drydock.core.model import CheckError
from drydock.core.times import DAY_MS, to_iso
from kit.clock import ManualClock
from kit.containers import container


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    async with serve_product(tmp_path, **user("admin"), **user("pat", role="viewer")) as made:
        yield made


async def test_health_tells_more_to_who_may_read(server: Product) -> None:
    stranger, admin = server.client(), await server.signed_in()
    assert set((await stranger.get("/health")).json()) == {"uptime"}
    assert set((await stranger.get("/health?verbose=1")).json()) == {"uptime"}
    wrong = await server.client(auth=("admin", "wrong")).get("/health?verbose=1")
    assert (wrong.status_code, set(wrong.json())) == (200, {"uptime"})
    found = (await admin.get("/health?verbose=1")).json()
    assert found.pop("uptime") >= 0
    assert found == {"store": True, "watchers": True, "agents": True}
    assert set((await admin.get("/health")).json()) == {"uptime"}
    head = await stranger.head("/health")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_watcher_whose_engine_is_silent_is_not_healthy(tmp_path: Path) -> None:
    gone = str(tmp_path / "none.sock")
    async with serve_product(tmp_path, **user("admin"), DD_WATCHER_HERE_SOCKET=gone) as server:
        found = (await (await server.signed_in()).get("/health?verbose=true")).json()
        assert found["watchers"] is False


async def test_health_before_anybody_can_sign_in(tmp_path: Path) -> None:
    async with serve_product(tmp_path) as server:
        answer = await server.client().get("/health?verbose=1")
        assert answer.status_code == 503
        assert answer.json() == {"status": "starting", "reason": "auth strategies not yet registered"}


async def test_old_names_are_counted_by_source(tmp_path: Path) -> None:
    environ = {"WUD_WATCHER_LOCAL_CRON": "x", "DD_TRIGGER_MOCK_ONE_MOCK": "ok", **user("admin")}
    async with serve_product(tmp_path, **environ) as server:
        client = await server.signed_in()
        found = (await client.get("/api/v1/server")).json()["compatibility"]
        env = ["DD_TRIGGER_MOCK_ONE_MOCK", "WUD_WATCHER_LOCAL_CRON"]
        assert found["legacyInputs"]["env"] == {"total": 2, "keys": env}
        assert found["legacyInputs"]["total"] == 2
        assert found["curlHealthcheckOverride"] == {"detected": False}
        text = (await client.get("/metrics")).text
        for name in env:
            assert f'dd_legacy_input_total{{source="env",key="{name}"}} 1' in text


async def test_the_small_summary(server: Product) -> None:
    failed = msgspec.structs.replace(container(4), error=CheckError(message="no answer"))
    await server.seed(container(1, update="1.1.0"), container(2, update="2.0.0"), container(3), failed)
    found = (await (await server.signed_in("pat")).get("/api/v1/summary")).json()
    assert found["containers"] == {"total": 4, "running": 4, "stopped": 0, "updatesAvailable": 2, "unknown": 1}
    assert found["updates"] == {"major": 1, "minor": 1, "patch": 0, "prerelease": 0, "digest": 0, "unknown": 0}
    assert found["security"] == {"issues": 0}
    assert found["agents"] == {"total": 0, "connected": 0}
    assert found["lastWatchAt"] is None
    assert (await server.client().get("/api/v1/summary")).status_code == 401


async def test_one_watcher_is_run(tmp_path: Path) -> None:
    gone = str(tmp_path / "none.sock")
    environ = {**user("admin"), **user("pat", role="viewer"), "DD_WATCHER_HERE_SOCKET": gone}
    async with serve_product(tmp_path, **environ) as server:
        client = await server.signed_in()
        answer = await client.post("/api/v1/watchers/docker/HERE/watch")
        assert answer.status_code == 500
        assert "does not answer" in answer.json()["error"]
        metadata = (await client.get("/api/v1/watchers/docker/here")).json()["metadata"]
        assert metadata["lastRunAt"] == "2026-02-25T06:13:20.000Z"
        assert metadata["status"] == "unreachable"
        for path in ("docker/there", "podman/here", "docker/here/agent"):
            answer = await client.post(f"/api/v1/watchers/{path}/watch")
            assert (answer.status_code, answer.json()["error"]) == (404, "Component not found")
        assert (await (await server.signed_in("pat")).post("/api/v1/watchers/docker/here/watch")).status_code == 403


async def audited(server: Product) -> None:
    await server.services.audit.note("preview", "info", container=container(1), details="=cmd()", user="admin")
    await server.services.audit.note("rollback", "error", container=container(2), details='a "b",\nc')


async def test_the_audit_log_as_a_file(server: Product) -> None:
    await audited(server)
    client = await server.signed_in("pat")
    answer = await client.get("/api/v1/audit/export?format=csv&actions=preview,rollback")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="drydock-audit-2026-02-25.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["action"] for row in rows] == ["rollback", "preview"]
    assert [row["details"] for row in rows] == ['a "b",\nc', "'=cmd()"]
    assert rows[1]["containerIdentityKey"] == "::local::c001"
    answer = await client.get("/api/v1/audit/export?format=ndjson&status=error")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    (line,) = answer.text.splitlines()
    assert msgspec.json.decode(line)["action"] == "rollback"
    for bad in ("", "?format=xml", "?format=csv&status=bad", "?format=csv&agent=a%20b"):
        assert (await client.get(f"/api/v1/audit/export{bad}")).status_code == 400


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ("status=error", ["rollback"]),
        ("agent=__local__&actions=preview,rollback", ["rollback", "preview"]),
        ("agent=edge", []),
        ("q=CMD()", ["preview"]),
        ("q=nothing-like-it", []),
    ],
)
async def test_more_filters_of_the_audit_log(server: Product, query: str, actions: list[str]) -> None:
    await audited(server)
    found = (await (await server.signed_in()).get(f"/api/v1/audit?{query}")).json()
    assert [entry["action"] for entry in found["data"]] == actions
    assert found["total"] == len(actions)


async def test_every_section_of_the_dump(tmp_path: Path) -> None:
    gone = str(tmp_path / "none.sock")
    environ = {
        **user("admin"),
        "DD_WATCHER_HERE_SOCKET": gone,
        "DD_NOTIFICATION_MOCK_ONE_MOCK": "ok",
        "DD_REGISTRY_HUB_PRIVATE_LOGIN": "somebody",
        "DD_REGISTRY_HUB_PRIVATE_PASSWORD": "canary-password",
    }
    async with serve_product(tmp_path, **environ) as server:
        await server.seed(container(1, watcher="here"))
        answer = await (await server.signed_in()).get("/api/v1/debug/dump")
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert "canary-password" not in answer.text
        found: dict[str, Any] = answer.json()
    state = found["state"]
    assert set(state) == {"containers", "watchers", "triggers", "registries", "authentications", "agents"}
    assert "explain" in state["containers"][0]
    env = state["containers"][0]["details"]["env"]
    assert {entry["key"]: entry["value"] for entry in env} == {"TZ": "UTC", "DB_PASSWORD": "***"}
    assert state["watchers"][0]["metadata"]["containers"]["total"] == 1
    assert [one["id"] for one in state["triggers"]] == ["mock.one"]
    assert state["authentications"][0]["configuration"]["hash"] == "[REDACTED]"
    assert found["mqttHomeAssistant"] == {"sensors": []}
    (subscription,) = found["dockerEvents"]["activeSubscriptions"]
    assert set(subscription) == {
        *("watcherId", "watcherName", "watchEventsEnabled", "listenerActive"),
        *("streamActive", "reconnectScheduled", "reconnectAttempt", "reconnectDelayMs"),
    }
    assert (subscription["watcherId"], subscription["streamActive"]) == ("docker.here", False)
    assert found["dockerEvents"]["recentEvents"] == []
    assert found["aliasFiltering"] == {"recentDecisions": []}
    (engine,) = found["dockerApi"]["watchers"]
    assert set(engine) == {"watcherId", "watcherName", "versionError", "infoError"}
    assert found["store"]["stats"]["documentCount"] > 0
    assert found["environment"]["ddEnvVars"]["DD_REGISTRY_HUB_PRIVATE_PASSWORD"] == "[REDACTED]"
    assert found["environment"]["ddEnvVars"]["DD_AUTH_BASIC_ADMIN_HASH"] == "[REDACTED]"
    assert found["environment"]["ddEnvVars"]["DD_STORE_PATH"] == str(tmp_path / "store")
    assert "docker.here:schedule" in found["process"]["tasks"]
    assert found["process"]["updates"] == {"held": [], "permitsAvailable": None, "permitsPending": 0}


async def test_sessions_are_listed_and_ended(server: Product) -> None:
    here, there = await server.signed_in(), await server.signed_in()
    found = (await here.get("/api/v1/auth/sessions")).json()
    assert found["total"] == 2
    (other,) = [one for one in found["data"] if not one["current"]]
    assert (await here.delete(f"/api/v1/auth/sessions/{other['id']}")).status_code == 204
    assert (await there.get("/auth/user")).status_code == 401
    assert (await here.get("/auth/user")).status_code == 200
    stranger = await server.signed_in("pat")
    mine = (await here.get("/api/v1/auth/sessions")).json()["data"][0]["id"]
    assert (await stranger.delete(f"/api/v1/auth/sessions/{mine}")).status_code == 404
    assert PASSWORD not in str(found)


@pytest.mark.rows("C-072")
async def test_an_available_update_is_pending(server: Product) -> None:
    await server.seed(container(1, update="1.1.0"), container(2))
    await server.application.bus.drain()
    found = (await (await server.signed_in("pat")).get("/api/v1/containers/recent-status")).json()
    assert found == {"statuses": {"c001": "pending"}, "statusesByIdentity": {"::local::c001": "pending"}}


@pytest.mark.rows("C-059")
@pytest.mark.parametrize(
    ("value", "days", "level"),
    [
        ("1", 2, "mature"),
        ("400", 20, "hot"),
        ("0", 6, "hot"),
        ("0", 8, "mature"),
        ("-1", 8, "mature"),
        ("1.5", 6, "hot"),
        ("abc", 8, "mature"),
        ("", 6, "hot"),
    ],
)
async def test_the_age_at_which_an_update_is_mature(tmp_path: Path, value: str, days: int, level: str) -> None:
    clock = ManualClock()
    detected = to_iso(clock.now_ms() - days * DAY_MS)
    async with serve_product(tmp_path, clock, **user("admin"), DD_UI_MATURITY_THRESHOLD_DAYS=value) as server:
        await server.seed(container(1, update="1.1.0", update_detected_at=detected))
        found = (await (await server.signed_in()).get(f"/api/v1/containers/{container(1).id}")).json()
        assert found["updateMaturityLevel"] == level


COMMANDS = (
    "/api/v1/containers/watch",
    *(
        f"/api/v1/containers/{container(1).id}/{rest}"
        for rest in (
            *("watch", "triggers/mock/one", "triggers/mock/one/agent1", "update", "scan", "env/reveal"),
            *("start", "stop", "restart", "preview", "rollback"),
        )
    ),
    "/api/v1/containers/scan-all",
    "/api/v1/operations/ea7c33a4-c1e3-4f34-9b95-9662cc7a40d6/cancel",
)
"""Every command of the published guide."""


@pytest.mark.rows("C-334")
@pytest.mark.parametrize("path", COMMANDS)
async def test_commands_need_no_body_and_no_type(tmp_path: Path, path: str) -> None:
    """The same answer as with an empty object, and never one about the body."""
    async with serve_product(tmp_path, **user("admin"), DD_NOTIFICATION_MOCK_ONE_MOCK="ok") as server:
        await server.seed(container(1, update="1.1.0"))
        client = server.client(auth=("admin", PASSWORD), headers={"X-DD-Confirm-Action": "container-rollback"})
        bare = await client.post(path)
        assert bare.request.headers.get("content-type") is None
        assert bare.status_code not in (413, 415, 422, 426), bare.text
        assert "body" not in bare.text.lower()
        full = await client.post(path, json={})
        assert (bare.status_code, bare.json().get("error")) == (full.status_code, full.json().get("error"))
