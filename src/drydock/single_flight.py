"""One call in flight per key: who asks the same while it runs joins it and gets its outcome, failure included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Running calls by key.

    The call belongs to this object, so a cancelled caller never cancels what others wait for. When every caller has
    gone, a call goes on (its result is worth keeping), or with `abandon=True` is cancelled (it is expensive).
    """

    def __init__(self, *, abandon: bool = False) -> None:
        self._abandon = abandon
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._callers: dict[asyncio.Task[T], int] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether a call of this key is running."""
        return key in self._tasks

    async def run(self, key: Hashable, make: Callable[[], Coroutine[object, object, T]]) -> T:
        """The outcome of the running call of this key, or of a new one."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(make(), name="single-flight")
            task.add_done_callback(lambda done: self._finished(key, done))
        self._callers[task] = self._callers.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._callers[task] -= 1
            if not self._callers[task]:
                del self._callers[task]
                if self._abandon and not task.done():
                    del self._tasks[key]  # a new caller must not join what is being cancelled
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Cancel every running call and wait for the end of all."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: every caller may have gone
