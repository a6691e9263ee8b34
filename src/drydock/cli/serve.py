"""`drydock serve`: the server, from the `DD_*` variables alone. SIGTERM stops it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator

import structlog
import uvicorn
import uvloop

from drydock import log_setup
from drydock.api.http_protocol import BoundedProtocol
from drydock.api.settings import ServerSettings
from drydock.app import server as app
from drydock.app.settings import SCHEMA
from drydock.cli.config import report
from drydock.clock import SystemClock
from drydock.config.load import Settings, load
from drydock.core.errors import ConfigError
from drydock.logs.server_log import LogBuffer
from drydock.logs.settings import LogSettings
from drydock.store.prepare import prepare
from drydock.store.settings import StoreSettings

log = structlog.get_logger("server")

GRACE_S = 3
BACKLOG = 2048
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run() -> int:
    """Run until a signal; 0 after a clean stop, 1 when the configuration or the store cannot be used."""
    loaded = load(os.environ, SCHEMA)
    if loaded.settings is None:
        report(loaded.problems)
        return 1
    settings = loaded.settings
    buffer = LogBuffer(SystemClock().now_ms, settings[LogSettings].level, settings[LogSettings].buffer_enabled)
    log_setup.configure(settings[LogSettings].level, settings[LogSettings].format, extra=[buffer.processor])
    for problem in loaded.problems:
        log.warning("config.problem", variable=problem.variable, reason=problem.text)
    prepare(settings[StoreSettings])
    try:
        uvloop.run(_serve(settings, buffer))
    except ConfigError as error:
        print(f"error: {error.message}" + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings, buffer: LogBuffer) -> None:
    listener = listen(settings) if settings[ServerSettings].enabled else None
    async with app.run(settings, os.environ, log_buffer=buffer) as application:
        # what exists now stays until the end: exempt from garbage collection, which would cost 0.1 s each time
        gc.freeze()
        gc.enable()
        if listener is None:
            stop = asyncio.Event()
            for number in SIGNALS:
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await stop.wait()
            return
        host, port = listener.getsockname()[:2]
        address = f"{'[' + host + ']' if ':' in host else host}:{port}"
        log.info("server.listening", address=address, tls=settings[ServerSettings].tls)
        server = _Server(_uvicorn(settings, application), application)
        await server.serve(sockets=[listener])
    log.info("server.stopped")


def _uvicorn(settings: Settings, application: app.Application) -> uvicorn.Config:
    server = settings[ServerSettings]
    return uvicorn.Config(
        application.http,
        loop="uvloop",
        http=BoundedProtocol,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_keyfile=server.tls_key if server.tls else None,
        ssl_certfile=server.tls_cert if server.tls else None,
    )


class _Server(uvicorn.Server):
    """Ends event streams and sockets first on shutdown: they would delay it otherwise."""

    def __init__(self, config: uvicorn.Config, application: app.Application) -> None:
        super().__init__(config)
        self._application = application

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal ends the server, not the process: what stands around it stops in order, then the status is 0."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.services.live.streams.close()
        await super().shutdown(sockets)


def listen(settings: Settings) -> socket.socket:
    """The listening socket; ConfigError when the address cannot be used."""
    host, port = settings[ServerSettings].host, settings[ServerSettings].port
    try:
        if host is None and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        family = socket.AF_INET6 if host and ":" in host else socket.AF_INET
        return socket.create_server((host or "", port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host or 'all interfaces'} port {port}: {error.strerror}",
            hint="Set DD_SERVER_PORT or DD_SERVER_HOST, or stop what uses the port.",
        ) from error
