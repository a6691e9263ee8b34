"""`drydock logs NAME [-f]`: prints a container's log, from a running server (cli.md)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from drydock.cli.remote import Refused, Remote, complaint, connected, token_of
from drydock.core.errors import DrydockError

POLL_S = 1.0
ENDINGS = {
    4001: "The container does not run. Leave out -f to read what it printed",
    4004: "The container is gone",
    1001: "The server stops",
    1011: "The log stream failed; the server's log says why",
    1013: "The lines came faster than they could be read here",
}
Write = Callable[[str], object]


class LogsOptions(msgspec.Struct, frozen=True):
    """What was asked for on the command line."""

    name: str
    server: str
    follow: bool = False
    tail: int = 1000
    since: str = ""
    stdout: bool = True
    stderr: bool = True
    timestamps: bool = False
    token: str | None = None
    token_file: str | None = None


def run(options: LogsOptions) -> int:
    """0 when everything was printed, 1 with the reason on standard error."""
    try:
        return asyncio.run(_main(options, sys.stdout.write))
    except DrydockError as error:
        print(complaint(error), file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0


async def _main(options: LogsOptions, write: Write) -> int:
    async with connected(options.server, token_of(options.token, options.token_file)) as remote:
        container = await remote.container(options.name)
        path = f"/api/v1/containers/{quote(container['id'], safe='')}/logs"
        if not options.follow:
            write(await remote.text(path, **_query(options), timestamps=_word(options.timestamps)))
            return 0
        try:
            return await _stream(remote, path, options, write)
        except Refused as refusal:
            if refusal.http_status != 401:
                raise
        # A stream wants a session cookie; with a token the log is asked for again and again instead.
        return await _poll(remote, path, options, write)


async def _stream(remote: Remote, path: str, options: LogsOptions, write: Write) -> int:
    async with remote.socket(f"{path}/stream", **_query(options), follow="true") as socket:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                write(_line(json.loads(message.data), options.timestamps))
                sys.stdout.flush()
        if socket.close_code in (1000, None):
            return 0
        print(ENDINGS.get(socket.close_code, f"Closed ({socket.close_code})"), file=sys.stderr)
        return 1


async def _poll(remote: Remote, path: str, options: LogsOptions, write: Write) -> int:
    query, seen = _query(options), set[str]()
    while True:
        lines = (await remote.text(path, **query, timestamps="true")).splitlines()
        for line in lines:
            if line not in seen:
                stamp, _, text = line.partition(" ")
                write(_line({"ts": stamp, "line": text}, options.timestamps))
        sys.stdout.flush()
        if not set(lines) - seen and (await remote.json(path.removesuffix("/logs")))["status"] != "running":
            return 0
        if lines:
            second = lines[-1][:19]
            query = {**query, "since": f"{second}Z", "tail": "10000"}
            seen = {line for line in lines if line[:19] >= second}
        await asyncio.sleep(POLL_S)


def _query(options: LogsOptions) -> dict[str, str]:
    found = {"stdout": _word(options.stdout), "stderr": _word(options.stderr), "tail": str(options.tail)}
    return {**found, "since": options.since} if options.since else found


def _line(message: dict[str, Any], timestamps: bool) -> str:
    return f"{message['ts']} {message['line']}\n" if timestamps else f"{message['line']}\n"


def _word(value: bool) -> str:
    return "true" if value else "false"
