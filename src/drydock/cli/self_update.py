"""The two commands of a self-update, run by Drydock in containers and never by people (updates.md §13.3).

`self-update-helper` exchanges the old container for the new one; `self-update-finalize` runs in the one that stays and
reports to its server how it ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from drydock.core.errors import DrydockError

REFUSED = 2
TERMINATED = 128 + signal.SIGTERM


def run_helper() -> int:
    """0 when the exchange is done; anything else makes the Engine start the helper again."""
    from drydock import log_setup

    log_setup.configure("info", "json")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))  # as process 1 it would not be ended otherwise
    try:
        return asyncio.run(_exchange())
    except DrydockError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1


async def _exchange() -> int:
    from drydock.clock import SystemClock
    from drydock.docker.connect import connect, resolve
    from drydock.hosts.local import LocalHost
    from drydock.updates.self_update import process
    from drydock.updates.self_update.helper import read_order

    order, clock = read_order(os.environ), SystemClock()
    settings = process.watcher_settings(order)
    host = LocalHost(settings, connect(resolve(settings)), clock)
    try:
        await process.run(order, host, clock)
    finally:
        await host.close()
    return 0


def run_finalize() -> int:
    """Hand the report in the environment to the server of this container; 0 when it took it."""
    import http.client
    import json
    import ssl
    from urllib.parse import urlsplit

    given = {name: os.environ.get(f"DD_SELF_UPDATE_{name}", "") for name in _FACTS}
    url = urlsplit(given["FINALIZE_URL"])
    if url.hostname not in ("127.0.0.1", "::1", "localhost"):
        print("error: DD_SELF_UPDATE_FINALIZE_URL must lead to the loopback", file=sys.stderr)
        return REFUSED
    body = {"operationId": given["OP_ID"], "status": given["STATUS"], "phase": given["PHASE"] or None}
    headers = {"Content-Type": "application/json", "X-DD-Self-Update-Secret": given["FINALIZE_SECRET"]}
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=10)
    if url.scheme == "https":  # the certificate is for other names than the loopback's
        loopback = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(url.hostname, url.port or 443, timeout=10, context=loopback)
    try:
        connection.request("POST", url.path, json.dumps({**body, "lastError": given["LAST_ERROR"] or None}), headers)
        return 0 if connection.getresponse().status == http.HTTPStatus.ACCEPTED else 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()


_FACTS = ("OP_ID", "FINALIZE_URL", "FINALIZE_SECRET", "STATUS", "PHASE", "LAST_ERROR")

COMMANDS = {"self-update-helper": run_helper, "self-update-finalize": run_finalize}
