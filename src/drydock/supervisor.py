"""Every background task has a name, is restarted with back-off when it fails, and is stopped with the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from drydock.backoff import Backoff
from drydock.clock import Clock

log = structlog.get_logger("supervisor")

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
STEADY_S = 60.0
"""A task that ran this long before it failed starts again with the first delay."""


class Supervisor:
    """Owns the background tasks of the process.

    Use as an async context manager; leaving it cancels everything. `start` keeps a task running indefinitely, `spawn` runs
    one to its end and only logs a failure.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self, name: str, job: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `job` until the supervisor stops, again with growing delays (1 s … 60 s) whenever it raises or ends."""
        return self._track(self._keep(name, job), name)

    def spawn(self, name: str, job: Awaitable[object]) -> asyncio.Task[None]:
        """Run `job` once in the background; a failure is logged with its name."""
        return self._track(self._once(name, job), name)

    async def stop(self) -> None:
        """Cancel every task and wait for all of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def names(self) -> list[str]:
        """Names of the tasks that run now, for the debug dump and tests."""
        return sorted(task.get_name() for task in self._tasks)

    def _track(self, coroutine: Awaitable[None], name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _once(self, name: str, job: Awaitable[object]) -> None:
        try:
            await job
        except Exception:
            log.exception("supervisor.task_failed", task=name)

    async def _keep(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        while True:
            began = self._clock.monotonic()
            failure = None
            try:
                await job()
            except Exception as error:
                failure = error
            if self._clock.monotonic() - began > STEADY_S:
                backoff.reset()
            delay = backoff.next_s()
            if failure is None:
                log.warning("supervisor.task_ended", task=name)
            else:
                log.error("supervisor.task_failed", task=name, retry_in_s=delay, exc_info=failure)
            await self._clock.sleep(delay)
