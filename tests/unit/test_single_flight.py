"""One call in flight per key."""

from __future__ import annotations

import asyncio

import pytest

from drydock.single_flight import SingleFlight


class Slow:
    """A call that ends when it is released."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.release = asyncio.Event()

    async def __call__(self) -> int:
        self.started += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.started


async def test_callers_of_the_same_key_share_one_call_and_others_do_not() -> None:
    flights, slow = SingleFlight[int](), Slow()
    callers = [asyncio.create_task(flights.run(key, slow)) for key in ("a", "a", "b")]
    await asyncio.sleep(0)
    assert "a" in flights
    slow.release.set()
    await asyncio.gather(*callers)
    assert slow.started == 2
    assert "a" not in flights


async def test_a_failure_reaches_every_caller() -> None:
    async def fail() -> int:
        raise ValueError("no")

    flights = SingleFlight[int]()
    outcomes = await asyncio.gather(flights.run(1, fail), flights.run(1, fail), return_exceptions=True)
    assert [str(one) for one in outcomes] == ["no", "no"]


@pytest.mark.parametrize("abandon", [False, True])
async def test_a_cancelled_caller_never_cancels_what_another_waits_for(abandon: bool) -> None:
    flights, slow = SingleFlight[int](abandon=abandon), Slow()
    first, second = (asyncio.create_task(flights.run("a", slow)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    slow.release.set()
    assert await second == 1


@pytest.mark.parametrize("abandon", [False, True])
async def test_without_callers_a_call_goes_on_unless_it_is_abandoned(abandon: bool) -> None:
    flights, slow = SingleFlight[int](abandon=abandon), Slow()
    only = asyncio.create_task(flights.run("a", slow))
    await asyncio.sleep(0.001)
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    assert slow.cancelled == int(abandon)
    assert ("a" in flights) is not abandon
    await flights.close()
    assert slow.cancelled == 1
