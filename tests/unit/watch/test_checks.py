"""Checks, their reports and maturity gates (watching.md §9, §11.4, §13–§15)."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from drydock.api.services import LegacyInputs
from drydock.core.labels import WatcherDefaults, read
from drydock.core.model import Result, UpdatePolicy
from drydock.core.tags.decide import TagSubject
from drydock.core.times import DAY_MS
from drydock.core.trace import Trace
from drydock.events import ChecksFinished, ContainerChecked, MaturityCleared
from drydock.registries.tag_lists import TagList
from drydock.watch.checker import CRASHED, LONG_LIST, Checker, Pass
from drydock.watch.notices import Notices
from drydock.watch.service import WatchFailed
from kit.containers import container

A, B = "a" * 64, "b" * 64


class Shaky:
    """Stands for the registries where the fault is to lie in our own code, not in an answer."""

    def __init__(self, breaks: str) -> None:
        self.breaks = breaks

    def route(self, host: str, repository: str, lookup: str | None = None) -> str:
        if self.breaks == "route" and repository.endswith("bad"):
            raise ZeroDivisionError
        return repository

    @asynccontextmanager
    async def poll(self, **_: Any) -> Any:
        yield self

    async def prefetch(self, *_: Any) -> None:
        return None

    async def tags(self, route: str, **_: Any) -> TagList:
        if self.breaks == "tags" and route.endswith("bad"):
            raise ZeroDivisionError
        return TagList(("1.0.0", "1.1.0"))

    async def head_digest(self, route: str, tag: str) -> str:
        return "sha256:" + "f" * 64

    async def published_at(self, *_: Any) -> None:
        return None

    def requests(self, *_: Any) -> list[Any]:
        return []


@pytest.mark.parametrize("breaks", ["route", "tags"])
async def test_one_bad_container_never_spoils_a_scan(make_place: Any, breaks: str) -> None:
    place = await make_place()
    place.watcher._checker = Checker(Shaky(breaks), place.watcher.ledger, place.clock)  # type: ignore[arg-type]  # as above
    for id, name in ((A, "good"), (B, "bad")):
        place.host.add(id, name, f"{name}:1.0.0", digests=[f"{name}@sha256:{'e' * 64}"])
        place.host.containers[id]["Labels"] = {"dd.watch.digest": "false", "dd.tag.family": "loose"}
    reports = await place.watcher.scan("cron")
    good, bad = (place.get(name) for name in ("good", "bad"))
    assert (good.error, bad.error.code) == (None, CRASHED)
    assert "ZeroDivisionError" in bad.error.message
    assert bad.result == Result(tag="1.0.0"), "the last result is kept"
    assert {report.container.name: report.changed for report in reports} == {"good": True, "bad": False}
    with pytest.raises(WatchFailed, match="unexpectedly"):
        await place.service.watch_one(B)
    again = await place.watcher.scan("cron")
    assert [report.changed for report in again] == [False, False]


async def test_reports_come_one_by_one_and_then_together(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    place.host.add(B, "db")
    await place.watcher.scan("cron")
    kinds = [type(event) for event in place.events if isinstance(event, ContainerChecked | ChecksFinished)]
    assert kinds == [ContainerChecked, ContainerChecked, ChecksFinished]
    batch = place.published(ChecksFinished)[0]
    assert (batch.cause, [r.container.name for r in batch.reports]) == ("cron", ["web", "db"])
    await place.service.watch_one(A)
    assert [r.container.name for r in place.published(ChecksFinished)[1].reports] == ["web"]


async def test_a_check_of_a_container_that_is_gone_removes_it(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    del place.host.containers[A]
    from drydock.core.errors import NotFound

    with pytest.raises(NotFound):
        await place.service.watch_one(A)
    assert place.names() == []


async def test_what_a_webhook_had_checked_is_skipped_once_by_the_schedule(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    place.host.add(B, "db")
    await place.watcher.scan("api")
    place.service.mark_fresh(place.get("web"))
    scans = [await place.watcher.scan(cause) for cause in ("api", "cron", "cron")]
    assert [[report.container.name for report in scan] for scan in scans] == [["web", "db"], ["db"], ["web", "db"]]


async def test_an_unknown_watcher_is_said(make_place: Any) -> None:
    place = await make_place()
    await place.fleet.put(container(watcher="gone"))
    with pytest.raises(WatchFailed, match="gone of this container is not registered"):
        await place.service.watch_some([container().id])


async def test_17_4_14_the_gate_is_told_once_when_the_policy_opens_it(make_place: Any) -> None:
    place = await make_place(maturity_mode="mature")
    ledger, clock = place.watcher.ledger, place.clock
    base = container(update_policy_declarative=None, update_policy_overrides=UpdatePolicy(maturity_mode="mature"))
    await place.fleet.put(base)
    first = msgspec.structs.replace(base, result=Result(tag="1.1.0"))
    await ledger.checked([(first, Trace())], clock.now_ms())
    since = place.get(base.name).maturity_gate_pending_since
    assert since == place.get(base.name).update_detected_at
    await clock.pass_time(3 * 86_400)
    second = msgspec.structs.replace(base, result=Result(tag="1.2.0"))
    await ledger.checked([(second, Trace())], clock.now_ms())
    assert place.get(base.name).maturity_gate_pending_since > since, "another candidate starts again"
    await ledger.sweep()
    assert place.published(MaturityCleared) == []
    everything = UpdatePolicy(maturity_mode="all")
    await place.fleet.change(base.id, lambda c: msgspec.structs.replace(c, update_policy_overrides=everything))
    await ledger.sweep()
    await ledger.sweep()
    told = place.published(MaturityCleared)
    assert len(told) == 1
    assert told[0].pending_since == place.fleet.need(base.id).update_detected_at


async def test_the_gate_opens_with_time(make_place: Any) -> None:
    place = await make_place()
    aged = UpdatePolicy(maturity_mode="mature", maturity_min_age_days=2)
    held = container(update_policy_overrides=aged, update="1.1.0")
    await place.fleet.put(held)
    await place.clock.pass_time(2 * DAY_MS / 1000 - 1)
    await place.watcher.ledger.sweep()
    assert place.published(MaturityCleared) == []
    await place.clock.pass_time(1)
    await place.watcher.ledger.sweep()
    assert [event.min_age_days for event in place.published(MaturityCleared)] == [2]


@pytest.mark.parametrize(("policy", "changed"), [(None, True), (UpdatePolicy(skip_tags=["1.2.0"]), False)])
async def test_changed_means_another_available_candidate(make_place: Any, policy: Any, changed: bool) -> None:
    place = await make_place()
    known = container(update="1.1.0", update_policy_overrides=policy)
    await place.fleet.put(known, Trace())
    same = await place.watcher.ledger.checked([(known, Trace())], place.clock.now_ms())
    other = msgspec.structs.replace(known, result=Result(tag="1.2.0"))
    new = await place.watcher.ledger.checked([(other, Trace())], place.clock.now_ms())
    assert ([r.changed for r in same], [r.changed for r in new]) == ([False], [changed])


async def test_one_decision_for_the_same_list_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Pass(None)  # type: ignore[arg-type]  # nothing is asked
    names = tuple(f"1.0.{n}" for n in range(LONG_LIST + 1))
    subject = TagSubject(tag="1.0.5", family="loose")
    decisions = [await shared.decide(names, subject) for _ in range(5)]
    assert all(decision is decisions[0] for decision in decisions)
    assert decisions[0].candidate == f"1.0.{LONG_LIST}"
    assert (await shared.decide(names, TagSubject(tag="1.0.6", family="loose"))) is not decisions[0]
    assert threading.active_count() > 1, "a long list was decided outside of the loop"


def test_legacy_labels_are_counted_and_told_once() -> None:
    legacy = LegacyInputs()
    notices = Notices(has_notifications=True, count_legacy=lambda key: legacy.count("label", key))
    labels = {"wud.tag.include": "^1", "dd.action.include": "docker.x"}
    settings = read(labels, None, WatcherDefaults())
    for _ in range(3):
        notices.about(container(labels=labels), settings)
    assert legacy.listed()["label"] == {"total": 1, "keys": ["wud.tag.include"]}


def test_a_label_gap_is_told_once() -> None:
    notices = Notices(has_actions=True, has_notifications=True)
    settings = read({"dd.action.include": "docker.x"}, None, WatcherDefaults())
    with capture_logs() as told:
        for _ in range(3):
            notices.about(container(), settings)
    assert [line["event"] for line in told] == ["watcher.label_gap"]
