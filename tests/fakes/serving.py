"""An application behind a real HTTP server on a free port of loopback, served as the product is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn

from drydock.api.asgi import App
from drydock.api.streams import Streams

PATIENCE_S = 20


@asynccontextmanager
async def serving(app: App, streams: Streams) -> AsyncIterator[str]:
    """Serve until the end of the block; gives the address. Open streams are ended first, as the product does."""
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
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE_S):
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        streams.close()
        server.should_exit = True
        await task
