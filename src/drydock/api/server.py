"""How the application is served: uvicorn, configured once for the product and for its tests.

Forwarded headers are read by `api.network` alone, so uvicorn's own reading is off. At the signal every stream is ended
first; `GRACE_S` is the safety net (platform.md §3).
"""

from __future__ import annotations

import socket
from pathlib import Path
from types import FrameType

import uvicorn

from drydock.api.asgi import App
from drydock.api.streams import Streams

GRACE_S = 10
BACKLOG = 2048


class Server(uvicorn.Server):
    """A server that ends its streams when it is told to stop."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT and SIGTERM."""
        self._streams.close()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Stop without a signal."""
        self._streams.close()
        self.should_exit = True

    @property
    def port(self) -> int:
        """The port listened on; known once `started`."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port


def server(
    app: App,
    streams: Streams,
    *,
    host: str | None = None,
    port: int = 3000,
    key: Path | None = None,
    certificate: Path | None = None,
) -> Server:
    """A server for `app`. `host` None listens on all interfaces, IPv4 and IPv6; port 0 takes a free one."""
    config = uvicorn.Config(
        app,
        host=host if host is not None else _everywhere(),
        port=port,
        backlog=BACKLOG,
        lifespan="on",
        ws="websockets-sansio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_keyfile=key,
        ssl_certfile=certificate,
    )
    return Server(config, streams)


def _everywhere() -> str:
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
