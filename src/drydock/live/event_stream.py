"""The event stream of the web interface: names, payloads, replay, limits (platform-api.md §12, container-api.md §12).

Every event is encoded once, whatever the number of clients. One that takes no more is closed and comes back with its
last event id, so it never delays another. HTTP lives in `api/routes/events.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import TooManyRequests
from drydock.sse import Channel, Streams, frame

log = structlog.get_logger("sse")

RING = 500
RING_S = 300.0
PER_ADDRESS = 10
PER_SESSION = 10
SWEEP_S = 300.0
UNTAKEN_S = 60.0

_LAST_ID = re.compile(r"([A-Za-z0-9_-]+):(\d{1,15})")


class TooManyStreams(TooManyRequests):
    """Over one of the limits of concurrent streams."""

    default = "Too many SSE connections"


class Kept(NamedTuple):
    """One event that can be replayed: its number, when it was sent (monotonic seconds), its frame."""

    number: int
    at: float
    frame: bytes


class Client(msgspec.Struct, kw_only=True, eq=False):
    """One connected client. `token_hash` proves later that a request comes from it."""

    id: str
    token_hash: bytes
    channel: Channel
    address: str
    session: str | None = None
    joined_at: float = 0.0
    taken: bool = False
    """Its frames are being sent; a client that left before that is not noticed otherwise."""


class Joined(NamedTuple):
    """A client, and the frames that it gets before anything else."""

    client: Client
    first: list[bytes]


class EventStream:
    """All clients of one process and what was sent lately. `boot_id` names the process."""

    def __init__(
        self,
        clock: Clock,
        streams: Streams,
        most_clients: int = 500,
        boot_id: str | None = None,
        *,
        log_addresses: bool = False,
    ) -> None:
        self.boot_id = boot_id or str(uuid.uuid4())
        self._clock = clock
        self._streams = streams
        self._most = most_clients
        self._salt = None if log_addresses else os.urandom(16)
        self._number = 0
        self._ring: deque[Kept] = deque()
        self._lost = 0
        self._clients: dict[str, Client] = {}
        self._addresses: Counter[str] = Counter()
        self._sessions: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    def send(self, name: str, payload: Any) -> None:
        """Send a durable event to all clients. Never blocks."""
        self._number += 1
        encoded = frame(name, payload, f"{self.boot_id}:{self._number}")
        self._ring.append(Kept(self._number, self._clock.monotonic(), encoded))
        self._evict()
        for client in self._clients.values():
            if not client.channel.offer(encoded):
                client.channel.close()

    async def run(self) -> None:
        """Sweep every 5 minutes, until cancelled."""
        while True:
            await self._clock.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """Give the places of clients free that are closed, or went away before the first frame was sent."""
        patience = self._clock.monotonic() - UNTAKEN_S
        for client in list(self._clients.values()):
            if client.channel.closed or (not client.taken and client.joined_at < patience):
                self.leave(client)

    def join(self, address: str, session: str | None, last_id: str | None) -> Joined:
        """Add a client and decide what it gets first: replay or resync, then `dd:connected`. `TooManyStreams`.

        No await lies between the decision and the registration, so that no event is lost or doubled.
        """
        self._admit(address, session)
        token = f"sse-token-{uuid.uuid4()}"
        client = Client(
            id=f"sse-client-{uuid.uuid4()}",
            token_hash=_hash(token),
            channel=self._streams.open(),
            address=address,
            session=session,
            joined_at=self._clock.monotonic(),
        )
        self._clients[client.id] = client
        self._addresses[address] += 1
        self._sessions[session or ""] += 1
        log.debug("sse.joined", client=client.id, address=self._shown(address), clients=len(self))
        hello = frame("dd:connected", {"clientId": client.id, "clientToken": token})
        return Joined(client, [*self._replay(last_id), hello])

    def leave(self, client: Client) -> None:
        """Remove a client and end its channel; calling it again changes nothing."""
        client.channel.close()
        if self._clients.pop(client.id, None) is not None:
            _release(self._addresses, client.address)
            _release(self._sessions, client.session or "")
            log.debug("sse.left", client=client.id, address=self._shown(client.address), clients=len(self))

    def _shown(self, address: str) -> str:
        """The address for the log: in clear when configured, else a hash that is meaningful to this process only."""
        if self._salt is None:
            return address
        return hashlib.sha256(self._salt + address.encode()).hexdigest()[:8]

    def proves(self, client_id: str, token: str) -> str | None:
        """Why a client's token is refused; None when it is its own."""
        client = self._clients.get(client_id)
        given = _hash(token)
        if client is not None and hmac.compare_digest(client.token_hash, given):
            return None
        known = any(hmac.compare_digest(other.token_hash, given) for other in self._clients.values())
        return "client-token-mismatch" if known or client is not None else "invalid-or-expired-client-token"

    def client_ids(self) -> set[str]:
        """Who is connected now."""
        return set(self._clients)

    def _admit(self, address: str, session: str | None) -> None:
        full = len(self._clients) >= self._most or self._addresses[address] >= PER_ADDRESS
        if full or (session is not None and self._sessions[session] >= PER_SESSION):
            raise TooManyStreams()

    def _replay(self, last_id: str | None) -> Iterator[bytes]:
        """The frames that a returning client missed, or one that asks it to reload everything."""
        match = _LAST_ID.fullmatch(last_id or "")
        if match is None:
            return
        boot, seen = match[1], int(match[2])
        self._evict()
        if boot != self.boot_id or seen > self._number:
            yield self._resync("boot-mismatch")
        elif seen < self._lost:
            yield self._resync("buffer-evicted")
        else:
            yield from (item.frame for item in self._ring if item.number > seen)

    def _evict(self) -> None:
        """Drop what is too old or too much; `_lost` is the number of the last event that cannot be replayed."""
        horizon = self._clock.monotonic() - RING_S
        while self._ring and (self._ring[0].at < horizon or len(self._ring) > RING):
            self._lost = self._ring.popleft().number

    def _resync(self, reason: str) -> bytes:
        """Takes a number, so that the client's next last-event-id is ours, but is not kept."""
        self._number += 1
        return frame("dd:resync-required", {"reason": reason}, f"{self.boot_id}:{self._number}")


def _release(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
