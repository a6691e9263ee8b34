"""Drydock's update of itself: every point at which manager, helper or daemon may go wrong (updates.md §13.4, §15).

Points are the calls to the Engine and the writes of the journal of *all* programs on the machine, in the order in which
they happen. After the fault restart policies do what they do; nobody else helps. A tenth of the cases runs by default
(`kit/matrix.py`).
"""

from __future__ import annotations

import asyncio
import logging
from copy import deepcopy
from itertools import product
from typing import Any

import pytest
import structlog

from drydock.core.errors import EngineError, EngineUnreachable
from drydock.core.labels import SELF_UPDATE_HELPER
from drydock.core.operation import OPERATION_LABEL
from fakes.engine import Fault
from fakes.self_update_host import Killed, SelfUpdateHost
from fakes.update_harness import CHECK
from kit.matrix import Matrix

Document = dict[str, Any]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Thousands of exchanges go wrong on purpose: their log would be all there is to see, and most of the time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


MODES = ("kill-before", "kill-after", "fail", "lost-undone", "lost-done", "helper-removed", "engine-dies")


class Faults(Fault):
    """Fires at points of the whole machine: number → mode."""

    def __init__(self, machine: SelfUpdateHost, points: dict[int, str]) -> None:
        self.machine, self.points, self.count, self.fired = machine, dict(points), 0, 0
        machine.engine.fault = self
        machine.rows.before = lambda: self._enter(disk=True)  # type: ignore[method-assign]
        machine.rows.after = self._leave  # type: ignore[method-assign]

    def before(self, k: int, call: str) -> None:
        self._enter(disk=False)

    def after(self, k: int, call: str) -> None:
        self._leave()

    def _due(self, *modes: str) -> bool:
        if self.points.get(self.count) not in modes:
            return False
        del self.points[self.count]
        self.fired += 1
        return True

    def _enter(self, *, disk: bool) -> None:
        self.count += 1
        if self._due("kill-before"):
            raise Killed
        if self._due("engine-dies"):
            self.machine.engine.crash()
            raise Killed
        if self._due("helper-removed"):
            self._remove_helper()
        if disk and self._due("fail", "lost-undone", "lost-done"):
            raise OSError("No space left on device")
        if self._due("fail"):
            raise EngineError("refused", engine_status=500)
        if self._due("lost-undone"):
            raise EngineUnreachable("no answer")

    def _leave(self) -> None:
        if self._due("kill-after"):
            raise Killed
        if self._due("lost-done"):
            raise EngineUnreachable("no answer")

    def _remove_helper(self) -> None:
        for container in list(self.machine.engine.containers.values()):
            if SELF_UPDATE_HELPER in container["Config"]["Labels"]:
                self.machine.engine.take_away(container["Id"])
        self.machine.engine.on_change()


def images(machine: SelfUpdateHost, behaviour: str, *, check: bool = True) -> None:
    more = CHECK if check else {}
    machine.engine.add_image("dd:1", {"Env": ["PATH=/bin", "VERSION=1"], "Volumes": {"/store": {}}, **more})
    new = {"Env": ["PATH=/bin", "VERSION=2"], "Volumes": {"/store": {}}, **more}
    machine.engine.add_image("dd:2", new, behaviour=behaviour, local=False)


SCENARIOS: dict[str, dict[str, Any]] = {
    "well": {"behaviour": "runs"},
    "well_without_health_check": {"behaviour": "runs", "check": False},
    "unless_stopped": {"behaviour": "runs", "policy": "unless-stopped"},
    "unhealthy": {"behaviour": "unhealthy"},
    "exits_at_once": {"behaviour": "exits", "check": False},
    "cannot_start": {"behaviour": "no-start"},
    "filtering_proxy": {"behaviour": "runs", "finalize_url": "http://127.0.0.1:3000/finalize", "exec": 126},
}


async def prepare(facts: dict[str, Any]) -> SelfUpdateHost:
    machine = SelfUpdateHost()
    images(machine, facts["behaviour"], check=facts.get("check", True))
    machine.finalize_url = facts.get("finalize_url", "")
    machine.engine.exec_codes["drydock self-update-finalize"] = facts.get("exec", 0)
    own = await machine.own_container(policy=facts.get("policy", "always"))
    await machine.accept(own, "dd:2", kind="self-update", by_helper=True)
    machine.boot(own)
    return machine


async def one(name: str, points: dict[int, str]) -> bool:
    """One run with faults at these points; False when there is no such point."""
    machine = await prepare(SCENARIOS[name])
    before = lasting(machine.engine.by_name("drydock") or {})
    faults = Faults(machine, points)
    where = f"{name}, {points}"
    settled = await machine.until_settled()
    if not settled and "helper-removed" in points.values():
        await machine.started_by_hand()
        settled = await machine.until_settled()
    assert settled, f"{where}: {machine.rows.all()[0].phase} {machine.engine.names()}"
    try:
        if faults.fired:
            check(machine, before, where, daemon="engine-dies" in points.values())
            await again(machine, where)
    finally:
        await machine.shut_down()
    return faults.fired == len(points)


def lasting(container: Document) -> Document:
    host = {key: value for key, value in container["HostConfig"].items() if key != "Binds"}
    volumes = sorted(mount["Name"] for mount in container["Mounts"])
    return {"host": host, "volumes": volumes, "running": True}


def check(machine: SelfUpdateHost, before: Document, where: str, *, daemon: bool) -> None:
    broken = set(machine.broken)
    if daemon:  # both may be revived; the lock of the store lets one of them work (see docs)
        broken -= {"old and new of drydock run together"}
    assert broken == set(), where
    assert machine.engine.names() == {"drydock": "running"}, where
    container = machine.engine.by_name("drydock")
    assert container is not None
    assert lasting(container) == before, where
    row = machine.rows.all()[0]
    assert row.phase != "rollback-failed", f"{where}: {row.last_error}"
    installed = container["Config"]["Labels"].get(OPERATION_LABEL) == row.id
    assert installed == (row.status == "succeeded"), f"{where}: {row.status} is not what runs"
    if row.status != "succeeded":
        assert row.last_error or row.rollback_code, f"{where}: {row.status} without a reason"
    assert machine.holder is not None, f"{where}: the manager does not work"


async def again(machine: SelfUpdateHost, where: str) -> None:
    """A restart of Drydock changes nothing any more."""
    container = machine.engine.by_name("drydock")
    assert container is not None
    rows, settled = machine.rows.all(), stripped(machine)
    machine.engine.ended(container, 137)
    assert await machine.until_settled(), where
    assert (machine.rows.all(), stripped(machine)) == (rows, settled), f"{where}: a second start changed something"


def stripped(machine: SelfUpdateHost) -> dict[str, Any]:
    found = deepcopy(machine.engine.containers)
    for container in found.values():
        for field in ("State", "RestartCount", "_started_ms"):
            container.pop(field, None)
    return found


async def points(name: str) -> int:
    """How many points the scenario has when nothing goes wrong."""
    machine = await prepare(SCENARIOS[name])
    faults = Faults(machine, {})
    assert await machine.until_settled()
    await machine.shut_down()
    return faults.count


@pytest.mark.matrix
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_drydock_survives_its_own_update(name: str, matrix: Matrix) -> None:
    # Docker itself does not bring a container with another policy back after SIGKILL (updates.md §9.2).
    modes = MODES[:-1] if SCENARIOS[name].get("policy") else MODES
    scene = list(SCENARIOS).index(name)
    met = 0
    with asyncio.Runner() as runner:
        count = runner.run(points(name))
        for _, mode, k in matrix.choose(product([scene], range(len(modes)), range(1, count + 1))):
            met += runner.run(one(name, {k: modes[mode]}))
    assert matrix.all > 100
    assert met > matrix.ran * 0.9, "only a call that fails anyway is never left"


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["well", "unhealthy"])
def test_drydock_survives_two_faults(name: str, matrix: Matrix) -> None:
    """Every point once, and another fault a while later, in a way that differs from case to case."""
    met = 0
    modes = [mode for mode in MODES if mode != "helper-removed"]
    with asyncio.Runner() as runner:
        count = runner.run(points(name))
        for _, turn, first in matrix.choose(product([name == "well"], range(3), range(1, count + 1))):
            second = first + 1 + (first * 7 + turn * 11) % 37
            faults = {first: modes[(first + turn) % 6], second: modes[(first * 5 + turn * 2 + 1) % 6]}
            met += runner.run(one(name, faults))
    assert met > matrix.ran / 3, "after the first fault there is often a second one"


async def ended(name: str) -> SelfUpdateHost:
    machine = await prepare(SCENARIOS[name])
    assert await machine.until_settled()
    await machine.shut_down()
    return machine


@pytest.mark.parametrize(
    ("name", "status", "image"),
    [
        ("well", "succeeded", "dd:2"),
        ("well_without_health_check", "succeeded", "dd:2"),
        ("filtering_proxy", "succeeded", "dd:2"),
        ("unhealthy", "rolled-back", "dd:1"),
        ("exits_at_once", "rolled-back", "dd:1"),
        ("cannot_start", "rolled-back", "dd:1"),
    ],
)
def test_how_it_ends(name: str, status: str, image: str) -> None:
    machine = asyncio.run(ended(name))
    row = machine.rows.all()[0]
    container = machine.engine.by_name("drydock")
    assert container is not None
    assert (row.status, container["Config"]["Image"]) == (status, image)
    assert machine.announced == [row.id]
    assert row.recovery is None
    assert machine.broken == []
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "always"


def test_the_old_one_keeps_its_restart_policy_until_the_new_one_runs() -> None:
    """Should the Engine die in between, it revives the old one (updates.md §13.4)."""
    calls = asyncio.run(ended("well")).engine.calls
    helper, new = (n for n, call in enumerate(calls) if call == "start")
    assert helper < calls.index("stop") < new < calls.index("update")
