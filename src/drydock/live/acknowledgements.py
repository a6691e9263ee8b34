"""A self-update waits for one browser to say that it is ready to lose the server (platform-api.md §12.5)."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from drydock.clock import Clock
from drydock.core.times import to_iso
from drydock.live.event_stream import EventStream

DEFAULT_WAIT_MS = 3000


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What became of an acknowledgement."""

    status: Literal["accepted", "ignored", "rejected"]
    operation_id: str
    reason: str | None = None
    acked_clients: int | msgspec.UnsetType = msgspec.UNSET
    clients_at_emit: int | msgspec.UnsetType = msgspec.UNSET


class _Waiting:
    def __init__(self, clients: set[str]) -> None:
        self.clients = clients
        self.acked: set[str] = set()
        self.released = asyncio.Event()


class Acknowledgements:
    """Announces self-updates on the stream and waits for the first valid answer."""

    def __init__(self, stream: EventStream, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}

    async def announce(self, operation_id: str, *, requires_ack: bool, wait_ms: int = DEFAULT_WAIT_MS) -> bool:
        """Notify every client; with `requires_ack` wait for the first answer. True when one came in time."""
        waiting = _Waiting(self._stream.client_ids())
        self._waiting[operation_id] = waiting
        payload = {"opId": operation_id, "requiresAck": requires_ack, "ackTimeoutMs": wait_ms}
        self._stream.send("dd:self-update", {**payload, "startedAt": to_iso(self._clock.now_ms())})
        try:
            if requires_ack and waiting.clients:
                await asyncio.wait_for(waiting.released.wait(), wait_ms / 1000)
        except TimeoutError:
            return False
        finally:
            del self._waiting[operation_id]
        return bool(waiting.acked)

    def acknowledge(self, operation_id: str, client_id: str, token: str) -> Outcome:
        """An answer of a client; only a notified client, with its own token, releases the update."""
        waiting = self._waiting.get(operation_id)
        if waiting is None:
            return Outcome(status="ignored", operation_id=operation_id, reason="no-pending-ack")
        reason = self._stream.proves(client_id, token)
        if reason is None and client_id not in waiting.clients:
            reason = "client-not-bound-to-operation"
        if reason is not None:
            return Outcome(status="rejected", operation_id=operation_id, reason=reason)
        waiting.acked.add(client_id)
        waiting.released.set()
        return Outcome(
            status="accepted",
            operation_id=operation_id,
            acked_clients=len(waiting.acked),
            clients_at_emit=len(waiting.clients),
        )
