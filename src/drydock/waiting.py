"""Waiting with a limit, and leaving streams properly closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from drydock.clock import Clock

T = TypeVar("T")


async def wait_at_most(clock: Clock, event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set or `seconds` passed on `clock`; return whether it is set."""
    if event.is_set() or seconds <= 0:
        return event.is_set()
    happened = asyncio.ensure_future(event.wait())
    overdue = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((happened, overdue), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(happened, overdue)
    return event.is_set()


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel `tasks` and wait until each has ended, whatever its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def closing(stream: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Read `stream` within the block and close it at its end: leaving early closes the Engine's connection too."""
    try:
        yield stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
