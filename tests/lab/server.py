"""The product's own server as a process of its own, for tests over HTTP. What it watches is up to the variables given."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from kit.wait import eventually

from .registry import free_port

PROGRAM = str(pathlib.Path(sys.executable).with_name("drydock"))


class ProductServer:
    """`drydock serve` on the loopback, open to everybody unless `variables` say otherwise. Its data outlive `stop`."""

    def __init__(self, home: pathlib.Path, variables: Mapping[str, str]) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {
            "DD_SERVER_HOST": "127.0.0.1",
            "DD_SERVER_PORT": str(self.port),
            "DD_STORE_PATH": str(home),
            "DD_ANONYMOUS_AUTH_CONFIRM": "true",
            **variables,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "DOCKER_"))}
        self._environment = {**clean, **own}

    def start(self) -> ProductServer:
        """Start it and wait until it answers."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "serve"], env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(lambda: self.request("GET", "/health")[0], f"the server, see {self.home}/log", 90, self.process)
        return self

    def stop(self) -> int:
        """Stop it in an orderly way; its exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL, as a crash does."""
        self.process.kill()
        self.process.wait()

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, data, {**kind, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The document at `path`; anything but 200 raises."""
        status, _, body = self.request("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status} {body.decode(errors='replace')}")
        return json.loads(body)

    def scanned(self) -> dict[str, dict[str, Any]]:
        """Containers by name, once every watcher has ended its first scan."""

        def done() -> bool:
            watchers = self.get("/api/v1/watchers")["data"]
            return all(watcher["metadata"].get("lastRunAt") for watcher in watchers)

        eventually(done, f"the first scan, see {self.home}/log", 60, self.process)
        return {container["name"]: container for container in self.get("/api/v1/containers")["data"]}
