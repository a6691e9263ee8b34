"""Metric families, their text form, and the catalogue (platform.md §10); checked with Prometheus' own parser."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from drydock.metrics import process
from drydock.metrics.computed import Usage, of_findings, of_registries, of_watchers
from drydock.metrics.containers import families, labels_of
from drydock.metrics.counters import Counters
from drydock.metrics.families import Counter, Histogram, Registry, Summary, UnknownLabel
from drydock.registries.transport import Metrics as Accounting
from drydock.stats.aggregator import Tick
from drydock.stats.snapshot import FleetRow, summarise
from kit.containers import container


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every line by name and labels, as a scraper reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def registry(*families: Any) -> Registry:
    return Registry(*families)


def test_values_with_quotes_and_line_breaks_survive() -> None:
    counter = Counter("x_total", "Help with \\ and\nbreak", ("a",))
    counter.inc(2.5, a='say "hi"\\\n')
    assert samples(registry(counter).text()) == {("x_total", (("a", 'say "hi"\\\n'),)): 2.5}


def test_a_counter_without_labels_is_visible_from_the_start() -> None:
    assert samples(registry(Counter("y_total", "h")).text()) == {("y_total", ()): 0}


def test_histograms_are_cumulative() -> None:
    histogram = Histogram("h", "help", ("k",), (0.1, 1))
    for value in (0.1, 0.5, 5):
        histogram.observe(value, k="v")
    found = samples(registry(histogram).text())
    assert [found["h_bucket", (("k", "v"), ("le", bound))] for bound in ("0.1", "1", "+Inf")] == [1, 2, 3]
    assert found["h_sum", (("k", "v"),)] == pytest.approx(5.6)
    assert found["h_count", (("k", "v"),)] == 3


def test_summaries_have_the_quantiles_of_the_contract() -> None:
    summary = Summary("s", "help")
    for number in range(1, 101):
        summary.observe(number)
    found = samples(registry(summary).text())
    assert found["s", (("quantile", "0.5"),)] == 51
    assert found["s", (("quantile", "0.99"),)] == 100
    assert found["s_count", ()] == 100


def test_wrong_labels_and_double_names_are_refused() -> None:
    with pytest.raises(UnknownLabel):
        Counter("z", "h", ("a",)).inc(b="x")
    with pytest.raises(UnknownLabel):
        registry(Counter("z", "h"), Counter("z", "h"))


def test_a_container_becomes_one_line_of_labels() -> None:
    labels = labels_of(msgspec.to_builtins(container(1, update="1.1.0")))
    assert labels[0] == ("id", container(1).id)
    found = dict(labels)
    assert found["image_registry_url"] == "docker.io"
    assert found["image_tag_semver"] == "true"
    assert found["result_tag"] == "1.1.0"
    assert "agent" not in found
    assert not any("env" in name or "details" in name or name.startswith("labels") for name in found)
    assert "s3cret" not in str(labels)


def test_the_catalogue_has_every_name() -> None:
    one = {
        **msgspec.to_builtins(container(1)),
        "updateAvailable": True,
        "updateKind": {"kind": "tag", "semverDiff": "minor"},
    }
    two = {**msgspec.to_builtins(container(2)), "error": {"message": "no answer"}}
    counters = Counters()
    counters.registry_answered("hub", "public", 0.2)
    counters.triggers.inc(type="docker", name="local", status="success")
    text = registry(*families(lambda: [one, two]), *counters.families(), *process.families("1.2.3")).text()
    found = samples(text)
    assert b'dd_containers{id="' in text
    for name in ("dd_trigger_count", "dd_trigger_count_total"):
        assert f'{name}{{type="docker",name="local",status="success"}} 1'.encode() in text
    assert found["drydock_containers_unknown", (("agent", ""), ("watcher", "local"))] == 1
    assert found["drydock_updates_available", (("agent", ""), ("kind", "minor"), ("watcher", "local"))] == 1
    assert found["drydock_build_info", (("version", "1.2.3"),)] == 1
    assert found["process_resident_memory_bytes", ()] > 1_000_000
    assert found["drydock_auth_login_total", (("outcome", "locked"), ("provider", "oidc"))] == 0


class _Registries:
    """The part of the registry service that is exported."""

    def __init__(self) -> None:
        self.metrics = Accounting()

    def paused(self) -> dict[str, float]:
        return {"quay.io": 12.5}


def test_what_registries_count() -> None:
    service = _Registries()
    numbers = service.metrics
    numbers.digest_hits, numbers.digest_misses = 3, 2
    numbers.requests["hub", "public", "tags", "200"] = 4
    numbers.retries["docker.io", "429"] = 1
    numbers.remaining["docker.io"] = 76
    found = samples(registry(*of_registries(service)).text())  # type: ignore[arg-type]  # the exported part
    assert found == {
        ("drydock_digest_cache_hits_total", ()): 3,
        ("drydock_digest_cache_misses_total", ()): 2,
        (
            "dd_registry_requests_total",
            (("kind", "tags"), ("name", "public"), ("status", "200"), ("type", "hub")),
        ): 4,
        ("dd_registry_retries_total", (("host", "docker.io"), ("reason", "429"))): 1,
        ("dd_registry_rate_limit_remaining", (("host", "docker.io"),)): 76,
        ("dd_registry_paused_seconds", (("host", "quay.io"),)): 12.5,
    }


class _Watcher:
    """A watcher, as far as it is counted."""

    name, watched, last_success_ms = "local", 12, 1_500


def test_what_watchers_count() -> None:
    local = (("name", "local"), ("type", "docker"))
    assert samples(registry(*of_watchers(lambda: [_Watcher()])).text()) == {
        ("dd_watcher_total", local): 12,
        ("drydock_watch_last_success_timestamp_seconds", local): 1.5,
    }


def test_findings_of_scanned_images() -> None:
    summary = {"unknown": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}
    scanned = container(1, agent="edge", security={"scan": {"summary": summary}})
    found = samples(registry(of_findings(lambda: [scanned, container(2)])).text())
    assert {dict(labels)["severity"]: value for _, labels in found for value in [found[_, labels]]} == summary
    assert all({("agent", "edge"), ("container", "c001"), ("watcher", "local")} <= set(labels) for _, labels in found)


def test_cpu_and_memory_of_containers_still_known() -> None:
    rows = [
        FleetRow(
            id=container(number).id,
            name=f"c{number:03d}",
            cpu_percent=12.5,
            memory_usage_bytes=2048,
            memory_limit_bytes=4096,
            memory_percent=50.0,
        )
        for number in (1, 2)
    ]
    usage = Usage({container(1).id: container(1)}.get)
    assert samples(registry(*usage.families()).text()) == {}
    usage.put(Tick(summarise(rows, 0), b"", rows))
    where = (("agent", ""), ("container", "c001"), ("watcher", "local"))
    assert samples(registry(*usage.families()).text()) == {
        ("drydock_container_cpu_percent", where): 12.5,
        ("drydock_container_memory_bytes", where): 2048,
    }
