"""The room put together: the event stream, fed from the bus, and the acknowledgements of self-updates."""

from __future__ import annotations

from typing import Self

from drydock.config.load import Settings
from drydock.kernel import Kernel, Room
from drydock.live.acknowledgements import Acknowledgements
from drydock.live.event_feed import EventFeed
from drydock.live.event_stream import EventStream
from drydock.live.settings import StreamSettings
from drydock.sse import Streams


class Live(Room):
    """`streams` is every open stream of the process, whatever it carries: close them before the server stops."""

    def __init__(self, kernel: Kernel, settings: StreamSettings) -> None:
        self.streams = Streams()
        self.events = EventStream(
            kernel.clock, self.streams, settings.sse_max_clients, log_addresses=settings.sse_debug_log_ip
        )
        self.acknowledgements = Acknowledgements(self.events, kernel.clock)
        self._supervisor = kernel.supervisor

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings) -> Self:
        """The room; what happens from now on is sent."""
        made = cls(kernel, settings[StreamSettings])
        feed = EventFeed(made.events, kernel.fleet.view_of, kernel.clock)
        kernel.bus.subscribe("event-stream", feed.handle, *feed.events)
        return made

    async def start(self) -> None:
        """Free the places of clients that are gone, every few minutes."""
        self._supervisor.start("event-stream:sweep", self.events.run)
