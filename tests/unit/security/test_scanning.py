"""Scanning containers of a real fleet: one, many, aborted, recreated meanwhile, from the cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from drydock.audit.from_events import EventAudit
from drydock.core.errors import BadRequest, NotFound
from drydock.core.model import Container, ImageDigest, Result
from drydock.events import ContainerUpdated, ScanCompleted, ScanCycleCompleted, ScanStarted, SecurityAlert
from kit.containers import container, container_id, image
from kit.security import Room, prints, report
from kit.wait import until


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def sample(number: int, name: str | None = None, *, of: int | None = None, **changes: Any) -> Container:
    """A container; `of` numbers the digest of its image."""
    known = digest(of if of is not None else number)
    picture = image(
        changes.pop("tag", "1.0.0"), digest=ImageDigest(watch=True, value=known, repo=known), id=digest(900 + number)
    )
    return msgspec.structs.replace(container(number, name, **changes), image=picture)


async def put(room: Room, *containers: Container) -> None:
    await room.fleet.put_many([(one, None) for one in containers])


async def started(room: Room, count: int) -> None:
    await until(lambda: len(room.scans()) >= count, "the scanner")


@asynccontextmanager
async def held(room: Room) -> AsyncIterator[asyncio.Task[Container]]:
    """A scan of the first container that goes on at the end of the block."""
    room.trivy.hold("--scanners")
    task = asyncio.create_task(room.security.scan_one(container_id(1)))
    await started(room, 1)
    yield task
    room.trivy.release()


async def test_a_scan_on_demand_is_stored_and_told(room: Room) -> None:
    await put(room, sample(1, result=Result(tag="1.0.0")))
    stored = await room.security.scan_one(container_id(1))
    scan = room.fleet.need(container_id(1)).security["scan"]
    assert stored.security == {"scan": scan}
    assert (scan["status"], scan["blockingCount"], scan["image"]) == ("blocked", 1, "nginx:1.0.0")
    assert scan["summary"] == {"unknown": 0, "low": 1, "medium": 0, "high": 0, "critical": 1}
    assert scan["imageDigest"] == digest(1)
    assert room.scans() == ["nginx:1.0.0"]
    kinds = [type(event) for event in room.events if not isinstance(event, ContainerUpdated)]
    assert kinds[-4:] == [ScanStarted, SecurityAlert, ScanCompleted, ScanCycleCompleted]
    summary = room.of(ScanCycleCompleted)[0].summary
    assert (summary["scope"], summary["scannedCount"], summary["alertCount"]) == ("on-demand-single", 1, 1)


async def test_the_candidate_is_scanned_by_its_tag(room: Room) -> None:
    room.trivy.write(prints(report("CRITICAL"), **{"1.1.0": report("LOW")}))
    await put(room, sample(1, result=Result(tag="1.1.0")))
    stored = await room.security.scan_one(container_id(1))
    assert room.scans() == ["nginx:1.0.0", "nginx:1.1.0"]
    assert stored.security["updateScan"]["image"] == "nginx:1.1.0"
    assert stored.security["updateScan"]["status"] == "passed"
    assert stored.security["scan"]["status"] == "blocked"


async def test_a_digest_candidate_is_scanned_by_digest(room: Room) -> None:
    await put(room, sample(1, result=Result(tag="1.0.0", digest=digest(7))))
    stored = await room.security.scan_one(container_id(1))
    assert room.scans() == ["nginx:1.0.0", f"nginx@{digest(7)}"]
    assert stored.security["updateScan"]["imageDigest"] == digest(7)


async def test_without_a_candidate_old_results_about_one_go(room: Room) -> None:
    await put(room, sample(1, result=Result(tag="1.1.0")))
    await room.security.scan_one(container_id(1))
    await put(room, msgspec.structs.replace(room.fleet.need(container_id(1)), result=Result(tag="1.0.0")))
    stored = await room.security.scan_one(container_id(1))
    assert set(stored.security) == {"scan"}


async def test_a_moved_tag_is_not_taken_for_what_runs(room: Room) -> None:
    room.trivy.write(prints(report("HIGH", digests=(digest(99),)), **{digest(1): report("LOW", digests=(digest(1),))}))
    await put(room, sample(1))
    stored = await room.security.scan_one(container_id(1))
    assert room.scans() == ["nginx:1.0.0", f"nginx@{digest(1)}"]
    assert stored.security["scan"]["image"] == f"nginx@{digest(1)}"
    assert stored.security["scan"]["summary"]["low"] == 1


async def test_what_cannot_be_scanned(room: Room) -> None:
    with pytest.raises(NotFound):
        await room.security.scan_one(container_id(1))
    await put(room, sample(1))
    room.build(scanner=None)
    with pytest.raises(BadRequest, match="Security scanner is not configured"):
        await room.security.scan_one(container_id(1))
    with pytest.raises(BadRequest, match="Security scanner is not configured"):
        room.security.check_ids(None)


async def test_a_failing_scanner_is_a_result(room: Room) -> None:
    room.trivy.write("if '--scanners' in argv: sys.stderr.write('no space left on device'); sys.exit(1)")
    await put(room, sample(1))
    stored = await room.security.scan_one(container_id(1))
    assert stored.security["scan"]["status"] == "error"
    assert stored.security["scan"]["error"] == "Trivy command failed (exit=1): no space left on device"
    assert room.of(ScanCompleted)[0].status == "error"


async def test_identical_requests_share_one_run_and_others_queue(room: Room) -> None:
    room.trivy.write(prints(report()))
    await put(room, sample(1), sample(2))
    room.trivy.hold("--scanners")
    asked = [asyncio.create_task(room.security.scan_one(container_id(n))) for n in (1, 1, 1, 2)]
    await started(room, 1)
    room.trivy.release()
    answers = await asyncio.gather(*asked)
    assert [answer.id for answer in answers] == [container_id(n) for n in (1, 1, 1, 2)]
    assert len(room.scans()) == 2
    assert len(room.of(ScanStarted)) == len(room.of(ScanCompleted)) == 2


async def test_a_container_that_vanishes_during_its_scan(room: Room) -> None:
    room.trivy.write(prints(report()))
    await put(room, sample(1))
    async with held(room) as task:
        await room.fleet.remove(container_id(1))
    with pytest.raises(NotFound):
        await task
    assert len(room.of(ScanCompleted)) == len(room.of(ScanCycleCompleted)) == 1


async def test_a_candidate_that_moved_during_the_scan_is_dropped(room: Room) -> None:
    room.trivy.write(prints(report("HIGH")))
    await put(room, sample(1, result=Result(tag="1.1.0")))
    async with held(room) as task:
        await room.fleet.change(container_id(1), lambda c: msgspec.structs.replace(c, result=Result(tag="1.2.0")))
    assert set((await task).security) == {"scan"}


async def test_a_container_recreated_from_another_image_during_the_scan(room: Room) -> None:
    room.trivy.write(prints(report("HIGH")))
    await put(room, sample(1))
    async with held(room) as task:
        await put(room, sample(1, of=5))
    assert (await task).security is None


async def test_a_crash_over_the_candidate_keeps_the_first_result(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(room, sample(1, result=Result(tag="1.1.0")))
    inspector = room.security.tools.inspector
    scan = inspector.scan

    async def broken(subject: Any, **how: Any) -> Any:
        if subject.reference.endswith("1.1.0"):
            raise RuntimeError("bug")
        return await scan(subject, **how)

    inspector.scan = broken
    assert set((await room.security.scan_one(container_id(1))).security) == {"scan"}


async def bulk(room: Room, ids: list[str] | None = None, **how: Any) -> dict[str, Any]:
    cycle = room.security.scan_many(room.security.check_ids(ids), **how)
    async with asyncio.timeout(30):
        await cycle.finished.wait()
    return room.of(ScanCycleCompleted)[-1].summary


async def test_thirty_containers_of_ten_images_are_ten_runs_and_then_none(room: Room) -> None:
    await put(room, *(sample(n, of=n % 10) for n in range(1, 31)))
    summary = await bulk(room)
    assert (summary["scannedCount"], summary["scope"], len(room.scans())) == (30, "on-demand-bulk", 10)
    before = {c.id: c.security["scan"]["scannedAt"] for c in room.fleet.all()}
    room.clock.advance(1)
    await bulk(room)
    assert len(room.scans()) == 10
    assert all(c.security["scan"]["scannedAt"] > before[c.id] for c in room.fleet.all())
    assert len(room.of(ScanStarted)) == len(room.of(ScanCompleted)) == 60


async def test_one_that_crashes_stops_nobody(room: Room) -> None:
    await put(room, *(sample(n) for n in range(1, 8)))
    inspector = room.security.tools.inspector
    scan = inspector.scan

    async def broken(subject: Any, **how: Any) -> Any:
        if subject.digest == digest(3):
            raise RuntimeError("bug")
        return await scan(subject, **how)

    inspector.scan = broken
    summary = await bulk(room)
    assert summary["scannedCount"] == 6
    status = {event.container_id: event.status for event in room.of(ScanCompleted)}
    assert status[container_id(3)] == "error"
    assert len(status) == 7
    assert len(room.of(ScanCycleCompleted)) == 1


async def test_a_bulk_scan_of_nothing_still_ends(room: Room) -> None:
    assert (await bulk(room))["scannedCount"] == 0


async def test_unknown_ids_are_named(room: Room) -> None:
    await put(room, sample(1))
    with pytest.raises(BadRequest, match="Unknown container id: nope"):
        room.security.check_ids([container_id(1), "nope"])


async def test_aborting_kills_running_scanners_and_keeps_what_is_there(room: Room) -> None:
    room.trivy.write("if 'c001' in argv[-1] or '--scanners' not in argv: sys.exit(0)\ntime.sleep(600)")
    await put(room, *(sample(n) for n in range(1, 12)))
    cycle = room.security.scan_many(room.security.check_ids(None))
    await started(room, 1)
    began = time.monotonic()
    room.security.abort(cycle.id)
    async with asyncio.timeout(20):
        await cycle.finished.wait()
    assert time.monotonic() - began < 15
    summary = room.of(ScanCycleCompleted)[0].summary
    assert summary["aborted"] is True
    assert len(room.of(ScanStarted)) == len(room.of(ScanCompleted)) < 11
    with pytest.raises(NotFound):
        room.security.abort(cycle.id)


async def test_a_cycle_nobody_waits_for_starts_nothing(room: Room) -> None:
    await put(room, sample(1))
    summary = await bulk(room, aborted=True)
    assert summary["aborted"] is True
    assert room.of(ScanStarted) == []


async def test_scheduled_scans_keep_a_good_result_over_an_error_for_a_week(room: Room) -> None:
    room.build(scan_concurrency=2)
    await put(room, sample(1))
    await room.security.scan_scheduled()
    room.trivy.write("if '--scanners' in argv: sys.exit(1)")
    room.clock.advance(2 * 86_400)
    await room.security.scan_scheduled()
    assert room.fleet.need(container_id(1)).security["scan"]["status"] == "blocked"
    assert room.of(ScanCompleted)[-1].status == "error"
    room.clock.advance(6 * 86_400)
    await room.security.scan_scheduled()
    assert room.fleet.need(container_id(1)).security["scan"]["status"] == "error"
    assert room.of(SecurityAlert) == []


async def test_a_scheduled_cycle_that_takes_too_long_is_stopped(room: Room) -> None:
    room.build(scan_batch_timeout_s=0.7)
    room.trivy.write("if '--scanners' in argv: time.sleep(600)")
    await put(room, sample(1))
    cycle = await room.security.scan_scheduled()
    assert (cycle.aborted, cycle.scanned) == (True, 0)
    assert len(room.of(ScanStarted)) == len(room.of(ScanCompleted)) == 1


async def test_alerts_only_about_something_new_and_of_the_wanted_level(room: Room) -> None:
    room.trivy.write(prints(report("HIGH")))
    await put(room, sample(1))
    assert (await bulk(room, level="critical"))["alertCount"] == 0
    assert (await bulk(room))["alertCount"] == 1
    assert (await bulk(room))["alertCount"] == 0
    room.clock.advance(25 * 3_600)
    room.trivy.write(prints(report("HIGH", "CRITICAL")))
    assert (await bulk(room, level="critical"))["alertCount"] == 1
    said = room.of(SecurityAlert)[-1].summary
    assert said["details"] == "critical=1, high=1, medium=0, low=0, unknown=0"
    assert said["cycleId"] == room.of(ScanCycleCompleted)[-1].summary["cycleId"]


async def test_the_audit_does_not_repeat_itself(room: Room) -> None:
    audit = EventAudit(room.audits, room.clock)
    await put(room, sample(1))
    await room.security.scan_one(container_id(1))
    await room.security.scan_one(container_id(1))
    alerts = room.of(SecurityAlert)
    assert len(alerts) == 2
    await audit.handle(alerts)
    assert [entry.details for entry in room.audits.entries] == [
        "critical=1, high=0, medium=0, low=1, unknown=0; blocking=1"
    ]
    room.clock.advance(301)
    await room.security.scan_one(container_id(1))
    await audit.handle(room.of(SecurityAlert)[2:])
    assert room.audits.actions == ["security-alert"] * 2


async def test_errors_are_held_back_for_a_quarter_of_an_hour(room: Room) -> None:
    room.trivy.write("if '--scanners' in argv: sys.exit(1)")
    await put(room, sample(1))
    await bulk(room)
    await bulk(room)
    assert len(room.scans()) == 1
    room.clock.advance(16 * 60)
    await bulk(room)
    assert len(room.scans()) == 2


async def test_a_new_database_means_new_scans(room: Room) -> None:
    facts = '{"VulnerabilityDB": {"UpdatedAt": "%s"}}'
    await put(room, sample(1))
    for day, runs in (("2026-01-01", 1), ("2026-01-01", 1), ("2026-01-02", 2)):
        room.trivy.write(f"if 'version' in argv: out({facts % day!r}); sys.exit(0)\n" + prints(report()))
        room.clock.advance(400)
        await bulk(room)
        assert len(room.scans()) == runs


async def test_the_cache_survives_a_restart_and_judges_by_the_policy_of_today(room: Room) -> None:
    await put(room, sample(1))
    await bulk(room)
    made = room.build(block_severities=("LOW",))
    await made.service.tools.inspector.cache.load()
    await bulk(room)
    scan = room.fleet.need(container_id(1)).security["scan"]
    assert (len(room.scans()), scan["blockSeverities"], scan["blockingCount"]) == (1, ["LOW"], 1)
    room.build(block_severities=())
    await room.made.service.tools.inspector.cache.load()
    await bulk(room)
    assert room.fleet.need(container_id(1)).security["scan"]["status"] == "passed"


async def test_results_are_good_for_a_day_without_a_schedule(room: Room) -> None:
    await put(room, sample(1))
    await bulk(room)
    room.clock.advance(24 * 3_600)
    await bulk(room)
    assert len(room.scans()) == 2


async def test_a_scan_of_the_candidate_becomes_that_of_the_image_that_runs(room: Room) -> None:
    await put(room, sample(1, result=Result(tag="1.1.0", digest=digest(50))))
    await room.security.scan_one(container_id(1))
    updated = msgspec.structs.replace(
        sample(1, of=50, tag="1.1.0", result=Result(tag="1.1.0", digest=digest(50))),
        security=room.fleet.need(container_id(1)).security,
    )
    previous = room.fleet.need(container_id(1))
    await put(room, updated)
    await room.security.on_event(ContainerUpdated(container=updated, previous=previous))
    security = room.fleet.need(container_id(1)).security
    assert set(security) == {"scan"}
    assert security["scan"]["image"] == "nginx:1.1.0"


async def test_results_about_a_candidate_that_is_no_more_are_dropped(room: Room) -> None:
    await put(room, sample(1, result=Result(tag="1.1.0")))
    previous = await room.security.scan_one(container_id(1))
    moved = msgspec.structs.replace(previous, result=Result(tag="1.2.0"))
    await put(room, moved)
    await room.security.on_event(ContainerUpdated(container=moved, previous=previous))
    assert set(room.fleet.need(container_id(1)).security) == {"scan"}
