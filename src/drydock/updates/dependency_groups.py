"""Groups that are updated together, in the order of their dependencies (updates.md §12; container-api.md §11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from drydock.core import dependencies as deps
from drydock.core.compose_labels import PROJECT, SERVICE
from drydock.core.errors import Conflict, DrydockError
from drydock.core.model import Container
from drydock.core.operation import Operation
from drydock.core.update import has_raw_update
from drydock.events import BatchFinished
from drydock.kernel import Kernel
from drydock.updates.actions import Actions
from drydock.updates.admission import Admission
from drydock.updates.queue import Queue
from drydock.updates.target import wanted_image

ActionKind = Literal["update", "restart"]


class Rejection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of a bulk request that is not updated."""

    container_id: str
    container_name: str
    status_code: int
    message: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of a bulk request that will be."""

    container_id: str
    container_name: str
    operation_id: str


class Bulk(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Outcome of a bulk request."""

    accepted: list[Accepted]
    rejected: list[Rejection]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One container of a wave."""

    container: Container
    wave: int
    action: ActionKind


class DependencyGroups:
    """Resolves dependencies and updates whole groups wave by wave."""

    def __init__(self, kernel: Kernel, admission: Admission, queue: Queue, actions: Actions) -> None:
        self._fleet = kernel.fleet
        self._supervisor = kernel.supervisor
        self._clock = kernel.clock
        self._bus = kernel.bus
        self._admission = admission
        self._queue = queue
        self._actions = actions

    def graph(self) -> deps.Graph:
        """Dependencies of everything that is watched."""
        return deps.graph(self._fleet.all())

    def members(self, root_id: str) -> list[Member]:
        """The group of `root_id` in order; `NotFound` for an unknown container."""
        self._fleet.need(root_id)
        whole = self.graph()
        order = deps.waves(whole, deps.component(whole, root_id))
        return [
            Member(container=whole.nodes[one], wave=number, action=_action(whole, one))
            for number, wave in enumerate(order)
            for one in wave
        ]

    async def update(self, root_id: str, expect: Callable[[], Sequence[str] | None]) -> tuple[Bulk, list[Member]]:
        """Update the group of `root_id`; `Conflict` when it is not the expected one any more (None: any is right)."""
        self._admission.check_enabled()
        members = self.members(root_id)
        expected = expect()
        current = sorted(member.container.id for member in members)
        if expected is not None and sorted(set(expected)) != current:
            raise Conflict(
                "Dependency chain has changed since it was last previewed", details={"currentContainerIds": current}
            )
        return await self._request(members)

    async def request_many(self, ids: Sequence[str]) -> Bulk:
        """Update several containers; those that depend on each other go in order (updates.md §2.6)."""
        self._admission.check_enabled()
        whole, wanted = self.graph(), list(dict.fromkeys(ids))
        known = [one for one in wanted if one in whole.nodes]
        strange = [
            Rejection(container_id=one, container_name=one, status_code=404, message="Container not found")
            for one in wanted
            if one not in whole.nodes
        ]
        members = [
            Member(container=whole.nodes[one], wave=number, action="update")
            for number, wave in enumerate(deps.waves(whole, known))
            for one in wave
        ]
        bulk, _ = await self._request(members)
        return msgspec.structs.replace(bulk, rejected=[*strange, *bulk.rejected])

    async def _request(self, members: Sequence[Member]) -> tuple[Bulk, list[Member]]:
        admitted, rejected = await self._judge(members)
        restarts = {member.container.id for member in admitted if member.action == "restart"}
        rows = await self._admission.accept_many([member.container for member in admitted], restarts)
        if rows:
            self._supervisor.spawn("update-waves", self._run(admitted, rows))
        accepted = [
            Accepted(container_id=row.container_id, container_name=row.container_name, operation_id=row.id)
            for row in rows
        ]
        return Bulk(accepted=accepted, rejected=rejected), admitted

    async def _judge(self, members: Sequence[Member]) -> tuple[list[Member], list[Rejection]]:
        refused: dict[str, DrydockError] = {}
        for member in members:
            try:
                if member.action == "restart":
                    self._queue.check_idle(member.container)
                else:
                    await self._admission.check(member.container)
            except DrydockError as error:
                refused[member.container.id] = error
        updated = [m.container for m in members if m.action == "update" and m.container.id not in refused]
        refused |= self._conflicts(updated)
        whole = self.graph()
        for one in list(refused):
            for dependent in deps.dependents(whole, [one]):
                refused.setdefault(dependent, Conflict(f"Required upstream dependency {one} was not admitted"))
        rejected = [
            Rejection(
                container_id=member.container.id,
                container_name=member.container.name,
                status_code=refused[member.container.id].status,
                message=refused[member.container.id].message,
            )
            for member in members
            if member.container.id in refused
        ]
        return [member for member in members if member.container.id not in refused], rejected

    def _conflicts(self, containers: Sequence[Container]) -> dict[str, DrydockError]:
        """A Compose file has one image per service: the first container of a service decides."""
        chosen: dict[tuple[str | None, ...], str] = {}
        refused: dict[str, DrydockError] = {}
        for one in containers:
            project, service = one.labels.get(PROJECT), one.labels.get(SERVICE)
            access = self._admission.serving(one)
            if project is None or service is None or access is None or access.trigger.type != "dockercompose":
                continue
            wanted = wanted_image(one).reference
            first = chosen.setdefault((one.agent, one.watcher, project, service), wanted)
            if first != wanted:
                text = f"Conflicting compose image updates for service {service} ({first} vs {wanted})"
                refused[one.id] = Conflict(text)
        return refused

    async def _run(self, members: Sequence[Member], rows: Sequence[Operation]) -> None:
        """Wave by wave; what depends on a failure is skipped, the others go on."""
        began, whole = self._clock.now_ms(), self.graph()
        by_container = {row.container_id: row for row in rows}
        ended: list[Operation] = []
        for number in sorted({member.wave for member in members}):
            wave = [by_container[m.container.id] for m in members if m.wave == number]
            # The replicas of a service whose action wants one recreation per batch follow each other.
            groups: dict[tuple[str | None, ...], list[Operation]] = {}
            for row in wave:
                action = self._actions.get(row.trigger_name)
                labels = row.container.labels if row.container else {}
                once = action is not None and action.compose_file_once and SERVICE in labels
                key = (row.agent, row.watcher, labels.get(PROJECT), labels.get(SERVICE)) if once else (row.id,)
                groups.setdefault(key, []).append(row)
            done = await asyncio.gather(*(self._group(rows, whole, ended) for rows in groups.values()))
            ended += [row for rows in done for row in rows]
        if len(ended) > 1:
            self._bus.publish(BatchFinished(summary=_summary(ended, self._clock.now_ms() - began)))

    async def _group(self, rows: Sequence[Operation], whole: deps.Graph, ended: Sequence[Operation]) -> list[Operation]:
        """One after the other until one has succeeded: it stands for the others (updates.md §11.6, COMPOSEFILEONCE)."""
        done: list[Operation] = []
        for row in rows:
            if any(one.status == "succeeded" for one in done):
                done.append(await self._queue.settle(row, **_DONE_ALREADY))
            else:
                done.append(await self._one(row, whole, ended))
        return done

    async def _one(self, row: Operation, whole: deps.Graph, ended: Sequence[Operation]) -> Operation:
        blocking = next(
            (
                one
                for one in ended
                if one.status != "succeeded" and row.container_id in deps.dependents(whole, [one.container_id])
            ),
            None,
        )
        if blocking is None:
            return await self._queue.execute(row)
        return await self._queue.settle(
            row,
            status="skipped-dependency",
            phase="skipped-dependency",
            last_error=f"Skipped: upstream dependency {blocking.container_id} failed (operation {blocking.id})",
            skipped_dependency_reason="upstream-failed",
            blocking_container_id=blocking.container_id,
            blocking_operation_id=blocking.id,
        )


_DONE_ALREADY: dict[str, Any] = {
    "status": "succeeded",
    "phase": "succeeded",
    "recovery": "nothing-to-do",
    "warnings": ["COMPOSEFILEONCE: another container of this service was updated in this batch, this one was left"],
}


def _summary(ended: Sequence[Operation], duration_ms: int) -> dict[str, Any]:
    """What is published when every operation of a batch is terminal."""
    items = [
        {
            "operationId": row.id,
            "containerId": row.container_id,
            "containerName": row.container_name,
            "status": row.status,
        }
        for row in ended
    ]
    return {
        "batchId": ended[0].batch_id,
        "total": len(ended),
        "succeeded": sum(row.status == "succeeded" for row in ended),
        "failed": sum(row.status in ("failed", "rolled-back") for row in ended),
        "durationMs": duration_ms,
        "items": items,
    }


def _action(whole: deps.Graph, one: str) -> ActionKind:
    """Restart only when the label says so, something it depends on is known, and it has no update itself."""
    container = whole.nodes[one]
    resolved = any(edge.from_id == one for edge in whole.edges)
    wants = container.depends_on_action == "restart" and resolved
    return "restart" if wants and not has_raw_update(container, raw_tags=True) else "update"


def document(whole: deps.Graph) -> dict[str, Any]:
    """The answer of `GET /containers/dependencies`."""
    return {
        "nodes": [
            {
                "id": one.id,
                "name": one.name,
                "displayName": one.display_name,
                "watcher": one.watcher,
                **({"agent": one.agent} if one.agent else {}),
            }
            for one in whole.nodes.values()
        ],
        "edges": [
            {"from": edge.from_id, "to": edge.to_id, "action": edge.action, "source": edge.source}
            for edge in whole.edges
        ],
        "cycles": deps.cycles(whole),
        "unresolved": [{"nodeId": node, "missingTarget": name} for node, name in whole.unresolved],
        "crossHostIgnored": [{"from": one, "to": other} for one, other in whole.cross_host],
    }
