"""The hash chain of the audit log, and what events write into it (platform.md §9)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drydock.audit.catalogue import ACTIONS
from drydock.audit.from_events import EventAudit
from drydock.audit.trail import AuditTrail
from drydock.cli.main import app
from drydock.core.audit import AuditFilter
from drydock.core.times import DAY_MS
from drydock.events import Bus, HealthChanged, SecurityAlert
from drydock.store.settings import StoreSettings
from drydock.store.store import Store, open_store
from drydock.supervisor import Supervisor
from kit.clock import ManualClock
from kit.containers import container


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(StoreSettings(path=str(tmp_path)))
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def trail(store: Store, clock: ManualClock) -> AuditTrail:
    return AuditTrail(store.audit, Bus(), clock, Supervisor(clock))


async def fill(trail: AuditTrail, number: int) -> None:
    for index in range(number):
        await trail.note("preview", "info", container=container(index))


TAMPERING = {
    "changed": "UPDATE audit SET document = replace(document, 'preview', 'rollback') WHERE seq = 3",
    "column": "UPDATE audit SET container_name = 'other' WHERE seq = 3",
    "removed": "DELETE FROM audit WHERE seq = 3",
    "first": "DELETE FROM audit WHERE seq = 1",
    "newest": "DELETE FROM audit WHERE seq = 5",
    "all": "DELETE FROM audit",
    "inserted": "INSERT INTO audit (id, at, action, container_name, document, chain) "
    "SELECT 'new', at, action, container_name, document, chain FROM audit WHERE seq = 5",
    "unchained": "UPDATE audit SET chain = NULL WHERE seq = 3",
    "swapped": "UPDATE audit SET document = (SELECT document FROM audit WHERE seq = 2) WHERE seq = 4",
}


async def test_an_untouched_chain_is_intact(trail: AuditTrail) -> None:
    assert (await trail.records.verify()).intact
    await fill(trail, 5)
    verdict = await trail.records.verify()
    assert (verdict.intact, verdict.entries, len(verdict.head)) == (True, 5, 64)


@pytest.mark.parametrize("how", list(TAMPERING))
async def test_tampering_is_found(trail: AuditTrail, tmp_path: Path, how: str) -> None:
    await fill(trail, 5)
    with sqlite3.connect(tmp_path / "drydock.db") as connection:
        connection.execute(TAMPERING[how])
    connection.close()
    verdict = await trail.records.verify()
    assert not verdict.intact
    assert verdict.reason


async def test_pruning_keeps_the_chain(trail: AuditTrail, clock: ManualClock) -> None:
    await fill(trail, 3)
    clock.advance(20 * DAY_MS / 1000)
    await fill(trail, 2)
    clock.advance(11 * DAY_MS / 1000)
    await trail.prune()
    verdict = await trail.records.verify()
    assert (verdict.intact, verdict.entries) == (True, 2)
    clock.advance(40 * DAY_MS / 1000)
    await trail.prune()
    assert (await trail.records.verify()).intact
    await fill(trail, 1)
    verdict = await trail.records.verify()
    assert (verdict.intact, verdict.entries) == (True, 1)


async def test_the_command_verifies_without_a_server(trail: AuditTrail, store: Store, tmp_path: Path) -> None:
    await fill(trail, 2)
    environ = {"DD_STORE_PATH": str(tmp_path)}
    busy = CliRunner().invoke(app, ["config", "check"], env=environ)
    assert busy.exit_code == 0
    await store.database.close()
    import asyncio

    run = lambda *words: CliRunner().invoke(app, ["audit", "verify", *words], env=environ)  # noqa: E731
    good = await asyncio.to_thread(run)
    assert good.exit_code == 0, good.output
    assert "intact: 2 entries" in good.output
    with sqlite3.connect(tmp_path / "drydock.db") as connection:
        connection.execute("DELETE FROM audit WHERE seq = 1")
    connection.close()
    bad = await asyncio.to_thread(run, "--json")
    assert bad.exit_code == 1
    assert '"intact":false' in bad.output


async def actions(trail: AuditTrail) -> list[str]:
    found, _ = await trail.records.query(AuditFilter(), 100, 0)
    return [entry.action for entry in found][::-1]


async def test_repeated_alarms_are_told_once_in_five_minutes(trail: AuditTrail, clock: ManualClock) -> None:
    audit = EventAudit(trail, clock)
    for _ in range(2):
        for _ in range(3):
            await audit.handle([HealthChanged(container=container(1), previous="healthy")])
            await audit.handle(
                [SecurityAlert(container=container(1), summary={"details": "2 high", "blockingCount": 2})]
            )
        clock.advance(300)
    assert await actions(trail) == ["container-unhealthy", "security-alert"] * 2


async def test_every_written_action_is_in_the_catalogue(trail: AuditTrail, clock: ManualClock) -> None:
    import re

    source = Path(__file__).parents[3] / "src" / "drydock"
    written: set[str] = set()
    for file in source.rglob("*.py"):
        written |= set(
            re.findall(r'(?:note|record|event)\(\s*(?:request, )?(?:container, )?"([a-z-]+)"', file.read_text())
        )
    assert written
    assert written <= ACTIONS
