"""Single flight: callers that ask the same thing at the same time share one task and its outcome, failure included.

The task belongs to this object, so a cancelled caller never cancels what others wait for (registries.md §9.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Running tasks by key."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    def flying(self, key: Hashable) -> bool:
        """Whether somebody asks this just now."""
        return key in self._tasks

    async def run(self, key: Hashable, make: Callable[[], Coroutine[object, object, T]]) -> T:
        """The outcome of the running task of this key, or of a new one."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(make(), name="registries:flight")
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel everything and wait for it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # marks it as seen: every caller may have gone
