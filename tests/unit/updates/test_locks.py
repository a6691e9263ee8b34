"""Locks and permits as the debug dump shows them (updates.md §4)."""

from __future__ import annotations

import asyncio

from drydock.updates.execution.locks import Locks


async def test_what_is_held_and_waited_for() -> None:
    locks, done = Locks(1), asyncio.Event()

    async def work(key: str) -> None:
        async with locks.hold([key]):
            await done.wait()

    tasks = []
    for key in ("a", "a", "b"):
        tasks.append(asyncio.create_task(work(key)))
        await asyncio.sleep(0)
    held = [{"lock": "a", "waiting": 1}, {"lock": "b", "waiting": 0}]
    assert locks.dump() == {"held": held, "permitsAvailable": 0, "permitsPending": 1}
    done.set()
    await asyncio.gather(*tasks)
    assert locks.dump() == {"held": [], "permitsAvailable": 1, "permitsPending": 0}


async def test_without_a_cap_there_are_no_permits() -> None:
    assert Locks().dump() == {"held": [], "permitsAvailable": None, "permitsPending": 0}
