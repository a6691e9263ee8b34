"""A bounded memory of what happened a moment ago."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

from drydock.clock import Clock

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key for `seconds` after they were put; at most `most`, the oldest go first."""

    def __init__(self, clock: Clock, most: int, seconds: float = math.inf) -> None:
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._values: dict[Hashable, tuple[V, float]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        """The value, if it is still remembered."""
        held = self._values.get(key)
        return held[0] if held is not None and self._clock.monotonic() - held[1] < self._seconds else None

    def put(self, key: Hashable, value: V) -> None:
        """Remember a value from now on."""
        self._values.pop(key, None)
        while len(self._values) >= self._most:
            del self._values[next(iter(self._values))]
        self._values[key] = (value, self._clock.monotonic())
