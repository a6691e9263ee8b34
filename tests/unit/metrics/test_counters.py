"""What becomes of updates, as Prometheus sees it (updates.md §14.5)."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.core.operation import ImageWanted, Operation
from drydock.events import ContainerAction, OperationEnded
from drydock.metrics.computed import number
from drydock.metrics.counters import Counters
from drydock.metrics.families import Registry


def ended(status: str, **more: Any) -> Operation:
    fields: dict[str, Any] = {
        "id": "1",
        "container_id": "c",
        "container_name": "web",
        "status": status,
        "phase": status,
        "created_at": 0,
        "updated_at": 4000,
        "completed_at": 4000,
        "watcher": "local",
        "trigger_name": "docker.local",
        "wanted": ImageWanted(reference="app:2"),
    }
    return Operation(**{**fields, **more})


def lines(operation: Operation) -> set[str]:
    """The series of the update metrics after the end of one operation, buckets left out."""
    counters = Counters()
    counters.count(OperationEnded(operation=operation))
    found = Registry(*counters.families()).text().decode().splitlines()
    return {
        line
        for line in found
        if line.startswith(("dd_update_", "dd_trigger_")) and "_bucket" not in line and "_total_total" not in line
    }


TYPE_NAME = 'type="docker",name="local"'


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (
            ended("succeeded"),
            {
                'dd_update_duration_seconds_sum{outcome="succeeded"} 4',
                'dd_update_duration_seconds_count{outcome="succeeded"} 1',
                f'dd_trigger_count{{{TYPE_NAME},status="success"}} 1',
                f'dd_trigger_count_total{{{TYPE_NAME},status="success"}} 1',
            },
        ),
        (
            ended("rolled-back", rollback_code="health_gate_failed", trigger_name="far.docker.local"),
            {
                'dd_update_duration_seconds_sum{outcome="rolled-back"} 4',
                'dd_update_duration_seconds_count{outcome="rolled-back"} 1',
                f'dd_trigger_count{{{TYPE_NAME},status="error"}} 1',
                f'dd_trigger_count_total{{{TYPE_NAME},status="error"}} 1',
                f'dd_trigger_rollback_total{{{TYPE_NAME},outcome="success",reason="health_gate_failed"}} 1',
            },
        ),
        (
            ended("failed", kind="container-rollback", source="monitor"),
            {f'dd_trigger_rollback_total{{{TYPE_NAME},outcome="error",reason="auto_rollback"}} 1'},
        ),
        (
            ended("succeeded", source="dependent", recovered_at=1, recovery="rolled-forward"),
            {'dd_update_recovered_total{result="rolled-forward"} 1'},
        ),
        (ended("succeeded", restart_only=True), set()),
    ],
)
def test_the_end_of_an_operation(operation: Operation, expected: set[str]) -> None:
    assert lines(operation) == expected


def test_actions_and_running_updates() -> None:
    counters = Counters()
    counters.count(ContainerAction(action="container-update"))
    running = number("dd_update_active", "Updates that run now", lambda: 3)
    text = Registry(*counters.families(), running).text().decode()
    assert 'dd_container_actions_total{action="container-update"} 1' in text
    assert "dd_update_active 3" in text
