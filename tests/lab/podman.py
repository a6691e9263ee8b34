"""Podman's Docker-compatible service as a second kind of Engine. Runs inside a sandbox, beside a Docker Engine if wanted."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Sequence

from kit.wait import eventually

from .engine import EngineApi

_CONTAINERS = """[engine]
cgroup_manager="cgroupfs"
events_logger="file"
runtime="runc"
[containers]
log_driver="k8s-file"
[network]
network_backend="netavark"
network_config_dir="{home}/net"
"""


class PodmanEngine:
    """A `podman system service`. `registries` are the plain-HTTP hosts that it may pull from."""

    kind = "podman"

    def __init__(self, home: pathlib.Path, registries: Sequence[str] = ()) -> None:
        self.home = home
        self.socket = home / "p.sock"
        self.host = f"unix://{self.socket}"
        self.api = EngineApi(self.host)
        self._registries = registries

    def start(self) -> PodmanEngine:
        """Start it and wait until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._write_settings()
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        eventually(self.api.ping, "Podman", 30, self.process)
        return self

    def kill(self) -> None:
        """SIGKILL the service; its containers go on."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Kill the service and start it again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Stop the service; its containers go on until the sandbox ends."""
        self.process.terminate()
        self.process.wait()

    def _argv(self) -> list[str]:
        home = self.home
        folders = ["--root", f"{home}/root", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp"]
        return ["podman", *folders, "--storage-driver", "overlay", "system", "service", "--time=0", self.host]

    def _environment(self) -> dict[str, str]:
        home = str(self.home)
        own = {"CONTAINERS_CONF": f"{home}/containers.conf", "CONTAINERS_REGISTRIES_CONF": f"{home}/registries.conf"}
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**clean, **own, "TMPDIR": home}

    def _write_settings(self) -> None:
        (self.home / "containers.conf").write_text(_CONTAINERS.format(home=self.home))
        hosts = "".join(f'[[registry]]\nlocation="{host}"\ninsecure=true\n' for host in self._registries)
        (self.home / "registries.conf").write_text(f"unqualified-search-registries=[]\n{hosts}")
        (self.home / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')


def installed() -> str | None:
    """None where Podman can be started, else what is missing."""
    missing = [tool for tool in ("podman", "conmon", "runc") if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None
