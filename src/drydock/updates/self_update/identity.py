"""Which container this process runs in, and how a helper would reach its Engine (updates.md §13.1, §13.2, §13.5).

The id stands in this process's own mounts; an Engine confirms it. Nothing is decided by the name of an image, which other
instances have too. What nobody could ask yet is unknown, and unknown blocks nothing.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from drydock.core.compose_labels import SERVICE
from drydock.core.errors import ConfigError, EngineError, EngineNotFound
from drydock.core.labels import UPDATE_MODE
from drydock.core.model import Container
from drydock.core.operation import Operation
from drydock.core.recreate import joins, networks_of, shared_with
from drydock.core.temporary import temporary_base
from drydock.docker.api import Engine
from drydock.updates.effects import StepFailed
from drydock.updates.self_update.helper import Access, Helper, document, order_for, user_for
from drydock.updates.self_update.not_containerised import NO_IMAGE

log = structlog.get_logger("self-update")

Document = dict[str, Any]

_IDENTITY_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_IN_MOUNTS = re.compile(r"containers/([0-9a-f]{64})/")
_IN_CGROUP = re.compile(r"(?:docker|libpod|cri-containerd)[-/]([0-9a-f]{64})")
_UPPER = re.compile(r"upperdir=([^,\s]+)")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")
INFRASTRUCTURE = "infrastructure"


class OwnProcess(Protocol):
    """What the update room knows of its own process. `is_self` and the like answer from what `learn` found out."""

    def is_self(self, container: Container) -> bool: ...
    def possible(self, container: Container) -> bool: ...
    def by_helper(self, container: Container) -> bool: ...
    async def learn(self, watcher: str) -> None: ...
    async def container_id(self, engine: Engine) -> str | None: ...
    async def helper(self, operation: Operation, engine: Engine, old: Document) -> Helper: ...
    async def announce(self, operation: Operation) -> None: ...


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


@dataclass(frozen=True, kw_only=True)
class Route:
    """How a watcher reaches its Engine. `guarded`: by TLS or credentials, which a helper is not given."""

    socket: str = ""
    host: str | None = None
    port: int = 2375
    protocol: str = "http"
    guarded: bool = False


Tell = Callable[[Operation], Awaitable[object]]


class OwnContainer:
    """Implements `OwnProcess` for a process that may run in a container of one of its watchers' Engines."""

    def __init__(
        self,
        found: Signs,
        engine_for: Callable[[str, str | None], Engine],
        routes: Mapping[str, Route],
        *,
        announce: Tell,
        finalize_url: str,
        grace_ms: int,
    ) -> None:
        self._signs = found
        self._engine_for = engine_for
        self._routes = routes
        self._announce = announce
        self._finalize_url = finalize_url
        self._grace_ms = grace_ms
        self._known: dict[int, Document | None] = {}
        self._by_watcher: dict[str, Document | None] = {}

    # ── who ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def learn(self, watcher: str) -> None:
        """Ask the Engine of a watcher, unless it has answered before. One that does not answer is asked again."""
        if watcher not in self._by_watcher:
            try:
                self._by_watcher[watcher] = own = await self._look(self._engine_for(watcher, None))
                _advise(own)
            except EngineError as error:
                log.info("self-update.identity_unknown", watcher=watcher, error=error.message)

    def is_self(self, container: Container) -> bool:
        """Whether this process runs in `container`."""
        known = self._by_watcher.get(container.watcher) if container.agent is None else None
        return known is not None and known["Id"] == container.id

    async def container_id(self, engine: Engine) -> str | None:
        """Id of the container of this process on `engine`; None when it is not there. Raises `EngineError`."""
        known = await self._look(engine)
        return known["Id"] if known is not None else None

    async def _look(self, engine: Engine) -> Document | None:
        if id(engine) not in self._known:
            self._known[id(engine)] = await self._ask(engine)
        return self._known[id(engine)]

    async def _ask(self, engine: Engine) -> Document | None:
        hostname = self._signs.hostname
        by_name = (hostname,) if _SHORT_ID.fullmatch(hostname) else ()
        for ref in (*self._signs.ids, *by_name):
            try:
                found = await engine.inspect_container(ref)
            except EngineNotFound:
                continue
            if found["Id"].startswith(ref) and (ours := await self._lodger(engine, found)) is not None:
                return ours
        return None

    async def _lodger(self, engine: Engine, found: Document) -> Document | None:
        """A container that shares another's network shows that one's id in its mounts: tell the two apart."""
        rooms = [found]
        for entry in await engine.list_containers():
            if (entry.get("HostConfig") or {}).get("NetworkMode", "container:").startswith("container:"):
                other = await engine.inspect_container(entry["Id"])
                if joins(shared_with(other), found):
                    rooms.append(other)
        if len(rooms) == 1:
            return found
        return next((room for room in rooms if self._is_ours(room)), None)

    def _is_ours(self, room: Document) -> bool:
        upper = ((room.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
        if upper and self._signs.upper:
            return bool(upper == self._signs.upper)
        places = {mount["Destination"] for mount in room.get("Mounts") or []}
        return bool(places) and places <= self._signs.mount_points

    # ── whether, and how ────────────────────────────────────────────────────────────────────────────────────────────

    def possible(self, container: Container) -> bool:
        """Whether a helper could reach the Engine; True while nobody knows."""
        own = self._by_watcher.get(container.watcher)
        if not self.is_self(container) or own is None:
            return True
        return _own_access(self._routes[container.watcher], own) is not None

    def by_helper(self, container: Container) -> bool:
        """Whether only a helper can update it: this process itself, or what it talks to the Engine through."""
        if container.agent is not None:
            return False
        return self.is_self(container) or self._is_infrastructure(container)

    def _is_infrastructure(self, container: Container) -> bool:
        """By its label, or by the name under which the watcher finds its Engine. A process outside of a container that has
        the socket itself needs nobody's help."""
        route = self._routes.get(container.watcher)
        if route is None or (route.host is None and self._by_watcher.get(container.watcher) is None):
            return False
        labelled = container.labels.get(UPDATE_MODE, "").strip().lower() == INFRASTRUCTURE
        named = route.host is not None and route.host in (container.name, container.labels.get(SERVICE))
        return labelled or named

    async def helper(self, operation: Operation, engine: Engine, old: Document) -> Helper:
        """The helper of an operation whose containers exist. Raises `StepFailed` with the reason there can be none."""
        own = await self._look(engine)
        if own is None:
            raise StepFailed(NO_IMAGE)
        route = self._routes[operation.watcher]
        itself = operation.kind == "self-update"
        access = _own_access(route, own) if itself else _proxy_access(route, own, old)
        if access is None:
            raise StepFailed("A helper container could not reach the Docker Engine: mount the Docker socket")
        secret = secrets.token_hex(32)
        try:
            order = order_for(operation, access, self._finalize_url if itself else "", secret, self._grace_ms)
        except ConfigError as error:
            raise StepFailed(error.message) from error
        image = await engine.inspect_image(own["Image"])
        carrier = own if itself or access.socket is None else old
        user = user_for(carrier, same_image=carrier is own)
        made = document(order, access, carrier, image, user)
        return Helper(made, secret_digest(secret), access.networks)

    async def announce(self, operation: Operation) -> None:
        """Tell the browsers."""
        await self._announce(operation)


def _advise(own: Document | None) -> None:
    policy = (((own or {}).get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
    if own is not None and policy in (None, "", "no"):
        log.warning(
            "self-update.no_restart_policy",
            container=own["Name"].lstrip("/"),
            hint="Give Drydock's own container a restart policy: what a crash interrupts is put right at its next start",
        )


def secret_digest(secret: str) -> str:
    """SHA-256 hex of a secret: all that is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _own_access(route: Route, own: Document) -> Access | None:
    """As this process reaches the Engine; None when a helper could not do the same."""
    if route.host is not None:
        return None if route.guarded else _tcp(route, own)
    source = _source_of(own, route.socket)
    return Access(socket=source) if source else None


def _tcp(route: Route, own: Document) -> Access:
    """In every network of this container: any of them may be the one that leads to the Engine."""
    mode = (own.get("HostConfig") or {}).get("NetworkMode") or "default"
    others = tuple(name for name in networks_of(own) if name != mode)
    return Access(host=route.host, port=route.port, protocol=route.protocol, network_mode=mode, networks=others)


def _proxy_access(route: Route, own: Document, target: Document) -> Access | None:
    """Through the socket that the target itself has; over TCP only when that does not lead through the target."""
    for mount in target.get("Mounts") or []:
        if mount.get("Type") == "bind" and str(mount.get("Source")).endswith(".sock"):
            return Access(socket=mount["Source"])
    names = {target["Name"].lstrip("/"), (target["Config"].get("Labels") or {}).get(SERVICE)}
    if route.host is not None and _original(target, route.host) not in names:
        return _own_access(route, own)
    return _own_access(route, own) if route.host is None else None


def _original(target: Document, host: str) -> str:
    """`host` as the target is called now: it may have its temporary name."""
    name: str = target["Name"].lstrip("/")
    return name if temporary_base(name) == host else host


def _source_of(own: Document, path: str) -> str | None:
    """Where on the host the socket lies that this container sees at `path`; None when it is no bind mount."""
    for wanted in dict.fromkeys((path, _other_spelling(path))):
        for mount in own.get("Mounts") or []:
            place = str(mount.get("Destination"))
            if mount.get("Type") == "bind" and (wanted == place or wanted.startswith(place.rstrip("/") + "/")):
                rest = wanted[len(place) :].lstrip("/")
                return posixpath.join(mount["Source"], rest) if rest else str(mount["Source"])
    return None


def _other_spelling(path: str) -> str:
    """`/var/run` is a link to `/run` nearly everywhere."""
    if path.startswith("/var/run/"):
        return path.removeprefix("/var")
    return f"/var{path}" if path.startswith("/run/") else path
