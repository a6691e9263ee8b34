"""Every scenario × every effect × every way to go wrong, then a restart: the invariants of updates.md §0 must hold.

The faults sit around each call to the Engine, each write of the journal and each write of a file. After the fault the
manager is gone (or goes on, when only a call failed); a new one recovers. A tenth of the cases runs by default
(`kit/matrix.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from itertools import product
from typing import Any

import pytest

from drydock.core.errors import EngineError, EngineUnreachable
from drydock.core.operation import OPERATION_LABEL, ImageWanted, Operation
from fakes.engine import Fault
from fakes.update_harness import CHECK, NEW, OLD, UpdateHarness
from kit.matrix import Matrix

Document = dict[str, Any]


class Killed(BaseException):
    """The manager's process is gone."""


class Faults(Fault):
    """Fires once, at point number `k`, in one of the modes."""

    def __init__(self, harness: UpdateHarness, k: int = 0, mode: str = "none") -> None:
        self.harness, self.k, self.mode, self.count = harness, k, mode, 0
        self.fired = False
        self.early = False

    def install(self) -> None:
        self.harness.engine.fault = self
        self.harness.rows.before = self.harness.before_write = lambda: self._enter(disk=True)  # type: ignore[method-assign]
        self.harness.rows.after = self.harness.after_write = self._leave  # type: ignore[method-assign]

    def before(self, k: int, call: str) -> None:
        self._enter(disk=False)

    def after(self, k: int, call: str) -> None:
        self._leave()

    def _due(self, *modes: str) -> bool:
        if self.fired or self.count != self.k or self.mode not in modes:
            return False
        self.fired, self.early = True, untouched(self.harness)
        return True

    def _enter(self, *, disk: bool) -> None:
        self.count += 1
        if self._due("kill-before"):
            raise Killed
        if disk:
            if self._due("fail", "lost-undone", "lost-done", "engine-dies", "both-die"):
                raise OSError("No space left on device")
            return
        if self._due("fail"):
            raise EngineError("refused", engine_status=500)
        if self._due("lost-undone"):
            raise EngineUnreachable("no answer")
        if self.mode in ("engine-dies", "both-die") and self._due(self.mode):
            self.harness.engine.crash()
            raise Killed if self.mode == "both-die" else EngineUnreachable("connection reset")

    def _leave(self) -> None:
        if self._due("kill-after"):
            raise Killed
        if self._due("lost-done"):
            raise EngineUnreachable("no answer")


MODES = ("kill-before", "kill-after", "fail", "lost-undone", "lost-done", "engine-dies", "both-die")

Setup = Callable[[UpdateHarness], Awaitable[list[Operation]]]
SCENARIOS: dict[str, Setup] = {}


def scenario(setup: Setup) -> Setup:
    SCENARIOS[setup.__name__] = setup
    return setup


def images(harness: UpdateHarness, behaviour: str = "runs", check: bool = True) -> None:
    more = CHECK if check else {}
    harness.engine.add_image("app:1", {**OLD, **more})
    harness.engine.add_image("app:2", {**NEW, **more}, behaviour=behaviour, local=False)


ALWAYS = {"RestartPolicy": {"Name": "always"}}


@scenario
async def plain(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    return [await harness.accept(await harness.container(HostConfig=ALWAYS))]


@scenario
async def no_health_check(harness: UpdateHarness) -> list[Operation]:
    images(harness, check=False)
    return [await harness.accept(await harness.container())]


@scenario
async def unhealthy(harness: UpdateHarness) -> list[Operation]:
    images(harness, "unhealthy")
    return [await harness.accept(await harness.container(HostConfig=ALWAYS))]


@scenario
async def exits_at_once(harness: UpdateHarness) -> list[Operation]:
    images(harness, "exits", check=False)
    return [await harness.accept(await harness.container(HostConfig={"RestartPolicy": {"Name": "unless-stopped"}}))]


@scenario
async def cannot_start(harness: UpdateHarness) -> list[Operation]:
    images(harness, "no-start")
    return [await harness.accept(await harness.container())]


@scenario
async def old_one_cannot_be_started_again(harness: UpdateHarness) -> list[Operation]:
    images(harness, "exits", check=False)
    container = await harness.container(HostConfig=ALWAYS)
    harness.engine.stuck.add(container)
    return [await harness.accept(container)]


@scenario
async def host_network(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    return [await harness.accept(await harness.container(HostConfig={"NetworkMode": "host", **ALWAYS}))]


@scenario
async def owner_of_a_shared_network(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    harness.engine.add_image("side:1")
    container = await harness.container(HostConfig=ALWAYS)
    await harness.container("side", image="side:1", HostConfig={"NetworkMode": f"container:{container}", **ALWAYS})
    return [await harness.accept(container)]


@scenario
async def owner_of_a_shared_pid_namespace(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    harness.engine.add_image("side:1")
    container = await harness.container(HostConfig=ALWAYS)
    await harness.container("side", image="side:1", HostConfig={"PidMode": f"container:{container}", **ALWAYS})
    return [await harness.accept(container)]


@scenario
async def sharer_of_a_network(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    harness.engine.add_image("vpn:1")
    owner = await harness.container("vpn", image="vpn:1", HostConfig=ALWAYS)
    return [await harness.accept(await harness.container(HostConfig={"NetworkMode": f"container:{owner}", **ALWAYS}))]


@scenario
async def auto_remove(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    harness.may_vanish.add("web")
    return [await harness.accept(await harness.container(HostConfig={"AutoRemove": True}))]


@scenario
async def auto_remove_unhealthy(harness: UpdateHarness) -> list[Operation]:
    images(harness, "unhealthy")
    harness.may_vanish.add("web")
    return [await harness.accept(await harness.container(HostConfig={"AutoRemove": True}))]


@scenario
async def stopped(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    return [await harness.accept(await harness.container(start=False))]


@scenario
async def static_address_on_two_networks(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    harness.engine.add_network("front")
    harness.engine.add_network("back")
    facts = {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["www"]}
    container = await harness.container(
        start=False,
        HostConfig={"NetworkMode": "front", **ALWAYS},
        NetworkingConfig={"EndpointsConfig": {"front": facts}},
    )
    await harness.engine.connect_network("back", container, {"Aliases": ["api"]})
    await harness.engine.start_container(container)
    return [await harness.accept(container)]


@scenario
async def compose_file(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    harness.files.texts["compose.yaml"] = "image: app:1"
    edit = harness.files.edit("compose.yaml", "image: app:2")
    return [await harness.accept(await harness.container(), edits=[edit])]


@scenario
async def compose_file_of_an_unhealthy_image(harness: UpdateHarness) -> list[Operation]:
    images(harness, "unhealthy")
    harness.files.texts["compose.yaml"] = "image: app:1"
    edit = harness.files.edit("compose.yaml", "image: app:2")
    return [await harness.accept(await harness.container(HostConfig=ALWAYS), edits=[edit])]


@scenario
async def chain_of_three(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    return [await harness.accept(await harness.container(name, HostConfig=ALWAYS)) for name in ("db", "api", "web")]


@scenario
async def manual_rollback(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    old = harness.engine.tags["app:1"]
    [_ async for _ in harness.engine.pull_image("app:2")]
    container = await harness.container(image="app:2", HostConfig=ALWAYS)
    wanted = ImageWanted(reference="app:1", image_id=old, sources=["app:1"])
    return [await harness.accept(container, kind="container-rollback", wanted=wanted)]


@scenario
async def manual_rollback_to_a_sick_image(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    sick = harness.engine.add_image("app:0", {**OLD, **CHECK}, behaviour="unhealthy")
    wanted = ImageWanted(reference="app:0", image_id=sick, sources=["app:0"])
    return [await harness.accept(await harness.container(), kind="container-rollback", wanted=wanted)]


@scenario
async def dry_run(harness: UpdateHarness) -> list[Operation]:
    images(harness)
    return [await harness.accept(await harness.container(), dry_run=True)]


# ── one run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def go(harness: UpdateHarness, rows: list[Operation]) -> None:
    for row in rows:
        await harness.worker.run(row)


async def one(setup: Setup, k: int, mode: str, second: tuple[int, str] | None = None) -> bool:
    """One run with a fault at point `k`; False when the scenario has no such point.

    `second` is another fault, at a point of the recovery that follows.
    """
    harness = UpdateHarness()
    rows = await setup(harness)
    before = picture(harness)
    faults = Faults(harness, k, mode)
    faults.install()
    try:
        await go(harness, rows)
    except Killed:
        harness.restart()
    faults.k = -1
    if not faults.fired and faults.count < k:
        return False
    harness.clock.advance(1)
    harness.restart()
    where = f"{setup.__name__}, point {k}, {mode}"
    if second is not None:
        where += f", then in recovery point {second[0]}, {second[1]}"
        again = Faults(harness, *second)
        again.install()
        try:
            await harness.recover_all()
        except Killed:
            harness.restart()
        again.k = -1
    await harness.recover_all()
    check(harness, before, where, down=mode in ("engine-dies", "both-die") and faults.early)
    settled = deepcopy(harness.engine.containers)
    harness.restart()
    await harness.recover_all()
    assert harness.engine.containers == settled, f"{where}: a second recovery changed something"
    return True


def picture(harness: UpdateHarness) -> dict[str, Document]:
    """What must be the same afterwards, for each container."""
    return {c["Name"][1:]: lasting(c) for c in harness.engine.containers.values()}


def lasting(container: Document) -> Document:
    generated = {container["Id"][:12]}
    networks = {
        name: {
            "ip": (facts.get("IPAMConfig") or {}).get("IPv4Address"),
            "aliases": sorted(set(facts.get("Aliases") or []) - generated),
        }
        for name, facts in container["NetworkSettings"]["Networks"].items()
    }
    changing = ("Binds", "NetworkMode", "IpcMode", "PidMode")
    host = {key: value for key, value in container["HostConfig"].items() if key not in changing}
    return {
        "running": container["State"]["Running"],
        "host": host,
        "networks": networks,
        "volumes": sorted(m["Name"] for m in container["Mounts"] if m["Type"] == "volume"),
        "labels": {k: v for k, v in container["Config"]["Labels"].items() if not k.startswith("dd.update.")},
    }


def untouched(harness: UpdateHarness) -> bool:
    """Whether the daemon died before the update had looked at its container: then only Docker's own policy counts."""
    return any(row.temp_name is None for row in harness.rows.all())


def check(harness: UpdateHarness, before: dict[str, Document], where: str, *, down: bool) -> None:
    now = {c["Name"][1:]: c for c in harness.engine.containers.values()}
    if down and set(now) < set(before):
        return  # an AutoRemove container died with the daemon, before anything was begun
    assert harness.broken == [], where
    assert set(now) == set(before), where
    for name, container in now.items():
        restart = container["HostConfig"]["RestartPolicy"]["Name"]
        assert lasting(container) | {"running": None} == before[name] | {"running": None}, f"{where}: {name} {restart}"
        running = container["State"]["Running"]
        assert running == before[name]["running"] or (down and restart != "always"), f"{where}: {name} is not as it was"
        for volume in before[name]["volumes"]:
            assert volume in harness.engine.volumes, f"{where}: the volume of {name} is gone"
    for row in harness.rows.all():
        truthful(harness, row, where)


def truthful(harness: UpdateHarness, row: Operation, where: str) -> None:
    assert not row.active, where
    assert row.phase != "rollback-failed", f"{where}: {row.last_error}"
    assert not row.dependents_due, where
    container = harness.engine.by_name(row.container_name)
    assert container is not None, where
    installed = container["Config"]["Labels"].get(OPERATION_LABEL) == row.id
    changed = row.status == "succeeded" and row.phase != "dryrun" and row.recovery != "nothing-to-do"
    manual = row.kind == "container-rollback" and row.status == "rolled-back"
    if row.source != "dependent":
        assert installed == (changed or manual), f"{where}: {row.status} is not what runs"
    for edit in row.edits:
        text = harness.files.texts[edit.path]
        told = any(action == "compose-sync-failed" for action, _ in harness.around.notices)
        wanted = edit.after if row.status == "succeeded" else edit.before
        assert text == wanted or told, f"{where}: the file says {text}"


async def points(setup: Setup) -> int:
    """How many points the scenario has when nothing goes wrong."""
    harness = UpdateHarness()
    rows = await setup(harness)
    faults = Faults(harness)
    faults.install()
    await go(harness, rows)
    return faults.count


@pytest.mark.matrix
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_nothing_is_lost(name: str, matrix: Matrix) -> None:
    scene = list(SCENARIOS).index(name)
    with asyncio.Runner() as runner:
        count = runner.run(points(SCENARIOS[name]))
        for _, mode, k in matrix.choose(product([scene], range(len(MODES)), range(1, count + 1))):
            assert runner.run(one(SCENARIOS[name], k, MODES[mode]))
    assert matrix.all > 50


KILLS = ("kill-before", "kill-after", "lost-done", "lost-undone", "fail")
TWICE = ["plain", "unhealthy", "auto_remove_unhealthy", "static_address_on_two_networks"]


@pytest.mark.matrix
@pytest.mark.parametrize("name", TWICE)
def test_nothing_is_lost_when_the_recovery_is_interrupted_too(name: str, matrix: Matrix) -> None:
    """Every point is killed once, and its recovery again at a point and in a way that differ from case to case."""
    with asyncio.Runner() as runner:
        count = runner.run(points(SCENARIOS[name]))
        for _, turn, first in matrix.choose(product([TWICE.index(name)], range(3), range(1, count + 1))):
            second = (1 + (first * 7 + turn * 5) % 19, KILLS[(first + turn) % len(KILLS)])
            assert runner.run(one(SCENARIOS[name], first, KILLS[turn % 2], second))
    assert matrix.all > 60
