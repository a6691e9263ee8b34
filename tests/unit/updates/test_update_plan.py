"""The update of one container, phase by phase, and every failure row of updates.md §5.2."""

from __future__ import annotations

import pytest

from drydock.core.errors import EngineError
from drydock.core.operation import OPERATION_LABEL, Operation, public
from drydock.updates.plan.health_gate import NOTE
from fakes.engine import Fault
from fakes.update_harness import CHECK, NEW, OLD, UpdateHarness


class FailOn(Fault):
    """Fail the nth call of one kind."""

    def __init__(self, call: str, *, nth: int = 1, times: int = 1) -> None:
        self.wanted, self.nth, self.left, self.seen = call, nth, times, 0

    def before(self, k: int, call: str) -> None:
        if call != self.wanted or self.left == 0:
            return
        self.seen += 1
        if self.seen >= self.nth:
            self.left -= 1
            raise EngineError(f"{call} refused", engine_status=500)


class Recovering(Fault):
    """What runs inside is well `after` so many probes."""

    def __init__(self, harness: UpdateHarness, after: int) -> None:
        self.harness, self.left = harness, after

    def before(self, k: int, call: str) -> None:
        if call == "exec":
            self.left -= 1
            if self.left < 0:
                self.harness.engine.exec_codes["true"] = 0


async def updated(harness: UpdateHarness, behaviour: str = "runs", **document: object) -> Operation:
    harness.engine.add_image("app:1", {**OLD, **CHECK})
    harness.engine.add_image("app:2", {**NEW, **CHECK}, behaviour=behaviour, local=False)
    container = await harness.container(**document)
    return await harness.run(await harness.accept(container))


def assert_old_is_back(harness: UpdateHarness) -> None:
    assert harness.engine.names() == {"web": "running"}
    web = harness.engine.by_name("web")
    assert web is not None
    assert web["Config"]["Image"] == "app:1"
    assert harness.broken == []


async def test_the_happy_path(harness: UpdateHarness) -> None:
    row = await updated(harness, HostConfig={"RestartPolicy": {"Name": "always"}})
    assert harness.phases(row) == [
        "queued",
        "pulling",
        "prepare",
        "renamed",
        "new-created",
        "old-stopped",
        "new-started",
        "health-gate",
        "health-gate-passed",
        "succeeded",
    ]
    web = harness.engine.by_name("web")
    assert web is not None
    assert web["Config"]["Image"] == "app:2"
    assert web["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert harness.engine.names() == {"web": "running"}
    assert harness.broken == []
    assert row.new_container_id == web["Id"]


async def test_a_plain_update_needs_14_calls_with_pull_and_stop_even_the_first(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, local=False)
    harness.engine.add_network("front")
    container = await harness.container(HostConfig={"NetworkMode": "front", "RestartPolicy": {"Name": "always"}})
    await harness.container("other")
    await harness.watch()
    harness.engine.calls.clear()
    row = await harness.run(await harness.accept(container))
    assert row.status == "succeeded"
    before = ["inspect", "inspect_image", "pull", "inspect_image", "inspect", "list", "tag"]
    swap = ["rename", "create", "update", "stop", "start", "inspect", "remove"]
    assert harness.engine.calls == [*before, *swap]


async def test_what_an_update_saw_of_the_new_container_is_told(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, local=False)
    outcome = await harness.worker.run(await harness.accept(await harness.container()))
    row, container, image = outcome.row, outcome.container, outcome.image
    assert container is not None
    assert image is not None
    assert (container["Id"], container["Image"]) == (row.new_container_id, row.target_image_id)
    assert image["Id"] == row.target_image_id


async def test_a_network_is_asked_for_where_nothing_lives_on_it(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW)
    harness.engine.add_network("front")
    container = await harness.container(HostConfig={"NetworkMode": "front"}, start=False)
    harness.engine.networks.pop("front")
    row = await harness.run(await harness.accept(container))
    assert (row.status, row.phase) == ("failed", "failed")
    assert "Network front no longer exists" in (row.last_error or "")
    assert harness.engine.names() == {"web": "created"}


async def test_the_old_image_stays_available(harness: UpdateHarness) -> None:
    await updated(harness)
    harness.engine.prune_images()
    tags = [tag for tag in harness.engine.tags if tag.startswith("drydock-backup/web:")]
    assert len(tags) == 1
    assert harness.engine.tags[tags[0]] == harness.engine.tags["app:1"]


async def test_an_unhealthy_image_is_rolled_back(harness: UpdateHarness) -> None:
    row = await updated(harness, "unhealthy")
    assert (row.status, row.phase, row.rollback_code) == ("rolled-back", "rolled-back", "health_gate_failed")
    assert public(row)["rollbackReason"] == "Health check failed"
    assert "lastError" not in public(row)
    assert_old_is_back(harness)


@pytest.mark.parametrize(("code", "status"), [(0, "succeeded"), (1, "rolled-back")])
async def test_where_nobody_runs_the_health_check_the_gate_does(code: int, status: str) -> None:
    harness = UpdateHarness(podman=True)
    harness.engine.exec_codes["true"] = code
    row = await updated(harness)
    assert row.status == status
    assert row.warnings == [NOTE]
    assert harness.engine.calls.count("exec") > 1 if code else harness.engine.calls.count("exec") == 1
    if code:
        assert row.last_error == "Health gate failed: container web reported unhealthy"
        assert_old_is_back(harness)


async def test_a_check_that_fails_at_first_has_its_start_period() -> None:
    harness = UpdateHarness(podman=True)
    harness.engine.exec_codes["true"] = 1
    harness.engine.fault = Recovering(harness, after=4)
    assert (await updated(harness)).status == "succeeded"
    assert harness.engine.calls.count("exec") == 5


@pytest.mark.parametrize("behaviour", ["exits", "no-start"])
async def test_an_image_that_does_not_run_is_rolled_back(harness: UpdateHarness, behaviour: str) -> None:
    row = await updated(harness, behaviour)
    assert (row.status, row.rollback_code) == ("rolled-back", "start_new_failed")
    assert_old_is_back(harness)


async def test_a_missing_command_is_explained(harness: UpdateHarness) -> None:
    row = await updated(harness, "no-start")
    assert "Review Entrypoint/Cmd overrides" in (row.last_error or "")


FAILURES = [
    ("inspect", "failed", None),
    ("pull", "failed", None),
    ("info", "succeeded", None),
    ("list", "failed", None),
    ("tag", "failed", None),
    ("rename", "failed", None),
    ("create", "rolled-back", "create_new_failed"),
    ("update", "rolled-back", "stop_old_failed"),
    ("stop", "rolled-back", "stop_old_failed"),
    ("start", "rolled-back", "start_new_failed"),
    ("remove", "succeeded", None),
]


@pytest.mark.parametrize(("call", "status", "code"), FAILURES)
async def test_a_step_that_fails(harness: UpdateHarness, call: str, status: str, code: str | None) -> None:
    harness.engine.fault = FailOn(call)
    row = await updated(harness, HostConfig={"RestartPolicy": {"Name": "always"}})
    assert (row.status, row.rollback_code) == (status, code)
    if status == "succeeded":
        assert harness.engine.names() == {"web": "running"}
    else:
        assert_old_is_back(harness)
        web = harness.engine.by_name("web")
        assert web is not None
        assert web["HostConfig"]["RestartPolicy"]["Name"] == "always"


async def test_a_failed_pull_has_its_own_phase(harness: UpdateHarness) -> None:
    harness.engine.fault = FailOn("pull")
    assert (await updated(harness)).phase == "pull-failed"


async def test_an_old_container_that_cannot_be_removed_never_undoes_a_good_update(harness: UpdateHarness) -> None:
    harness.engine.fault = FailOn("remove", times=99)
    row = await updated(harness)
    assert row.status == "succeeded"
    assert row.warnings
    assert harness.engine.names()["web"] == "running"


async def test_a_rollback_that_fails_says_so_and_is_retried_later(harness: UpdateHarness) -> None:
    harness.engine.fault = FailOn("start", times=99)
    row = await updated(harness)
    assert (row.status, row.phase) == ("failed", "rollback-failed")
    assert "start refused" in (row.last_error or "")
    harness.engine.fault = Fault()
    harness.restart()
    await harness.recover_all()
    again = await harness.rows.get(row.id)
    assert again is not None
    assert (again.status, again.phase, again.recovery) == ("failed", "rollback-failed", "restored-old")
    assert_old_is_back(harness)


async def test_a_stopped_container_stays_stopped(harness: UpdateHarness) -> None:
    row = await updated(harness, start=False)
    assert row.status == "succeeded"
    assert harness.engine.names() == {"web": "created"}
    assert "old-stopped" not in harness.phases(row)


async def test_without_health_check_there_is_no_gate(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, local=False)
    row = await harness.run(await harness.accept(await harness.container()))
    assert row.status == "succeeded"
    assert "health-gate" not in harness.phases(row)


async def test_an_auto_remove_container_is_replaced_and_can_be_rebuilt(harness: UpdateHarness) -> None:
    harness.may_vanish.add("web")
    row = await updated(harness, "unhealthy", HostConfig={"AutoRemove": True})
    assert row.status == "rolled-back"
    assert row.recovery == "rebuilt-from-spec"
    assert_old_is_back(harness)


async def test_anonymous_volumes_survive_a_rebuild(harness: UpdateHarness) -> None:
    harness.may_vanish.add("web")
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, behaviour="exits", local=False)
    container = await harness.container(HostConfig={"AutoRemove": True})
    volume = harness.engine.containers[container]["Mounts"][0]["Name"]
    await harness.run(await harness.accept(container))
    web = harness.engine.by_name("web")
    assert web is not None
    assert web["Mounts"][0]["Name"] == volume
    assert volume in harness.engine.volumes


async def test_an_engine_that_cannot_change_restart_policies() -> None:
    harness = UpdateHarness(restart_policy_updates=False)
    row = await updated(harness, HostConfig={"RestartPolicy": {"Name": "always"}})
    assert row.status == "succeeded"
    assert harness.around.notices[0][0] == "restart-policy-kept"


async def test_a_fixed_address_is_free_before_the_new_one_starts(harness: UpdateHarness) -> None:
    harness.engine.add_network("front")
    facts = {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["www"]}
    network = {"EndpointsConfig": {"front": facts}}
    row = await updated(harness, HostConfig={"NetworkMode": "front"}, NetworkingConfig=network)
    assert row.status == "succeeded"
    web = harness.engine.by_name("web")
    assert web is not None
    assert web["NetworkSettings"]["Networks"]["front"]["IPAMConfig"] == {"IPv4Address": "10.1.0.9"}
    assert "www" in web["NetworkSettings"]["Networks"]["front"]["Aliases"]


async def test_dependents_of_a_shared_network_are_created_anew(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, local=False)
    harness.engine.add_image("side:1")
    container = await harness.container()
    await harness.container("side", image="side:1", HostConfig={"NetworkMode": f"container:{container}"})
    row = await harness.run(await harness.accept(container))
    assert row.status == "succeeded"
    assert harness.engine.names() == {"web": "running", "side": "running"}
    side = harness.engine.by_name("side")
    assert side is not None
    assert side["HostConfig"]["NetworkMode"] == f"container:{row.new_container_id}"
    assert not (await harness.rows.get(row.id)).dependents_due  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["NetworkMode", "IpcMode", "PidMode"])
@pytest.mark.parametrize("podman", [False, True])
async def test_every_shared_namespace_makes_a_dependent(field: str, podman: bool) -> None:
    harness = UpdateHarness(podman=podman)
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, local=False)
    harness.engine.add_image("side:1")
    container = await harness.container()
    await harness.container("side", image="side:1", HostConfig={field: f"container:{container}"})
    await harness.container("alone", image="side:1")
    alone = harness.engine.by_name("alone")
    row = await harness.run(await harness.accept(container))
    assert (row.status, [one.name for one in row.dependents]) == ("succeeded", ["side"])
    assert harness.engine.names() == {"web": "running", "side": "running", "alone": "running"}
    assert harness.engine.by_name("side")["HostConfig"][field] == f"container:{row.new_container_id}"  # type: ignore[index]
    assert harness.engine.by_name("alone") == alone


async def test_what_a_container_hangs_on_is_asked_once(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW)
    harness.engine.add_image("app:3", NEW)
    others = [await harness.container(f"other{n}") for n in range(5)]
    first = await harness.run(await harness.accept(await harness.container()))
    before = harness.engine.calls.count("inspect")
    harness.engine.calls.clear()
    await harness.run(await harness.accept(first.new_container_id or "", "app:3"))
    assert before - harness.engine.calls.count("inspect") == len(others)


async def test_dependents_are_left_alone_when_the_update_is_rolled_back(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, behaviour="exits", local=False)
    harness.engine.add_image("side:1")
    container = await harness.container()
    side = await harness.container("side", image="side:1", HostConfig={"NetworkMode": f"container:{container}"})
    row = await harness.run(await harness.accept(container))
    assert row.status == "rolled-back"
    assert harness.engine.containers[side]["State"]["Running"]


async def test_a_dry_run_only_pulls(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW, local=False)
    container = await harness.container()
    row = await harness.run(await harness.accept(container, dry_run=True))
    assert (row.status, row.phase) == ("succeeded", "dryrun")
    assert harness.engine.by_name("web")["Id"] == container  # type: ignore[index]


async def test_the_same_image_again_changes_nothing(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    container = await harness.container()
    row = await harness.run(await harness.accept(container, "app:1"))
    assert (row.status, row.recovery) == ("succeeded", "nothing-to-do")
    assert harness.engine.by_name("web")["Id"] == container  # type: ignore[index]


async def test_refusals_leave_everything_untouched(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW)
    swarm = await harness.container("task", Labels={"com.docker.swarm.task.id": "x"})
    row = await harness.run(await harness.accept(swarm))
    assert (row.status, row.last_error) == ("failed", "Container is managed by Docker Swarm")
    temporary = await harness.container("web-old-1700000000000")
    row = await harness.run(await harness.accept(temporary))
    assert "docker rename web-old-1700000000000 web" in (row.last_error or "")


async def test_a_missing_network_is_found_before_any_change(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW)
    harness.engine.add_network("gone")
    container = await harness.container(HostConfig={"NetworkMode": "gone"})
    del harness.engine.networks["gone"]
    row = await harness.run(await harness.accept(container))
    assert row.status == "failed"
    assert "Network gone no longer exists" in (row.last_error or "")
    assert harness.engine.names() == {"web": "running"}


async def test_an_image_for_another_platform_is_refused(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    wrong = harness.engine.add_image("app:2", NEW)
    harness.engine.images[wrong]["Architecture"] = "arm64"
    row = await harness.run(await harness.accept(await harness.container()))
    assert row.status == "failed"
    assert 'image architecture "arm64" is not compatible' in (row.last_error or "")


async def test_a_full_disk_before_a_step_undoes_what_was_done(harness: UpdateHarness) -> None:
    writes = 0

    def full() -> None:
        nonlocal writes
        writes += 1
        if writes >= 14:
            raise OSError("No space left on device")

    harness.rows.before = full
    row = await updated(harness)
    assert row.status == "rolled-back"
    assert_old_is_back(harness)


async def test_an_update_that_comes_too_late_expires_in_silence(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW)
    container = await harness.container()
    second = await harness.accept(container)
    assert (await harness.run(await harness.accept(container))).status == "succeeded"
    late = await harness.run(second)
    assert (late.status, late.phase) == ("expired", "expired")
    assert late.last_error == "Container web no longer exists"


async def test_a_container_that_vanished_without_reason_is_a_failure(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW)
    container = await harness.container()
    second = await harness.accept(container)
    assert (await harness.run(await harness.accept(container))).status == "succeeded"
    harness.clock.advance(15 * 60 + 1)
    assert (await harness.run(second)).status == "failed"


async def test_a_second_manager_is_refused_for_ten_minutes(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1", OLD)
    harness.engine.add_image("app:2", NEW)
    container = await harness.container(Labels={OPERATION_LABEL: "somebody-else"})
    row = await harness.run(await harness.accept(container))
    assert row.status == "failed"
    assert "only one may manage a host" in (row.last_error or "")
    assert harness.engine.names() == {"web": "running"}
    harness.clock.advance(10 * 60)
    assert (await harness.run(await harness.accept(container))).status == "succeeded"
