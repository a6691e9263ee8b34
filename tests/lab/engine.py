"""A Docker Engine of the tests' own: started, killed and restarted at will. Runs inside a sandbox (`sandbox.py`).

Also the few synchronous Engine calls that preparing a scene needs; the product's own client is `drydock.docker`.
"""

from __future__ import annotations

import base64
import fcntl
import http.client
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

from kit.wait import eventually

from .sandbox import cgroup_name

_BRIDGES = itertools.count(1)
MOST_BRIDGES = 200


class UnixHTTP(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: pathlib.Path | str, timeout: float = 60) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineApi:
    """Plain calls to an Engine at `unix://…` or `tcp://…`; an answer of 400 or more raises with the Engine's own text."""

    def __init__(self, host: str) -> None:
        self.host = host

    def raw(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request; status and body."""
        connection = self._connection()
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """One request; the decoded answer (bytes where it is not one document)."""
        status, data = self.raw(method, path, body, headers)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {data.decode(errors='replace')}")
        try:
            return json.loads(data)
        except ValueError:
            return data

    def ping(self) -> bool:
        """Whether the Engine answers."""
        return self.raw("GET", "/_ping")[0] == 200

    def pull(self, reference: str, credentials: tuple[str, str] | None = None) -> None:
        """Pull `repository:tag`, with user name and password where they are needed."""
        name, tag = reference.rsplit(":", 1)
        path = f"/images/create?fromImage={name}&tag={tag}"
        progress = self.call("POST", path, headers=_registry_auth(credentials) if credentials else None)
        if b"errorDetail" in (progress if isinstance(progress, bytes) else json.dumps(progress).encode()):
            raise RuntimeError(f"pull {reference}: {progress!r}")

    def run(self, name: str, document: Mapping[str, Any]) -> str:
        """Create and start a container; its id."""
        created = self.call("POST", f"/containers/create?name={name}", document)
        self.call("POST", f"/containers/{created['Id']}/start")
        return str(created["Id"])

    def clear(self) -> None:
        """Remove every container, every network of one's own and every volume."""
        for container in self.call("GET", "/containers/json?all=1"):
            self.raw("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for network in self.call("GET", "/networks"):
            if network["Name"] not in ("bridge", "host", "none", "podman"):
                self.raw("DELETE", f"/networks/{network['Id']}")
        for volume in self.call("GET", "/volumes")["Volumes"] or []:
            self.raw("DELETE", f"/volumes/{volume['Name']}")

    def _connection(self) -> http.client.HTTPConnection:
        scheme, _, rest = self.host.partition("://")
        if scheme == "unix":
            return UnixHTTP(rest)
        name, _, port = rest.partition(":")
        return http.client.HTTPConnection(name, int(port or 2375), timeout=60)


def _registry_auth(credentials: tuple[str, str]) -> dict[str, str]:
    document = json.dumps({"username": credentials[0], "password": credentials[1]}).encode()
    return {"X-Registry-Auth": base64.urlsafe_b64encode(document).decode()}


class DockerEngine:
    """A dockerd. `host` is its address for the product, `api` the calls for preparing scenes."""

    kind = "docker"

    def __init__(self, home: pathlib.Path, *flags: str) -> None:
        self.home = home
        self.socket = home / "d.sock"
        self.host = f"unix://{self.socket}"
        self.api = EngineApi(self.host)
        self._flags = [f"--cgroup-parent=/{cgroup_name(home.name)}", *flags]

    def start(self) -> DockerEngine:
        """Start it and wait until it answers; one at a time in a sandbox, for they share its bridge and its rules."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home.parent.parent / "engines.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._launch()
        return self

    def _launch(self) -> None:
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,  # an interrupt from the terminal is for the tests, not for it
            )
        eventually(self.api.ping, "Docker Engine", 30, self.process)

    def kill(self) -> None:
        """SIGKILL the daemon, as a crash does. Containers live on until the next start."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Stop it in an orderly way and start it again."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop it in an orderly way; its containers stop too."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def log(self) -> str:
        """What the daemon printed."""
        return (self.home / "log").read_text(errors="replace")

    def _argv(self) -> list[str]:
        home = self.home
        folders = ["--data-root", f"{home}/data", "--exec-root", f"{home}/x", "--pidfile", f"{home}/pid"]
        return ["dockerd", "-H", self.host, *folders, *self._flags]

    def _environment(self) -> dict[str, str]:
        # Proxy settings of the machine must not divert pulls from the loopback.
        return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def own_bridge() -> list[str]:
    """Flags that let one more Engine live in the same sandbox: a bridge of its own, and no rules that another one would lose."""
    while True:  # several test processes may share a sandbox: the number is free when its bridge can be made
        number = next(_BRIDGES)
        name = f"lab{number}"
        if (
            subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=False, capture_output=True).returncode
            == 0
        ):
            break
        if number > MOST_BRIDGES:
            raise RuntimeError("No bridge can be made: is `ip` installed, and is this the sandbox?")
    subprocess.run(["ip", "addr", "add", f"10.88.{number}.1/24", "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return [f"--bridge={name}", "--iptables=false"]


def installed() -> str | None:
    """None where a Docker Engine can be started, else what is missing."""
    missing = [tool for tool in ("dockerd", "containerd", "runc") if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None
