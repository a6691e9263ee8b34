"""An application behind a real HTTP server on a free port of loopback, served as the product is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn

from drydock.sse import Streams

from .wait import until


@asynccontextmanager
async def http_server(app: Any, streams: Streams, **options: Any) -> AsyncIterator[str]:
    """Serve until the end of the block; gives the address. Open streams are ended first, as the product does.

    `options` are those of `uvicorn.Config`.
    """
    config = uvicorn.Config(
        cast(Any, app),
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        ws="websockets-sansio",
        **options,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started or running.done(), "the HTTP server")
    if running.done():
        running.result()  # raises what kept it from starting
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        streams.close()
        server.should_exit = True
        await running
