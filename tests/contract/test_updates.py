"""Update, actions, backups, rollback, operations: sections G, M and N of the checklist."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contract.updating import LOCAL, Host, serve
from drydock.core.audit import AuditFilter
from drydock.core.errors import EngineUnreachable
from drydock.core.operation import ImageWanted, Operation
from drydock.events import OperationChanged, UpdateApplied, UpdateFailed
from drydock.metrics.families import Registry
from drydock.updates.actions import Action
from fakes.engine import FakeEngine, Fault
from kit.clock import SkippingClock
from kit.wait import until

MISSING = "f" * 64
CONFIRM = {"X-DD-Confirm-Action": "container-rollback"}


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with serve(tmp_path) as made:
        made.images()
        yield made


class Hold(Fault):
    """Lets a test stop the world at one kind of call."""

    def __init__(self, engine: Any, call: str) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        original = getattr(engine, call)

        async def held(*args: Any, **kwargs: Any) -> Any:
            self.reached.set()
            await self.go.wait()
            return await original(*args, **kwargs)

        setattr(engine, call, held)


def hold_pull(host: Host) -> Hold:
    """Stop inside the pull."""
    hold = Hold(host.engine, "inspect_network")
    original = host.engine.pull_image

    async def pull(reference: str, **kwargs: Any) -> AsyncIterator[Any]:
        yield {"status": "Pulling"}
        hold.reached.set()
        await hold.go.wait()
        async for line in original(reference, **kwargs):
            yield line

    host.engine.pull_image = pull  # type: ignore[method-assign, assignment]  # a slow registry
    return hold


async def audit(host: Host) -> list[tuple[str, str]]:
    entries, _ = await host.store.audit.query(AuditFilter(), 100, 0)
    return [(entry.action, entry.status) for entry in reversed(entries)]


# ── G. update ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rows("C-108", "C-109", "C-110", "C-117", "C-258", "C-121")
async def test_an_update_is_accepted_at_once_and_can_be_followed(host: Host) -> None:
    container = await host.container()
    hold = hold_pull(host)
    answer = await host.api.post(f"/containers/{container}/update")
    assert answer.status_code == 202
    assert answer.json()["message"] == "Container update accepted"
    operation = answer.json()["operationId"]
    assert str(uuid.UUID(operation)) == operation
    await hold.reached.wait()
    assert (await host.api.get(f"/update-operations/{operation}")).json()["status"] == "in-progress"
    history = (await host.api.get(f"/containers/{container}/update-operations")).json()
    assert history["data"][0]["id"] == operation
    shown = (await host.api.get(f"/containers/{container}")).json()
    assert shown["updateOperation"]["id"] == operation
    assert [one["reason"] for one in shown["updateEligibility"]["blockers"]][-1] == "active-operation"
    again = await host.api.post(f"/containers/{container}/update")
    assert (again.status_code, again.json()["error"]) == (409, "Container update already in progress")
    hold.go.set()
    assert (await host.ended(operation))["status"] == "succeeded"


@pytest.mark.rows("C-111", "C-310", "C-309")
async def test_the_container_is_the_same_with_the_new_image(host: Host) -> None:
    host.engine.add_network("front")
    facts = {"front": {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.1.0.9"}}}
    container = await host.container(
        Env=["TZ=UTC"],
        Labels={"my.label": "x"},
        HostConfig={"NetworkMode": "front", "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
        NetworkingConfig={"EndpointsConfig": facts},
    )
    volume = host.now()["Mounts"][0]["Name"]
    found = await host.update(container)
    now = host.now()
    assert found["status"] == "succeeded"
    assert host.engine.names() == {"web": "running"}
    assert now["Image"] == host.engine.remote["app:2"]
    assert {"TZ=UTC", "VERSION=2"} <= set(now["Config"]["Env"])
    assert now["Config"]["Labels"]["my.label"] == "x"
    assert now["Mounts"][0]["Name"] == volume
    assert now["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostPort": "8080"}]}
    assert now["NetworkSettings"]["Networks"]["front"]["IPAMConfig"] == {"IPv4Address": "10.1.0.9"}
    assert [type(event) for event in host.events if isinstance(event, UpdateApplied)] == [UpdateApplied]
    assert ("update-applied", "success") in await audit(host)


@pytest.mark.rows("C-113", "C-115")
async def test_refusals(host: Host) -> None:
    current = await host.container(to=None)
    answer = await host.api.post(f"/containers/{current}/update")
    assert (answer.status_code, answer.json()["error"]) == (400, "No update available for this container")
    answer = await host.api.post(f"/containers/{MISSING}/update")
    assert (answer.status_code, answer.json()["error"]) == (404, "Container not found")


@pytest.mark.rows("C-114", "C-223")
async def test_actions_can_be_switched_off(tmp_path: Path) -> None:
    async with serve(tmp_path, actions_enabled=False) as host:
        host.images()
        container = await host.container()
        calls = list(host.engine.calls)
        for verb in ("update", "start", "stop", "restart"):
            answer = await host.api.post(f"/containers/{container}/{verb}")
            assert (answer.status_code, answer.json()["error"]) == (403, "Container actions are disabled")
        assert host.engine.calls == calls
        bulk = await host.api.post("/containers/update", json={"containerIds": []})
        assert bulk.status_code == 403


@pytest.mark.rows("C-116", "C-237")
async def test_without_an_action_there_is_no_update_and_no_rollback(tmp_path: Path) -> None:
    async with serve(tmp_path, actions=()) as host:
        host.images()
        container = await host.container()
        answer = await host.api.post(f"/containers/{container}/update")
        assert (answer.status_code, answer.json()["error"]) == (404, "No docker trigger found for this container")
        preview = await host.api.post(f"/containers/{container}/preview")
        assert (preview.status_code, preview.json()["code"]) == (404, "no-trigger-configured")
        assert preview.json()["action"] == {"code": "open-trigger-settings", "href": "/triggers"}


@pytest.mark.rows("C-118")
async def test_a_blocked_candidate_is_refused_before_anything_is_pulled(host: Host) -> None:
    container = await host.container(Labels={"dd.security.gate": "on"})
    scan = {"status": "blocked", "image": "app:2", "blockingCount": 1}

    def blocked(one: Any) -> Any:
        import msgspec

        return msgspec.structs.replace(one, security={"updateScan": scan})

    await host.fleet.change(container, blocked)
    answer = await host.api.post(f"/containers/{container}/update")
    assert answer.status_code == 409
    assert "pull" not in host.engine.calls


async def test_a_gate_that_blocks_after_the_pull_leaves_the_container_alone(host: Host) -> None:
    container = await host.container()
    host.gate.allowed, host.gate.reason = False, "3 critical vulnerabilities"
    found = await host.update(container)
    assert (found["status"], found["lastError"]) == ("failed", "3 critical vulnerabilities")
    assert host.id_of() == container


@pytest.mark.rows("C-119")
async def test_a_temporary_container_is_never_updated(host: Host) -> None:
    container = await host.container("web-old-1700000000000")
    answer = await host.api.post(f"/containers/{container}/update")
    assert (answer.status_code, answer.json()["error"]) == (409, "Cannot update temporary rollback container")


async def test_what_another_drydock_has_just_updated_is_left_alone(host: Host) -> None:
    container = await host.container(Labels={"dd.update.operation": "of-somebody-else"})
    answer = await host.api.post(f"/containers/{container}/update")
    assert answer.status_code == 409
    assert "only one may manage a host" in answer.json()["error"]
    host.clock.advance(600)
    assert (await host.update(container))["status"] == "succeeded"


@pytest.mark.rows("C-120")
async def test_a_store_that_refuses_leaves_no_operation_behind(host: Host) -> None:
    container = await host.container()

    async def broken(operation: Operation) -> None:
        raise OSError("disk full")

    save, host.store.operations.save = host.store.operations.save, broken  # type: ignore[method-assign]
    assert (await host.api.post(f"/containers/{container}/update")).status_code == 500
    host.store.operations.save = save  # type: ignore[method-assign]
    history = (await host.api.get(f"/containers/{container}/update-operations")).json()
    assert history["data"] == []
    assert (await host.update(container))["status"] == "succeeded"


async def test_update_mode_notify_refuses(tmp_path: Path) -> None:
    async with serve(tmp_path, mode="notify") as host:
        host.images()
        answer = await host.api.post(f"/containers/{await host.container()}/update")
        assert answer.status_code == 409
        assert answer.json()["error"] == "Update mode is notify; Drydock will not apply updates"


# ── M. actions, preview, backups, rollback ──────────────────────────────────────────────────────────────────────────


@pytest.mark.rows("C-220", "C-221", "C-222", "C-325")
async def test_start_stop_restart(host: Host) -> None:
    container = await host.container()
    stopped = await host.api.post(f"/containers/{container}/stop")
    assert stopped.json()["message"] == "Container stopped successfully"
    assert stopped.json()["result"]["status"] == "exited"
    assert host.now()["State"]["Status"] == "exited"
    started = await host.api.post(f"/containers/{container}/start")
    assert started.json()["message"] == "Container started successfully"
    assert (await host.api.get(f"/containers/{container}")).json()["status"] == "running"
    assert (await host.api.post(f"/containers/{container}/start")).status_code == 200
    before = host.now()["State"]["StartedAt"]
    host.clock.advance(5)
    restarted = await host.api.post(f"/containers/{container}/restart")
    assert restarted.json()["message"] == "Container restarted successfully"
    assert host.now()["State"]["StartedAt"] != before
    assert ("container-restart", "success") in await audit(host)


@pytest.mark.rows("C-224")
async def test_actions_on_unknown_containers(host: Host) -> None:
    for verb in ("start", "stop", "restart", "preview", "rollback"):
        answer = await host.api.post(f"/containers/{MISSING}/{verb}", headers=CONFIRM)
        assert (answer.status_code, answer.json()["error"]) == (404, "Container not found")


async def test_a_failing_action_is_general_outside_and_precise_in_the_audit(host: Host) -> None:
    container = await host.container(start=False, HostConfig={"NetworkMode": "bridge"})
    host.engine.images[host.engine.tags["app:1"]]["_behaviour"] = "no-start"
    answer = await host.api.post(f"/containers/{container}/start")
    assert (answer.status_code, answer.json()["error"]) == (500, "Unable to complete container action")
    entries, _ = await host.store.audit.query(AuditFilter(), 10, 0)
    assert (entries[0].action, entries[0].status) == ("container-start", "error")
    assert "executable file not found" in (entries[0].details or "")


async def test_updates_are_counted(host: Host) -> None:
    await host.update(await host.container())
    await host.api.post(f"/containers/{host.id_of()}/restart")
    assert host.metrics.actions.value(action="container-update") == 1
    assert host.metrics.actions.value(action="container-restart") == 1
    assert host.metrics.triggers.value(type="docker", name="local", status="success") == 1
    assert host.updates.queue.running() == 0
    assert (
        'dd_update_duration_seconds_count{outcome="succeeded"} 1' in Registry(*host.metrics.families()).text().decode()
    )


async def test_the_preview_of_a_compose_service_shows_the_patch(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  web:\n    image: app:1\n")
    labels = {
        "com.docker.compose.project": "site",
        "com.docker.compose.service": "web",
        "com.docker.compose.project.working_dir": str(tmp_path),
        "com.docker.compose.project.config_files": str(file),
    }
    container = await host.container(Labels=labels)
    compose = (await host.api.post(f"/containers/{container}/preview")).json()["compose"]
    assert [one["path"] for one in compose["patches"]] == [str(file)]
    assert compose.pop("patch") == compose["patches"][0]
    assert compose.pop("patches")[0]["diff"].splitlines()[-2:] == ["-    image: app:1", "+    image: app:2"]
    assert compose == {
        "files": [str(file)],
        "paths": [str(file)],
        "service": "web",
        "mutation": {"intent": "update-compose-service-image", "dryRun": False, "willWrite": True},
    }
    assert file.read_text() == "services:\n  web:\n    image: app:1\n"


@pytest.mark.rows("C-225", "C-226")
async def test_preview(host: Host) -> None:
    host.engine.add_network("front")
    container = await host.container(HostConfig={"NetworkMode": "front"})
    before = (dict(host.engine.tags), host.engine.names())
    answer = await host.api.post(f"/containers/{container}/preview")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown["containerName"] == "web"
    assert shown["currentImage"] == "hub.public/library/app:1"
    assert shown["newImage"] == "app:2"
    assert shown["updateKind"] == (await host.api.get(f"/containers/{container}")).json()["updateKind"]
    assert (shown["isRunning"], shown["networks"]) == (True, ["front"])
    assert (dict(host.engine.tags), host.engine.names()) == before
    assert "pull" not in host.engine.calls
    assert (await host.api.get(f"/containers/{container}/update-operations")).json()["total"] == 0


@pytest.mark.rows("C-227", "C-228", "C-229", "C-230", "C-231", "C-232")
async def test_backups(host: Host) -> None:
    first = await host.container()
    other = await host.container("db")
    await host.update(first)
    await host.update(other)
    host.engine.add_image("app:3", local=False)
    await host.offer(host.id_of(), "3")
    await host.update(host.id_of())
    every = (await host.api.get("/containers/backups")).json()
    assert (every["total"], len(every["data"])) == (3, 3)
    own = (await host.api.get(f"/containers/{host.id_of()}/backups")).json()["data"]
    assert [backup["imageTag"] for backup in own] == ["2", "1"]
    oldest = own[-1]
    assert (oldest["containerId"], oldest["containerName"]) == (first, "web")
    assert (oldest["imageName"], oldest["triggerName"]) == ("app", "docker.local")
    assert oldest["imageDigest"].startswith("sha256:")
    assert oldest["timestamp"].endswith("Z")
    assert own[0]["timestamp"] > oldest["timestamp"]
    filtered = (await host.api.get("/containers/backups?containerName=db")).json()
    assert [backup["containerName"] for backup in filtered["data"]] == ["db"]
    assert (await host.api.get("/containers/backups?containerName=x")).json() == {"data": [], "total": 0}
    assert (await host.api.get(f"/containers/{MISSING}/backups")).status_code == 404


@pytest.mark.rows("C-233", "C-235", "C-324", "C-326", "C-245")
async def test_rollback_restores_the_image_even_when_its_tag_moved(host: Host) -> None:
    old_image = host.engine.tags["app:1"]
    container = await host.container(Env=["TZ=UTC"], Labels={"my.label": "x"})
    volume = host.now()["Mounts"][0]["Name"]
    await host.update(container)
    host.engine.add_image("app:1", {"Env": ["VERSION=moved"]})
    answer = await host.api.post(f"/containers/{host.id_of()}/rollback", headers=CONFIRM, json={})
    assert answer.status_code == 200, answer.text
    assert answer.json()["message"] == "Container rolled back successfully"
    assert answer.json()["backup"]["imageTag"] == "1"
    now = host.now()
    assert now["Image"] == old_image
    assert now["Config"]["Image"] == "app:1"
    assert "TZ=UTC" in now["Config"]["Env"]
    assert now["Config"]["Labels"]["my.label"] == "x"
    assert now["Mounts"][0]["Name"] == volume
    newest = (await host.api.get(f"/containers/{host.id_of()}/update-operations")).json()["data"][0]
    assert (newest["kind"], newest["status"], newest["rollbackReason"]) == (
        "container-rollback",
        "rolled-back",
        "Manual rollback",
    )
    assert (newest["fromVersion"], newest["toVersion"]) == ("2", "1")
    assert not [event for event in host.events if isinstance(event, UpdateFailed)]
    assert ("rollback", "success") in await audit(host)
    await host.offer(host.id_of(), "2")
    shown = (await host.api.get(f"/containers/{host.id_of()}")).json()
    assert shown["updateRollback"]["targetDigest"] == "2", shown
    blockers = {blocker["reason"]: blocker for blocker in shown["updateEligibility"]["blockers"]}
    assert blockers["last-update-rolled-back"]["severity"] == "soft"


@pytest.mark.rows("C-234")
async def test_rollback_to_a_chosen_backup(host: Host) -> None:
    oldest_image = host.engine.tags["app:1"]
    await host.update(await host.container())
    host.engine.add_image("app:3", local=False)
    await host.offer(host.id_of(), "3")
    await host.update(host.id_of())
    backups = (await host.api.get(f"/containers/{host.id_of()}/backups")).json()["data"]
    body = {"backupId": backups[-1]["id"]}
    answer = await host.api.post(f"/containers/{host.id_of()}/rollback", headers=CONFIRM, json=body)
    assert answer.status_code == 200
    assert host.now()["Image"] == oldest_image


@pytest.mark.rows("C-236", "C-237")
async def test_rollback_wants_a_confirmation_and_a_backup(host: Host) -> None:
    container = await host.container()
    for headers in ({}, {"X-DD-Confirm-Action": "yes"}):
        answer = await host.api.post(f"/containers/{container}/rollback", headers=headers)
        assert answer.status_code == 428
    none = await host.api.post(f"/containers/{container}/rollback", headers=CONFIRM)
    assert (none.status_code, none.json()["error"]) == (404, "No backups found for this container")
    unknown = await host.api.post(f"/containers/{container}/rollback", headers=CONFIRM, json={"backupId": "x"})
    assert (unknown.status_code, unknown.json()["error"]) == (404, "Backup not found for this container")
    assert host.id_of() == container


async def test_a_backup_of_another_container_is_not_found(host: Host) -> None:
    await host.update(await host.container())
    await host.update(await host.container("db"))
    backups = (await host.api.get("/containers/backups", params={"containerName": "db"})).json()["data"]
    body, before = {"backupId": backups[0]["id"]}, host.id_of()
    answer = await host.api.post(f"/containers/{before}/rollback", headers=CONFIRM, json=body)
    assert (answer.status_code, answer.json()["error"]) == (404, "Backup not found for this container")
    assert host.id_of() == before


async def test_an_engine_that_restarts_in_the_middle_is_waited_for(host: Host) -> None:
    """The stop is answered by nobody and the next calls fail: the old container is back once the Engine is."""
    container = await host.container(HostConfig={"RestartPolicy": {"Name": "always"}})

    class Away(Fault):
        left = 6

        def before(self, k: int, call: str) -> None:
            self.left -= call == "stop" or self.left < 6
            if 0 < self.left < 6:
                raise EngineUnreachable("Cannot connect to the Docker Engine")

    host.engine.fault = Away()
    found = await host.update(container)
    assert (found["status"], found["rollbackReason"]) == ("rolled-back", "Failed to stop the old container"), found
    assert host.id_of() == container
    assert host.engine.names() == {"web": "running"}
    assert host.now()["HostConfig"]["RestartPolicy"]["Name"] == "always"


async def test_a_backup_that_does_not_come_up_changes_nothing(host: Host) -> None:
    old_image = host.engine.tags["app:1"]
    await host.update(await host.container())
    current = host.now()["Image"]
    host.engine.images[old_image]["_behaviour"] = "unhealthy"
    answer = await host.api.post(f"/containers/{host.id_of()}/rollback", headers=CONFIRM)
    assert (answer.status_code, answer.json()["error"]) == (500, "Unable to complete container action")
    assert host.now()["Image"] == current
    newest = (await host.api.get(f"/containers/{host.id_of()}/update-operations")).json()["data"][0]
    assert (newest["status"], newest["phase"]) == ("failed", "failed")
    assert ("rollback", "error") in await audit(host)


@pytest.mark.rows("C-243", "C-323")
async def test_history_and_backups_survive_a_restart(tmp_path: Path) -> None:
    async with serve(tmp_path) as host:
        host.images()
        await host.update(await host.container())
        history = (await host.api.get(f"/containers/{host.id_of()}/update-operations")).json()
        backups = (await host.api.get("/containers/backups")).json()
        engine = host.engine
    async with serve(tmp_path, engine) as again:
        assert (await again.api.get(f"/containers/{again.id_of()}/update-operations")).json() == history
        assert (await again.api.get("/containers/backups")).json() == backups


# ── N. operations ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rows("C-242", "C-244", "C-246", "C-252", "C-256", "C-257", "C-327", "C-328")
async def test_history(host: Host) -> None:
    container = await host.container()
    await host.update(container)
    for tag in ("3", "4"):
        host.engine.add_image(f"app:{tag}", local=False)
        await host.offer(host.id_of(), tag)
        await host.update(host.id_of())
    path = f"/containers/{host.id_of()}/update-operations"
    found = (await host.api.get(path)).json()
    assert (found["total"], found["limit"], found["offset"], found["hasMore"]) == (3, 0, 0, False)
    assert "_links" not in found
    rows = found["data"]
    assert [row["toVersion"] for row in rows] == ["4", "3", "2"]
    assert [row["updatedAt"] for row in rows] == sorted((row["updatedAt"] for row in rows), reverse=True)
    first = rows[-1]
    assert (first["containerName"], first["containerId"]) == ("web", container)
    assert first["createdAt"] <= first["updatedAt"]
    assert (first["triggerName"], first["fromVersion"], first["toVersion"]) == ("docker.local", "1", "2")
    assert first["targetImage"] == "app:2"
    assert (await host.api.get(f"/update-operations/{first['id']}")).json() == first
    one = (await host.api.get(f"{path}?limit=1")).json()
    assert (one["data"], one["limit"], one["hasMore"]) == ([rows[0]], 1, True)
    assert one["_links"]["next"] == f"/api/v1{path}?limit=1&offset=1"
    assert (await host.api.get(f"{path}?limit=1&offset=1")).json()["data"] == [rows[1]]


PROMISED = ["prepare", "renamed", "new-created", "old-stopped", "new-started", "health-gate", "health-gate-passed"]


@pytest.mark.rows("C-248", "C-251", "C-329")
async def test_phases_in_order(host: Host) -> None:
    found = await host.update(await host.container())
    phases = host.phases(found["id"])
    assert [phase for phase in phases if phase != "pulling"] == [*PROMISED, "succeeded"]
    told = [
        event.operation["updatedAt"]
        for event in host.events
        if isinstance(event, OperationChanged) and event.operation["id"] == found["id"]
    ]
    assert told == sorted(told)
    assert (found["status"], found["phase"]) == ("succeeded", "succeeded")
    assert "rollbackReason" not in found
    assert "lastError" not in found


@pytest.mark.rows("C-249", "C-245", "C-253")
async def test_an_unhealthy_image_is_rolled_back(tmp_path: Path) -> None:
    async with serve(tmp_path) as host:
        host.images("unhealthy")
        container = await host.container()
        found = await host.update(container)
        assert (found["status"], found["phase"], found["rollbackReason"]) == (
            "rolled-back",
            "rolled-back",
            "Health check failed",
        )
        assert "lastError" not in found
        assert host.phases(found["id"])[-2:] == ["rollback-started", "rolled-back"]
        assert host.id_of() == container
        assert [event.error for event in host.events if isinstance(event, UpdateFailed)]
        again = await host.api.post(f"/containers/{container}/update")
        assert again.status_code == 409
        shown = (await host.api.get(f"/containers/{container}")).json()
        assert shown["updateRollback"]["targetDigest"] == "2"


@pytest.mark.rows("C-249", "C-254", "C-329", "C-247")
async def test_a_rollback_that_fails_ends_rollback_failed(host: Host) -> None:
    container = await host.container()

    async def refuse(ref: str) -> None:
        from drydock.core.errors import EngineError

        raise EngineError("refused", engine_status=500)

    host.engine.start_container = refuse  # type: ignore[method-assign]
    found = await host.update(container)
    assert (found["status"], found["phase"]) == ("failed", "rollback-failed")
    assert "refused" in found["lastError"]


@pytest.mark.rows("C-250")
async def test_a_stuck_operation_expires_silently(tmp_path: Path) -> None:
    async with serve(tmp_path) as host:
        host.images()
        container = await host.container()
        engine, old = host.engine, host.clock.now_ms() - 2_000_000
        stuck = Operation(
            id="stuck",
            container_id=container,
            container_name="web",
            status="in-progress",
            phase="pulling",
            created_at=old,
            updated_at=old,
            watcher="local",
            wanted=ImageWanted(reference="app:2"),
        )
        await host.store.operations.save(stuck)
    async with serve(tmp_path, engine) as host:
        found = await host.ended("stuck")
        assert (found["status"], found["phase"]) == ("expired", "expired")
        assert "exceeding active update TTL (1800000ms) while in progress" in found["detail"]
        assert not [event for event in host.events if isinstance(event, UpdateFailed)]


@pytest.mark.rows("C-255", "C-259", "C-260")
async def test_unknown_operations(host: Host) -> None:
    assert (await host.api.get(f"/containers/{MISSING}/update-operations")).status_code == 404
    for path in ("/update-operations/", "/update-operations", "/update-operations/%20"):
        answer = await host.api.get(path)
        assert (answer.status_code, answer.json()["error"]) == (400, "Operation id is required"), path
    answer = await host.api.get("/update-operations/nope")
    assert (answer.status_code, answer.json()["error"]) == (404, "Update operation not found")


@pytest.mark.rows("C-261", "C-262", "C-263", "C-330", "C-117")
async def test_cancelling_a_queued_update(tmp_path: Path) -> None:
    async with serve(tmp_path, max_concurrent=1) as host:
        host.images()
        first, second = await host.container(), await host.container("db")
        hold = hold_pull(host)
        running = (await host.api.post(f"/containers/{first}/update")).json()["operationId"]
        await hold.reached.wait()
        waiting = (await host.api.post(f"/containers/{second}/update")).json()["operationId"]
        again = await host.api.post(f"/containers/{second}/update")
        assert (again.status_code, again.json()["error"]) == (409, "Container update already queued")
        answer = await host.api.post(f"/operations/{waiting}/cancel")
        assert answer.status_code == 200
        body = answer.json()
        assert (body["id"], body["status"], body["phase"]) == (waiting, "failed", "failed")
        assert body["lastError"] == "Cancelled by operator"
        assert body["data"] == {key: value for key, value in body.items() if key != "data"}
        repeat = await host.api.post(f"/operations/{waiting}/cancel")
        assert (repeat.status_code, repeat.json()["status"]) == (409, "failed")
        hold.go.set()
        await host.ended(running)
        await host.ended(waiting)
        assert host.id_of("db") == second
        assert ("update-cancelled", "info") in await audit(host)
        assert not [event for event in host.events if isinstance(event, UpdateFailed)]


@pytest.mark.rows("C-264", "C-265", "C-330")
async def test_cancelling_during_the_pull(host: Host) -> None:
    container = await host.container()
    hold = hold_pull(host)
    operation = (await host.api.post(f"/containers/{container}/update")).json()["operationId"]
    await hold.reached.wait()
    for _ in range(2):
        answer = await host.api.post(f"/operations/{operation}/cancel")
        assert answer.status_code in (202, 409)
    found = await host.ended(operation)
    assert (found["status"], found["lastError"]) == ("failed", "Cancelled by operator")
    assert found["cancelRequested"] is True
    assert host.engine.names() == {"web": "running"}
    assert host.id_of() == container


@pytest.mark.rows("C-265")
async def test_cancelling_before_the_old_one_stops_rolls_back(host: Host) -> None:
    container = await host.container()
    hold = Hold(host.engine, "create_container")
    operation = (await host.api.post(f"/containers/{container}/update")).json()["operationId"]
    await hold.reached.wait()
    answer = await host.api.post(f"/operations/{operation}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "in-progress")
    assert answer.json()["cancelRequested"] is True
    hold.go.set()
    found = await host.ended(operation)
    assert (found["status"], found["rollbackReason"]) == ("rolled-back", "Cancelled by operator")
    assert host.engine.names() == {"web": "running"}
    assert host.id_of() == container
    assert "updateRollback" not in (await host.api.get(f"/containers/{container}")).json()


@pytest.mark.rows("C-266", "C-267", "C-268")
async def test_cancelling_what_is_over(host: Host) -> None:
    found = await host.update(await host.container())
    answer = await host.api.post(f"/operations/{found['id']}/cancel")
    assert answer.status_code == 409
    assert answer.json() == {"error": "Operation is not active", "status": "succeeded"}
    unknown = await host.api.post("/operations/nope/cancel")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "Operation not found")


# ── bulk and chains ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_bulk_judges_each(host: Host) -> None:
    first, second = await host.container(), await host.container("db")
    current = await host.container("idle", to=None)
    body = {"containerIds": [first, f" {second} ", current, MISSING, 5, first]}
    answer = (await host.api.post("/containers/update", json=body)).json()
    assert answer["message"] == "Container update requests processed"
    assert {entry["containerName"] for entry in answer["accepted"]} == {"web", "db"}
    assert {(entry["containerId"], entry["statusCode"]) for entry in answer["rejected"]} == {
        (current, 400),
        (MISSING, 404),
    }
    for entry in answer["accepted"]:
        assert (await host.ended(entry["operationId"]))["status"] == "succeeded"
    assert (await host.api.post("/containers/update", json={"containerIds": "x"})).status_code == 400


async def test_two_images_for_one_service_of_a_file_are_refused(tmp_path: Path) -> None:
    compose = Action(type="dockercompose", name="x", auto="all")
    labels = {"com.docker.compose.project": "site", "com.docker.compose.service": "web"}
    async with serve(tmp_path, actions=(compose,)) as host:
        host.images()
        ids = [await host.container(name, Labels=labels, to=to) for name, to in (("web-1", "2"), ("web-2", "3"))]
        answer = (await host.api.post("/containers/update", json={"containerIds": ids})).json()
        assert [one["containerId"] for one in answer["accepted"]] == ids[:1]
        message = "Conflicting compose image updates for service web (app:2 vs app:3)"
        assert [(one["statusCode"], one["message"]) for one in answer["rejected"]] == [(409, message)]
        await host.ended(answer["accepted"][0]["operationId"])


async def test_a_chain_is_updated_in_order_and_stops_where_it_breaks(host: Host) -> None:
    host.engine.add_image("bad:1")
    host.engine.add_image("bad:2", behaviour="exits", local=False)
    db = await host.container("db", image="bad:1")
    api = await host.container("api", Labels={"dd.depends_on": "db"})
    await host.container("solo")
    preview = (await host.api.post(f"/containers/{api}/update-chain-preview")).json()
    assert [[one["name"] for one in wave["containers"]] for wave in preview["waves"]] == [["db"], ["api"]]
    graph = (await host.api.get("/containers/dependencies")).json()
    assert graph["edges"] == [{"from": api, "to": db, "action": "update", "source": "label"}]
    path, confirm = f"/dependency-groups/{api}/update", {"X-DD-Confirm-Action": "dependency-group-update"}
    assert (await host.api.post(path)).status_code == 428
    stale = await host.api.post(path, headers=confirm, json={"expectedContainerIds": [db]})
    assert stale.status_code == 409
    assert stale.json()["details"]["currentContainerIds"] == sorted([api, db])
    answer = (await host.api.post(path, headers=confirm, json={"expectedContainerIds": [db, api]})).json()
    assert [(e["containerName"], e["wave"], e["actionKind"]) for e in answer["accepted"]] == [
        ("db", 0, "update"),
        ("api", 1, "update"),
    ]
    ids = {entry["containerName"]: entry["operationId"] for entry in answer["accepted"]}
    await until(lambda: not host.updates.queue.journal.active())
    assert (await host.api.get(f"/update-operations/{ids['db']}")).json()["status"] == "rolled-back"
    skipped = (await host.api.get(f"/update-operations/{ids['api']}")).json()
    assert (skipped["status"], skipped["skippedDependencyReason"]) == ("skipped-dependency", "upstream-failed")
    assert skipped["blockingContainerId"] == db


async def test_one_replica_of_a_service_stands_for_all_where_the_action_wants_that(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  web:\n    image: app:1\n")
    labels = {
        "com.docker.compose.project": "site",
        "com.docker.compose.service": "web",
        "com.docker.compose.project.working_dir": str(tmp_path),
        "com.docker.compose.project.config_files": str(file),
    }
    once = Action(type="dockercompose", name="x", auto="all", compose_file_once=True)
    async with serve(tmp_path, actions=(once,)) as host:
        host.images()
        ids = [await host.container(name, Labels=labels) for name in ("web-1", "web-2")]
        answer = (await host.api.post("/containers/update", json={"containerIds": ids})).json()
        rows = [await host.ended(entry["operationId"]) for entry in answer["accepted"]]
        assert [row["status"] for row in rows] == ["succeeded", "succeeded"]
        assert ["warnings" in row for row in rows] == [False, True]
        assert host.now("web-1")["Config"]["Image"] == "app:2"
        assert host.now("web-2")["Config"]["Image"] == "app:1"
        assert ("compose-updated", "success") in await audit(host)
    assert file.read_text() == "services:\n  web:\n    image: app:2\n"


# ── recovery behind the API ─────────────────────────────────────────────────────────────────────────────────────────


class Died(BaseException):
    """The process is gone."""


async def test_a_process_that_dies_in_the_middle_is_recovered_at_the_next_start(tmp_path: Path) -> None:
    async with serve(tmp_path) as host:
        host.images()
        container = await host.container()
        hold = Hold(host.engine, "start_container")
        operation = (await host.api.post(f"/containers/{container}/update")).json()["operationId"]
        await hold.reached.wait()
        engine = host.engine
        for task in asyncio.all_tasks():
            if task.get_name() == f"update:{operation}":
                task.cancel()
        hold.go.set()
    del engine.__dict__["start_container"]
    assert any("-old-" in name for name in engine.names())
    async with serve(tmp_path, engine) as host:
        found = await host.ended(operation)
        assert found["status"] in ("succeeded", "rolled-back")
        assert found["recovery"] in ("rolled-forward", "restored-old")
        assert engine.names() == {"web": "running"}


async def test_automatic_updates_follow_mode_and_labels(tmp_path: Path) -> None:
    async with serve(tmp_path, mode="auto") as host:
        host.images()
        plain = await host.container("plain")
        wanted = await host.container(Labels={"dd.action.include": "docker.local"})
        assert await host.updates.automatic.consider(plain) is None
        operation = await host.updates.automatic.consider(wanted)
        assert operation is not None
        assert (await host.ended(operation.id))["status"] == "succeeded"


async def test_an_automatic_attempt_is_made_once_per_candidate(tmp_path: Path) -> None:
    async with serve(tmp_path, mode="auto") as host:
        host.images("exits", check=False)
        container = await host.container(Labels={"dd.action.include": "local", "dd.update.rollback-gate": "off"})
        operation = await host.updates.automatic.consider(container)
        assert operation is not None
        assert (await host.ended(operation.id))["status"] == "rolled-back"
        assert await host.updates.automatic.consider(container) is None


async def test_a_sick_container_goes_back_by_itself_within_its_window(host: Host) -> None:
    labels = {"dd.rollback.auto": "true", "dd.rollback.window": "200000", "dd.rollback.interval": "60000"}
    container = await host.container(Labels=labels)
    old_image = host.now()["Image"]
    fresh = host.engine.remote["app:2"]
    found = await host.update(container)
    assert found["status"] == "succeeded"
    host.engine.images[fresh]["_behaviour"] = "unhealthy"
    host.clock.advance(60)
    await until(lambda: (host.engine.by_name("web") or {}).get("Image") == old_image)
    await until(lambda: host.updates.queue.idle())
    newest = (await host.api.get(f"/containers/{host.id_of()}/update-operations")).json()["data"][0]
    assert newest["rollbackReason"] == "Health check failed after the update"
    assert ("auto-rollback", "success") in await audit(host)


@pytest.mark.parametrize("sick", [True, False])
async def test_where_nobody_runs_health_checks_the_monitor_has_them_run(tmp_path: Path, sick: bool) -> None:
    labels = {"dd.rollback.auto": "true", "dd.rollback.window": "400000", "dd.rollback.interval": "40000"}
    async with serve(tmp_path, FakeEngine(SkippingClock(longest_s=39), podman=True)) as host:
        host.images()
        container = await host.container(Labels=labels)
        old_image, fresh = host.now()["Image"], host.engine.remote["app:2"]
        host.engine.exec_codes["true"] = 0
        found = await host.update(container)
        assert found["status"] == "succeeded", found
        if sick:
            host.engine.images[fresh]["_behaviour"] = "unhealthy"
        await host.monitored(found["id"], 40)
        await until(lambda: (host.engine.by_name("web") or {}).get("Image") == (old_image if sick else fresh))
        assert host.engine.calls.count("health_check") >= 3
        await until(lambda: host.updates.queue.idle())
        newest = (await host.api.get(f"/containers/{host.id_of()}/update-operations")).json()["data"][0]
        assert newest["status"] == ("rolled-back" if sick else "succeeded")


async def test_health_that_was_never_decided_is_not_called_stable(tmp_path: Path) -> None:
    labels = {"dd.rollback.auto": "true", "dd.rollback.window": "100000", "dd.rollback.interval": "50000"}
    async with serve(tmp_path) as host:
        host.images("slow")
        container = await host.container(Labels=labels)
        found = await host.update(container)
        host.engine.checks_hang = True
        host.engine.containers[host.id_of()]["State"]["Health"] = {"Status": "starting"}
        await host.monitored(found["id"], 50)
        shown = (await host.api.get(f"/update-operations/{found['id']}")).json()
        assert "not known to be healthy" in shown["warnings"][0]


async def test_orphans_of_a_lost_store_are_brought_back(tmp_path: Path) -> None:
    async with serve(tmp_path) as host:
        host.images()
        await host.container()
        engine = host.engine
    engine.by_name("web")["Name"] = "/web-old-1700000000000"  # type: ignore[index]
    async with serve(tmp_path / "fresh", engine) as host:
        await until(lambda: engine.names() == {"web": "running"})


def test_the_local_action_is_what_the_checklist_calls_it() -> None:
    assert LOCAL.id == "docker.local"


async def entries(host: Host, *actions: str) -> list[dict[str, Any]]:
    """Audit entries of these actions, oldest first."""
    answer = await host.api.get(f"/audit?actions={','.join(actions)}")
    found: list[dict[str, Any]] = answer.json()["data"]
    return found[::-1]


@pytest.mark.rows("C-071")
async def test_each_step_of_an_update_is_audited_once_with_who_asked(tmp_path: Path) -> None:
    async with serve(tmp_path) as host:
        host.images()
        id = await host.container()
        await host.update(id)
        found = await entries(host, "update-queued", "update-applied", "update-failed", "rollback")
        assert [one["action"] for one in found] == ["update-queued", "update-applied"]
        assert all(one["ip"] == "127.0.0.1" for one in found)
        assert found[1]["containerIdentityKey"] == "::local::web"
        assert (found[1]["fromVersion"], found[1]["toVersion"]) == ("1", "2")
        statuses = (await host.api.get("/containers/recent-status")).json()
        assert statuses["statuses"] == {"web": "updated"}
        assert statuses["statusesByIdentity"] == {"::local::web": "updated"}


@pytest.mark.rows("C-073")
async def test_a_failed_update_is_audited_once(tmp_path: Path) -> None:
    async with serve(tmp_path) as host:
        host.images("unhealthy")
        id = await host.container()
        answer = await host.api.post(f"/containers/{id}/update")
        await host.ended(answer.json()["operationId"])
        found = await entries(host, "update-queued", "update-applied", "update-failed", "rollback")
        assert [one["action"] for one in found] == ["update-queued", "update-failed", "rollback"]
        statuses = (await host.api.get("/containers/recent-status")).json()
        assert statuses["statuses"] == {"web": "failed"}


async def test_of_two_who_ask_at_once_one_is_admitted(host: Host) -> None:
    id = await host.container()
    hold = hold_pull(host)
    answers = await asyncio.gather(*(host.api.post(f"/containers/{id}/update") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    rows = (await host.api.get(f"/containers/{id}/update-operations")).json()["data"]
    assert len(rows) == 1
    hold.go.set()
    await host.ended(rows[0]["id"])
