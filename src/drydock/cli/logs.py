"""`drydock logs NAME [-f]`: prints a container's log, from a running server (cli.md)."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from drydock.cli.client import Client, ClientError, client

POLL_S = 1.0
ENDINGS = {
    1006: "The connection to the server was lost",
    4001: "The container does not run. Leave out -f to read what it printed",
    4004: "The container is gone",
    1001: "The server stops",
    1011: "The log stream failed; the server's log says why",
    1013: "The lines came faster than they could be read here",
}
NO_COOKIE = 401
SHORTEST_PREFIX = 4


class LogsOptions(msgspec.Struct, frozen=True):
    """The options of the command line."""

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
        server = client(options.server, options.token, options.token_file)
        container = find(server, options.name)
        path = f"/api/v1/containers/{quote(container['id'], safe='')}/logs"
        if not options.follow:
            sys.stdout.write(server.text(path, **_query(options), timestamps=_word(options.timestamps)))
            return 0
        code = asyncio.run(_stream(server, path, options))
        if code == NO_COOKIE:
            # A stream needs a session cookie; with a token the log is polled instead.
            return _poll(server, path, options)
    except ClientError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    if code == 1000:
        return 0
    print(ENDINGS.get(code, f"The server closed the stream ({code})"), file=sys.stderr)
    return 1


def find(server: Client, name: str) -> dict[str, Any]:
    """The container with this id, name, or unique beginning of an id. Raises ClientError."""
    listed = server.get("/api/v1/containers")["data"]
    for fits in (
        lambda each: each["id"] == name,
        lambda each: name in (each["name"], each.get("displayName")),
        lambda each: len(name) >= SHORTEST_PREFIX and each["id"].startswith(name),
    ):
        found = [each for each in listed if fits(each)]
        if len(found) == 1:
            return dict(found[0])
        if found:
            ids = ", ".join(sorted(each["id"][:12] for each in found))
            raise ClientError(f"{name} is not unique. Give one of the ids: {ids}")
    raise ClientError(f"No watched container is called {name}.")


async def _stream(server: Client, path: str, options: LogsOptions) -> int:
    """Print what comes over the WebSocket; its close code."""
    url = server.url(f"{path}/stream", {**_query(options), "follow": "true"})
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    sys.stdout.write(_line(json.loads(message.data), options.timestamps))
                    sys.stdout.flush()
            return socket.close_code or 1006
    except aiohttp.WSServerHandshakeError as error:
        if error.status == 401 and server.token:
            return NO_COOKIE
        raise ClientError(f"The server refused the stream ({error.status} {error.message}).") from error
    except aiohttp.ClientConnectionError as error:
        raise server.unreachable(error) from error


def _poll(server: Client, path: str, options: LogsOptions, pause_s: float = POLL_S) -> int:
    """Ask again every `pause_s` seconds and print the lines that are new, until the container stops."""
    query, seen = _query(options), set[str]()
    while True:
        running = server.get(path.removesuffix("/logs"))["status"] == "running"
        lines = server.text(path, **query, timestamps="true").split("\n")[:-1]
        for line in lines:
            if line not in seen:
                stamp, _, text = line.partition(" ")
                sys.stdout.write(_line({"ts": stamp, "line": text}, options.timestamps))
        sys.stdout.flush()
        if not running:
            return 0
        if lines:
            second = lines[-1][:19]
            query = {**query, "since": f"{second}Z", "tail": "10000"}
            seen = {line for line in lines if line[:19] >= second}
        time.sleep(pause_s)


def _query(options: LogsOptions) -> dict[str, str]:
    found = {"stdout": _word(options.stdout), "stderr": _word(options.stderr), "tail": str(options.tail)}
    return {**found, "since": options.since} if options.since else found


def _line(message: dict[str, Any], timestamps: bool) -> str:
    return f"{message['ts']} {message['line']}\n" if timestamps else f"{message['line']}\n"


def _word(value: bool) -> str:
    return "true" if value else "false"
