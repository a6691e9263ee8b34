"""The calculator of container-api.md §10.1 and dockhand-stats.md §6."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drydock.stats.figures import CpuReading, Figures, figures, is_running, percent_of, reading, round2

DOCUMENTS = Path(__file__).parent / "documents"


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DOCUMENTS / f"{name}.json").read_text())
    return document


def test_cgroup_v2_document() -> None:
    assert figures(load("cgroup_v2")) == Figures(
        cpu_percent=137.5,
        memory_usage=402653184,
        memory_raw=469762048,
        memory_cache=67108864,
        memory_limit=4294967296,
        memory_percent=9.38,
        network_rx=7340032,
        network_tx=1835008,
        block_read=25169920,
        block_write=524288,
    )


def test_cgroup_v1_subtracts_the_total_of_the_two_caches_and_counts_reads_and_writes_only() -> None:
    found = figures(load("cgroup_v1"))
    assert (found.memory_usage, found.memory_raw, found.memory_cache) == (6_000_000, 10_000_000, 4_000_000)
    assert (found.network_rx, found.network_tx) == (1024, 15)
    assert (found.block_read, found.block_write) == (1024, 307)
    assert found.cpu_percent == 100.0


def cpu(total: Any, host: Any, **more: Any) -> dict[str, Any]:
    return {"cpu_usage": {"total_usage": total, **more.pop("usage", {})}, "system_cpu_usage": host, **more}


@pytest.mark.parametrize(
    ("current", "before", "expected"),
    [
        (cpu(800, 800, online_cpus=8), cpu(0, 0), 0.0),
        (cpu(900, 1700, online_cpus=8), cpu(100, 900), 800.0),
        (cpu(200, 200), cpu(100, 100), 100.0),
        (cpu(200, 200, usage={"percpu_usage": [1] * 8}), cpu(100, 100), 800.0),
        (cpu(200, 200, online_cpus=0, usage={"percpu_usage": []}), cpu(100, 100), 100.0),
        (cpu(200, 200, online_cpus="4"), cpu(100, 100), 100.0),
        (cpu(100, 200, online_cpus=4), cpu(100, 100), 0.0),
        (cpu(50, 200, online_cpus=4), cpu(100, 100), 0.0),
        (cpu(200, 100, online_cpus=4), cpu(100, 100), 0.0),
        (cpu("200", 200), cpu(100, 100), 0.0),
        (cpu(True, 200), cpu(0, 100), 0.0),
        ({}, {}, 0.0),
    ],
)
def test_cpu_with_the_documents_own_first_reading(current: Any, before: Any, expected: float) -> None:
    assert figures({"cpu_stats": current, "precpu_stats": before}).cpu_percent == expected


def test_a_previous_sample_wins_over_the_documents_own_first_reading() -> None:
    document = {"cpu_stats": cpu(300, 300), "precpu_stats": cpu(299, 100)}
    assert figures(document, CpuReading(used=100, host=100)).cpu_percent == 100.0
    assert reading(document) == CpuReading(300, 300)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"usage": 100, "limit": 200, "stats": {"inactive_file": 100}}, (100, 100, 0, 50.0)),
        ({"usage": 100, "limit": 200, "stats": {"total_inactive_file": 150, "inactive_file": 40}}, (60, 100, 40, 30.0)),
        ({"usage": 100, "limit": 200, "stats": {"total_inactive_file": 0, "inactive_file": 40}}, (100, 100, 0, 50.0)),
        ({"usage": 100, "limit": 200, "stats": {"cache": 40}}, (100, 100, 0, 50.0)),
        ({"usage": 100, "stats": None}, (100, 100, 0, 0.0)),
        ({"usage": 300, "limit": 200}, (300, 300, 0, 100.0)),
        ({}, (0, 0, 0, 0.0)),
        (None, (0, 0, 0, 0.0)),
    ],
)
def test_memory(memory: Any, expected: tuple[int, int, int, float]) -> None:
    found = figures({"memory_stats": memory})
    assert (found.memory_usage, found.memory_raw, found.memory_cache, found.memory_percent) == expected


@pytest.mark.parametrize("entries", [None, [], "x", [None, 3, {"op": None}, {"op": "read", "value": "9"}]])
def test_odd_block_lists_count_nothing(entries: Any) -> None:
    found = figures({"blkio_stats": {"io_service_bytes_recursive": entries}})
    assert (found.block_read, found.block_write) == (0, 0)


@pytest.mark.parametrize(("value", "expected"), [(0.125, 0.13), (1.005, 1.0), (2.675, 2.68), (9.375, 9.38), (0, 0)])
def test_round_half_up(value: float, expected: float) -> None:
    assert round2(value) == expected


def test_percent_of_keeps_within_bounds() -> None:
    assert [percent_of(1, 0), percent_of(-1, 5), percent_of(9, 5), percent_of(1, 3)] == [0.0, 0.0, 100.0, 33.33]


def test_an_empty_answer_is_not_a_running_container() -> None:
    assert not is_running({"read": "0001-01-01T00:00:00Z"})
    assert is_running(load("cgroup_v1"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "cpu_stats",
    "precpu_stats",
    "memory_stats",
    "blkio_stats",
    "networks",
    "usage",
    "limit",
    "stats",
    "inactive_file",
    "total_inactive_file",
    "cpu_usage",
    "total_usage",
    "system_cpu_usage",
    "online_cpus",
    "percpu_usage",
    "io_service_bytes_recursive",
    "op",
    "value",
    "rx_bytes",
]
documents = st.dictionaries(
    st.sampled_from(KEYS), st.dictionaries(st.sampled_from(KEYS), json_values, max_size=4) | json_values, max_size=6
)


counters = st.integers(0, 2**64 - 1)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, st.none() | st.builds(CpuReading, counters, counters))
def test_no_document_breaks_the_calculator(document: dict[str, Any], previous: CpuReading | None) -> None:
    found = figures(document, previous)
    assert found.memory_raw - found.memory_cache == found.memory_usage
    assert 0 <= found.memory_percent <= 100
    assert min(found.cpu_percent, found.memory_usage, found.network_rx, found.block_read, found.block_write) >= 0
