"""Which container this process runs in, and how a helper would reach its Engine (updates.md §13.1, §13.2, §13.5).

The id stands in this process's own mounts; an Engine confirms it. Nothing is decided by the name of an image, which other
instances have too. What could not be determined yet is unknown, and unknown blocks nothing.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import structlog

from drydock.core.compose_labels import SERVICE
from drydock.core.errors import ConfigError, EngineError, EngineNotFound
from drydock.core.labels import UPDATE_MODE
from drydock.core.model import Container, HostKey
from drydock.core.operation import Operation
from drydock.core.temporary import temporary_base
from drydock.docker.api import Document, EngineReader
from drydock.docker.connect import DEFAULT_PORT
from drydock.docker.namespaces import joins, shared_with
from drydock.hosts.host import Endpoint, Host, Hosts
from drydock.updates.plan.clone import networks_of
from drydock.updates.plan.effects import StepFailed
from drydock.updates.self_update.curl_healthcheck import NOT_DETECTED, CurlOverride, curl_override
from drydock.updates.self_update.helper import NO_IMAGE, Access, Helper, document, order_for, user_for

log = structlog.get_logger("self-update")


_IDENTITY_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_IN_MOUNTS = re.compile(r"containers/([0-9a-f]{64})/")
_IN_CGROUP = re.compile(r"(?:docker|libpod|cri-containerd)[-/]([0-9a-f]{64})")
_UPPER = re.compile(r"upperdir=([^,\s]+)")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")
INFRASTRUCTURE = "infrastructure"


@dataclass(frozen=True)
class Signs:
    """What a process sees of the container around it: ids, mount points, the upper folder of its root, its host name."""

    ids: tuple[str, ...] = ()
    mount_points: frozenset[str] = frozenset()
    upper: str | None = None
    hostname: str = ""


def signs(mountinfo: str, cgroup: str, hostname: str) -> Signs:
    """Read the signs from `/proc/self/mountinfo`, `/proc/self/cgroup` and the host name."""
    ids: list[str] = []
    points, upper = set[str](), None
    for fields in (line.split() for line in mountinfo.splitlines()):
        if len(fields) < 5:
            continue
        points.add(fields[4])
        if fields[4] == "/" and (found := _UPPER.search(fields[-1])):
            upper = found[1]
        if fields[4] in _IDENTITY_FILES and (found := _IN_MOUNTS.search(fields[3])):
            ids.append(found[1])
    ids += _IN_CGROUP.findall(cgroup)
    return Signs(tuple(dict.fromkeys(ids)), frozenset(points), upper, hostname)


def own_signs() -> Signs:
    """The signs of this very process."""
    files = (Path("/proc/self/mountinfo"), Path("/proc/self/cgroup"))
    mountinfo, cgroup = (file.read_text(errors="replace") if file.exists() else "" for file in files)
    return signs(mountinfo, cgroup, socket.gethostname())


class OwnContainer:
    """What this process knows of the container that it may run in, by host. `finalize_url` is "" without a server.

    `is_self` and the like answer from what `learn` found out.
    """

    def __init__(self, found: Signs, hosts: Hosts, *, finalize_url: str = "", grace_s: float = 0) -> None:
        self._signs = found
        self._hosts = hosts
        self._finalize_url = finalize_url
        self._grace_s = grace_s
        self._known: dict[HostKey, Document | None] = {}
        """The own container, on each host that has answered; None where it is not."""

    # ── who ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def learn(self, key: HostKey) -> None:
        """Ask the Engine of a host, unless it has answered before. One that does not answer is asked again."""
        if key in self._known:
            return
        try:
            own = await self._look(self._hosts.of(key))
        except EngineError as error:
            log.info("self-update.identity_unknown", watcher=key.watcher, error=error.message)
            return
        policy = (((own or {}).get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
        if own is not None and policy in (None, "", "no"):
            log.warning(
                "self-update.no_restart_policy",
                container=own["Name"].lstrip("/"),
                hint="Give Drydock's own container a restart policy: interrupted updates are recovered at its next start",
            )

    def is_self(self, container: Container) -> bool:
        """Whether this process runs in `container`."""
        own = self._known.get(container.host)
        return own is not None and own["Id"] == container.id

    async def container_id(self, host: Host) -> str | None:
        """Id of the container of this process on `host`; None when it is not there. Raises `EngineError`."""
        own = await self._look(host)
        return own["Id"] if own is not None else None

    async def _look(self, host: Host) -> Document | None:
        """The own container's document. The hostname counts only where it looks like the beginning of an id."""
        if host.key in self._known:
            return self._known[host.key]
        own: Document | None = None
        by_name = (self._signs.hostname,) if _SHORT_ID.fullmatch(self._signs.hostname) else ()
        for ref in (*self._signs.ids, *by_name):
            try:
                found = await host.reader.inspect_container(ref)
            except EngineNotFound:
                continue
            if found["Id"].startswith(ref) and (own := await self._tell_apart(host.reader, found)) is not None:
                break
        self._known[host.key] = own
        return own

    async def _tell_apart(self, engine: EngineReader, found: Document) -> Document | None:
        """A container that shares another's network shows that one's id in its mounts: distinguish the two."""
        candidates = [found]
        for entry in await engine.list_containers():
            if (entry.get("HostConfig") or {}).get("NetworkMode", "container:").startswith("container:"):
                other = await engine.inspect_container(entry["Id"])
                if joins(shared_with(other), found):
                    candidates.append(other)
        if len(candidates) == 1:
            return found
        return next((one for one in candidates if self._has_our_mounts(one)), None)

    def _has_our_mounts(self, container: Document) -> bool:
        upper = ((container.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
        if upper and self._signs.upper:
            return bool(upper == self._signs.upper)
        places = {mount["Destination"] for mount in container.get("Mounts") or []}
        return bool(places) and places <= self._signs.mount_points

    async def curl_healthcheck(self) -> CurlOverride:
        """Whether the own container's health check calls curl; not detected as well when no Engine can tell.

        Local sockets only: no other Engine knows the container that Drydock runs in.
        """
        for host in self._hosts.all():
            if host.endpoint.socket is None:
                continue
            try:
                own = await self._look(host)
            except EngineError:
                return NOT_DETECTED
            if own is not None:
                return curl_override(own)
        return NOT_DETECTED

    # ── whether, and how ────────────────────────────────────────────────────────────────────────────────────────────

    def possible(self, container: Container) -> bool:
        """Whether a helper could reach the Engine; True as long as that is unknown."""
        own = self._known.get(container.host)
        if not self.is_self(container) or own is None:
            return True
        return _own_access(self._hosts.of(container).endpoint, own) is not None

    def by_helper(self, container: Container) -> bool:
        """Whether only a helper can update it: this process itself, or what it talks to the Engine through.

        The latter by its label, or by the name under which the watcher finds its Engine. A process outside of a
        container that has the socket itself needs no helper.
        """
        if self.is_self(container):
            return True
        host = self._hosts.get(container.host)
        if host is None or (host.endpoint.host is None and self._known.get(container.host) is None):
            return False
        labelled = container.labels.get(UPDATE_MODE, "").strip().lower() == INFRASTRUCTURE
        engine = host.endpoint.host
        return labelled or (engine is not None and engine in (container.name, container.labels.get(SERVICE)))

    async def helper(self, operation: Operation, host: Host, old: Document) -> Helper:
        """The helper of an operation whose containers exist. Raises `StepFailed` with the reason there can be none."""
        own = await self._look(host)
        if own is None:
            raise StepFailed(NO_IMAGE)
        itself = operation.kind == "self-update"
        access = _own_access(host.endpoint, own) if itself else _proxy_access(host.endpoint, own, old)
        if access is None:
            raise StepFailed("A helper container could not reach the Docker Engine: mount the Docker socket")
        secret = secrets.token_hex(32)
        grace_ms = round(self._grace_s * 1000)
        try:
            order = order_for(operation, access, self._finalize_url if itself else "", secret, grace_ms)
        except ConfigError as error:
            raise StepFailed(error.message) from error
        image = await host.reader.inspect_image(own["Image"])
        carrier = own if itself or access.socket is None else old
        user = user_for(carrier, same_image=carrier is own)
        made = document(order, access, carrier, image, user)
        return Helper(made, secret_digest(secret), access.networks)


def secret_digest(secret: str) -> str:
    """SHA-256 hex of a secret: all that is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _own_access(way: Endpoint, own: Document) -> Access | None:
    """As this process reaches the Engine; None when a helper, which gets no credentials, could not do the same."""
    if way.socket is not None:
        source = _source_of(own, way.socket)
        return Access(socket=source) if source else None
    if way.docker_host is None or way.host is None:
        return None
    # In every network of this container: any of them may be the one that leads to the Engine.
    mode = (own.get("HostConfig") or {}).get("NetworkMode") or "default"
    others = tuple(name for name in networks_of(own) if name != mode)
    return Access(
        host=way.host,
        port=way.port or DEFAULT_PORT,
        protocol=way.protocol or "http",
        network_mode=mode,
        networks=others,
    )


def _proxy_access(way: Endpoint, own: Document, target: Document) -> Access | None:
    """Through the socket that the target itself has; over TCP only when that does not lead through the target."""
    for mount in target.get("Mounts") or []:
        if mount.get("Type") == "bind" and str(mount.get("Source")).endswith(".sock"):
            return Access(socket=mount["Source"])
    name = target["Name"].lstrip("/")
    names = {name, temporary_base(name), (target["Config"].get("Labels") or {}).get(SERVICE)}
    return None if way.host is not None and way.host in names else _own_access(way, own)


def _source_of(own: Document, path: str) -> str | None:
    """Where on the host the socket lies that this container sees at `path`; None when it is no bind mount."""
    # `/var/run` is a link to `/run` nearly everywhere.
    other = path.removeprefix("/var") if path.startswith("/var/run/") else f"/var{path}"
    for wanted in (path, other) if path.startswith(("/var/run/", "/run/")) else (path,):
        for mount in own.get("Mounts") or []:
            place = str(mount.get("Destination"))
            if mount.get("Type") == "bind" and (wanted == place or wanted.startswith(place.rstrip("/") + "/")):
                rest = wanted[len(place) :].lstrip("/")
                return posixpath.join(mount["Source"], rest) if rest else str(mount["Source"])
    return None
