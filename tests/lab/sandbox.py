"""A sandbox: network, mount and process namespaces of its own, gone with whoever started it.

Tests and product run inside one sandbox, so an Engine, registries and the product share a loopback that nobody else sees.
Everything inside dies when the sandbox's first process dies, and that one dies with the launcher, even by SIGKILL. Needs
root; `python -m lab.sandbox COMMAND…` runs a command inside and passes its exit status on. What runs inside is not
the business of this module.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from kit.wait import eventually

T = TypeVar("T")

INSIDE = "DRYDOCK_SANDBOX"
"""Set inside a sandbox: process id of its launcher, as seen from outside."""

HOME = pathlib.Path("/run/lab")
"""Private folder inside a sandbox, on a tmpfs that disappears with it. Short: a socket path may have 107 bytes."""

_UNSHARE = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child=SIGKILL",
    "--mount-proc",
    "--propagation",
    "private",
]

# Private tmpfs: /run against stale sockets, /etc/docker because key.json there is the Engine's identity,
# /var/lib/containers because Podman caches in it.
_BOOT = (
    "ip link set lo up; for d in /run /etc/docker /var/lib/containers; do mkdir -p $d; mount -t tmpfs none $d; done;"
    ' mkdir -p /run/lab; exec docker-init -- "$@"'
)

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Sandbox:
    """One sandbox; with no command it idles until `stop`. Start it from the main thread: the death signal follows the thread."""

    def __init__(
        self,
        command: Sequence[str] = ("sleep", "infinity"),
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._command = list(command)
        self._env = {**os.environ, **(env or {}), INSIDE: _owner()}
        self._pass_fds = pass_fds

    def start(self) -> Sandbox:
        """Make the namespaces and start the command as the child of a small init."""
        argv = [*_UNSHARE, "sh", "-c", _BOOT, "sh", *self._command]
        self.outer = subprocess.Popen(argv, env=self._env, pass_fds=self._pass_fds)
        self.init = eventually(lambda: child_of(self.outer.pid, b"docker-init"), "the sandbox", process=self.outer)
        return self

    def popen(self, *argv: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start one more program inside."""
        enter = ["nsenter", "-t", str(self.init), "-n", "-m", "-p", *map(str, argv)]
        return subprocess.Popen(enter, stdin=subprocess.DEVNULL, **options)

    def signal(self, number: int) -> None:
        """Send a signal to the sandbox's command."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, number)

    def wait(self) -> int:
        """Wait for the command and return its exit status as a shell does."""
        code = self.outer.wait()
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """End everything inside at once."""
        self.signal(signal.SIGKILL)
        self.outer.wait()


def child_of(pid: int, name: bytes) -> int | None:
    """Process id of the child whose command line holds `name` (unshare and nsenter fork)."""
    kids = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next((int(kid) for kid in kids if name in pathlib.Path(f"/proc/{kid}/cmdline").read_bytes()), None)


def possible() -> str | None:
    """None where a sandbox can be made, else what is missing."""
    if os.geteuid() != 0:
        return "a sandbox of its own needs root"
    missing = [tool for tool in ("unshare", "setpriv", "nsenter", "ip", "docker-init") if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def inside() -> bool:
    """Whether this process runs in a sandbox."""
    return INSIDE in os.environ


def _owner() -> str:
    # A sandbox in a sandbox belongs to the launcher of the outer one: only that number means something outside.
    return os.environ.get(INSIDE) or str(os.getpid())


def cgroup_name(part: str) -> str:
    """A new name of a control group, which `sweep` recognises after its launcher has gone."""
    return f"drydock-lab-{_owner()}-{part}-{uuid.uuid4().hex[:8]}"


def sweep() -> None:
    """Remove the empty control groups of sandboxes that are gone: the only thing a sandbox leaves. Does nothing inside of one."""
    if inside():
        return
    groups = pathlib.Path("/sys/fs/cgroup")
    for top in groups.glob("*/drydock-lab-*"):
        owner = top.name.split("-")[2]
        if owner == str(os.getpid()) or not pathlib.Path(f"/proc/{owner}").exists():
            _remove_empty(top)
    for top in groups.glob("*/libpod_parent"):  # Podman's fixed name; a group in use refuses
        _remove_empty(top)


def _remove_empty(top: pathlib.Path) -> None:
    for group in sorted([top, *top.glob("**/")], reverse=True):
        with contextlib.suppress(OSError):
            group.rmdir()


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()) -> int:
    """Run `command` in a sandbox; TERM, INT and HUP reach it; its exit status is returned. `pass_fds` stay open inside."""
    sweep()
    sandbox = Sandbox(command, env=env, pass_fds=pass_fds).start()
    for number in _FORWARDED:
        signal.signal(number, lambda received, _: sandbox.signal(received))
    try:
        return sandbox.wait()
    finally:
        sweep()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
