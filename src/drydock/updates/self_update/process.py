"""The program inside of the helper container: exchange, report, remove itself (updates.md §13.3 step 5).

It has no store. Whether the report arrives decides nothing: the manager that is up then finds out by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.labels import SELF_UPDATE_OPERATION
from drydock.core.operation import ImageWanted, Operation
from drydock.docker.api import Engine
from drydock.docker.settings import DEFAULT_SOCKET
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.updates.execution.executor import Executor, Surroundings
from drydock.updates.execution.journal import Journal
from drydock.updates.plan.options import PlanOptions
from drydock.updates.self_update.helper import FINALIZE_COMMAND, PREFIX, Order
from drydock.updates.self_update.swap import swap
from drydock.updates.settings import UpdatesSettings

log = structlog.get_logger("self-update")

LOCAL = "local"
"""The name of the only host that a helper knows."""


class Unfinished(EngineError):
    """The exchange ended with no container as it should be; the Engine starts the helper again."""

    code = "self-update-unfinished"


def watcher_settings(order: Order) -> WatcherSettings:
    """How the helper reaches the Engine."""
    if not order.docker_host:
        return WatcherSettings(name=LOCAL, socket=DEFAULT_SOCKET)
    protocol: Any = order.docker_protocol
    return WatcherSettings(name=LOCAL, host=order.docker_host, port=order.docker_port, protocol=protocol)


async def run(order: Order, host: LocalHost, clock: Clock) -> Operation:
    """Carry out an order to its end and remove the helper. Raises `Unfinished` when it must be tried again."""
    row = row_of(order)
    journal = Journal(_OneRow(), clock, lambda _: None)
    await journal.insert(row)
    executor = Executor(row, host, journal, clock, Surroundings())
    row = await executor.run(swap(row, options_of(order)))
    log.info("self-update.ended", operation=row.id, status=row.status, error=row.last_error)
    if row.phase == "rollback-failed":
        raise Unfinished(row.last_error)
    await _report(order, row, host.engine, clock)
    # The last act: every helper of this operation, this one included. What cannot be removed is removed at a start.
    filters = {"label": [f"{SELF_UPDATE_OPERATION}={order.op_id}"]}
    for entry in await host.engine.list_containers(all=True, filters=filters):
        await host.engine.remove_container(entry["Id"], force=True)
    return row


def row_of(order: Order) -> Operation:
    """The operation as far as the helper knows it."""
    return Operation(
        id=order.op_id,
        container_id=order.old_container_id,
        container_name=order.old_container_name,
        status="in-progress",
        phase="new-created",
        created_at=0,
        updated_at=0,
        watcher=LOCAL,
        kind="self-update",
        wanted=ImageWanted(reference="the new image"),
        old_container_id=order.old_container_id,
        new_container_id=order.new_container_id,
        old_name=order.old_container_name,
        temp_name=order.temp_name,
        old_container_was_running=True,
        old_restart_policy=msgspec.json.decode(order.restart_policy) or None,
    )


def options_of(order: Order) -> PlanOptions:
    """The times of an order as the plan takes them."""
    return PlanOptions(
        settings=UpdatesSettings(liveness_grace_s=order.liveness_grace_ms / 1000, heartbeat_s=0),
        gate_poll_s=order.poll_interval_ms / 1000,
        least_gate_s=order.health_timeout_ms / 1000,
        rollback_window_s=order.health_timeout_ms / 1000,
        stop_slack_s=order.start_timeout_ms / 1000,
    )


async def _report(order: Order, row: Operation, engine: Engine, clock: Clock) -> None:
    """Let the container that runs now report to its Drydock how it ended. Filtering socket proxies may forbid that."""
    if not order.finalize_url:
        return
    there = order.new_container_id if row.status == "succeeded" else order.old_container_id
    facts = {
        "OP_ID": order.op_id,
        "FINALIZE_URL": order.finalize_url,
        "FINALIZE_SECRET": order.finalize_secret,
        "STATUS": row.status,
        "PHASE": row.phase,
        "LAST_ERROR": row.last_error or "",
    }
    variables = [f"{PREFIX}{name}={value}" for name, value in facts.items()]
    deadline = clock.monotonic() + order.finalize_timeout_ms / 1000
    while clock.monotonic() < deadline:
        try:
            if (await engine.exec(there, ["drydock", FINALIZE_COMMAND], env=variables)).exit_code == 0:
                return
        except EngineNotFound:
            return
        except EngineError as error:
            log.info("self-update.not_reported", operation=row.id, error=error.message)
        await clock.sleep(order.finalize_retry_interval_ms / 1000)


class _OneRow:
    """Implements `journal.Rows`: one row that need not be kept, for its state is in the Engine."""

    def __init__(self) -> None:
        self._row: Operation | None = None

    async def save(self, operation: Operation) -> None:
        """Keep it."""
        self._row = operation

    async def get(self, operation_id: str) -> Operation | None:
        """The row."""
        return self._row if self._row is not None and self._row.id == operation_id else None

    async def unfinished(self) -> Sequence[Operation]:
        """Nothing is ever left over."""
        return []

    async def of(self, key: str, container_id: str) -> Sequence[Operation]:
        """No history."""
        del key, container_id
        return []

    async def replaced_by(self, container_id: str) -> str | None:
        """No history."""
        del container_id
        return None

    async def prune(self, before_ms: int, keep: int) -> int:
        """Nothing to prune."""
        del before_ms, keep
        return 0

    async def drop_old_specs(self, now_ms: int) -> None:
        """Nothing to forget."""
        del now_ms
