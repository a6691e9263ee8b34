"""Waiting for a condition with a deadline. A test never sleeps for luck: it waits for what it wants to see.

`until` for coroutines, `eventually` for synchronous tests of programs; `settle` where only tasks of this loop have to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TURNS = 60
"""Turns of the loop after which tasks without input or output have gone as far as they can."""

NOT_YET = (LookupError, StopIteration)
"""What a condition may raise while the thing that it looks for is not there."""


async def until(check: Callable[[], T], what: str = "the condition", seconds: float = 20.0) -> T:
    """Wait until `check` gives something true, which is returned; fails with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*NOT_YET):
            if found := check():
                return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.002)


def eventually(
    check: Callable[[], T | None],
    what: str,
    seconds: float = 20.0,
    process: subprocess.Popen[bytes] | None = None,
) -> T:
    """Repeat `check` until it gives something true. Fails at the deadline, or at once when `process` has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if found := check():
                return found
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what}: ended with status {process.returncode}")
        time.sleep(0.02)
    raise TimeoutError(f"{what}: not ready after {seconds} s")


async def settle(turns: int = TURNS) -> None:
    """Let every task run until it waits for something else than its turn."""
    for _ in range(turns):
        await asyncio.sleep(0)
