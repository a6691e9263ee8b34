"""Long work on the event loop lets others have their turn: a request must not wait for a thousand containers."""

from __future__ import annotations

import asyncio

LONGEST_S = 0.005


class Turns:
    """Made where long work begins; `offer` between its pieces costs nothing until the work held the loop for 5 ms."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def offer(self) -> None:
        """Let everything else that is ready run once, when it is time."""
        if self._loop.time() - self._since > LONGEST_S:
            await asyncio.sleep(0)
            self._since = self._loop.time()
