"""A Docker Engine in memory: names, conflicts, states, restart policies, networks, addresses, volumes, images.

It follows what was measured on Engine 20.10 (updates.md §9.2) and passes the conformance suite of the real one. Every
call goes through `fault`, so that a test can stop, fail or lose any of them. Images say how their containers behave:
`runs`, `exits`, `no-start`, `unhealthy`, `slow` (healthy after 3 s).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from drydock.clock import Clock
from drydock.core.errors import EngineConflict, EngineError, EngineNotFound, EngineNotSupported
from drydock.core.times import to_iso
from drydock.docker.api import Created, ExecResult, PullAuth

from .facts import HOST_DEFAULTS, address, filtered, has, host_ports
from .images import digest_of, merge, normal, repository

Document = dict[str, Any]
T = TypeVar("T")

HOST_NAME = "fakehost"
BUILT_IN = ("bridge", "host", "none")
_IDS = itertools.count(1)


class Fault:
    """What may go wrong around call number `k` (1-based). The base lets everything pass."""

    def before(self, k: int, call: str) -> None:
        """Called before the effect; raise to prevent it."""

    def after(self, k: int, call: str) -> None:
        """Called after the effect; raise to lose the answer."""


class FakeEngine:
    """Implements `docker.api.Engine`. State is public for tests to look at."""

    def __init__(
        self,
        clock: Clock,
        *,
        restart_policy_updates: bool = True,
        platform: str = "amd64",
        podman: bool = False,
    ) -> None:
        self.clock = clock
        self.restart_policy_updates = restart_policy_updates
        self.platform = platform
        self.podman = podman
        self.containers: dict[str, Document] = {}
        self.images: dict[str, Document] = {}
        self.tags: dict[str, str] = {}
        self.stuck: set[str] = set()
        """Containers whose task the Engine lost: once stopped, they cannot be started before the Engine starts anew."""
        self.remote: dict[str, str] = {}
        self.networks: dict[str, Document] = {}
        self.volumes: dict[str, Document] = {}
        self.calls: list[str] = []
        self.fault = Fault()
        self.on_change: Callable[[], None] = lambda: None
        self.exec_codes: dict[str, int] = {}
        self.checks_hang = False
        """No health check ends any more: what they said stays."""
        self._events: list[Document] = []
        self._waiting: list[asyncio.Queue[Document]] = []
        for name in BUILT_IN:
            self.add_network(name)

    # ── preparing a host ────────────────────────────────────────────────────────────────────────────────────────────

    def add_image(
        self, reference: str, config: Document | None = None, *, behaviour: str = "runs", local: bool = True
    ) -> str:
        """Put an image into the registry and, if `local`, onto the host; returns its id."""
        config = {"Env": ["PATH=/bin"], "Cmd": ["serve"], "Entrypoint": None, **(config or {})}
        image_id, digest = digest_of(reference, config, next(_IDS)), digest_of("manifest", reference, next(_IDS))
        document = {"Id": image_id, "Config": config, "Architecture": self.platform, "Os": "linux", "Variant": ""}
        self.images[image_id] = {**document, "_behaviour": behaviour, "_here": False, "_digests": set()}
        self.images[image_id]["_digests"].add(f"{repository(reference)}@{digest}")
        self.remote[normal(reference)] = self.remote[f"{repository(reference)}@{digest}"] = image_id
        if local:
            self._land(normal(reference), image_id)
        return image_id

    def add_network(self, name: str) -> None:
        """Create a network; every one accepts any address."""
        self.networks[name] = {"Name": name, "Id": digest_of("network", name)[7:], "Driver": "bridge"}

    def add_container(self, name: str, document: Document, *, start: bool = True) -> str:
        """Create a container and start it, outside of any fault or count; its id."""
        created = self._create(name, document)
        if start:
            self._start(self.containers[created.id])
        return created.id

    def switch_on(self, id: str) -> None:
        """Start a container, outside of any fault or count."""
        self._start(self.containers[id])

    def take_away(self, id: str) -> None:
        """Remove a container, running or not, outside of any fault or count."""
        self._remove(self.containers[id], force=True, volumes=None)

    def join(self, network: str, id: str, endpoint: Document | None = None) -> None:
        """Connect a container to one more network."""
        self._connect(network, self.containers[id], endpoint or {})

    def leave(self, network: str, id: str) -> None:
        """Disconnect it."""
        self._disconnect(network, self.containers[id])

    def by_name(self, name: str) -> Document | None:
        """The container called `name`."""
        return next((c for c in self.containers.values() if c["Name"] == "/" + name), None)

    def names(self) -> dict[str, str]:
        """Name → state of every container."""
        return {c["Name"][1:]: c["State"]["Status"] for c in self.containers.values()}

    def crash(self) -> None:
        """SIGKILL and restart of the daemon without live-restore: everything stops; what comes back was measured."""
        for container in self.containers.values():
            if container["State"]["Running"]:
                self._stopped(container, 137)
        for container in list(self.containers.values()):
            if container["State"]["Status"] != "created" and self._revives(container):
                self._try_start(container)
        for container in list(self.containers.values()):
            if container["HostConfig"]["AutoRemove"] and container["State"]["Status"] == "exited":
                self._delete(container)
        self.on_change()

    @staticmethod
    def _revives(container: Document) -> bool:
        """Whether a daemon that starts runs a container again: `unless-stopped` does not come back after SIGKILL."""
        policy = container["HostConfig"]["RestartPolicy"]["Name"]
        return bool(policy == "always" or (policy == "on-failure" and container["State"]["ExitCode"] != 0))

    def ended(self, container: Document, code: int) -> None:
        """The process of a running container ended by itself; its restart policy applies."""
        self._stopped(container, code)
        policy = container["HostConfig"]["RestartPolicy"]["Name"]
        if policy in ("always", "unless-stopped") or (policy == "on-failure" and code):
            container["RestartCount"] += 1
            self._try_start(container)
        self.on_change()

    # ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def version(self) -> Document:
        return await self._call("version", self._version)

    async def info(self) -> Document:
        facts = {"Name": HOST_NAME, "DefaultRuntime": "runc", "Architecture": "x86_64", "OSType": "linux"}
        return await self._call("info", lambda: dict(facts))

    async def list_containers(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Document]:
        return await self._call("list", lambda: self._list(all, dict(filters or {})))

    async def inspect_container(self, ref: str) -> Document:
        return await self._call("inspect", lambda: self._shown(self._container(ref)))

    async def inspect_image(self, ref: str) -> Document:
        return await self._call("inspect_image", lambda: self._image_document(self._image(ref)))

    async def inspect_of_podman(self, kind: str, ref: str) -> Document:
        if not self.podman:
            raise EngineNotSupported(f"This Engine does not offer GET /libpod/{kind}", engine_status=404)
        if kind == "images":
            return await self._call("inspect_of_podman", lambda: self._image_document(self._image(ref))["Config"])
        return await self._call("inspect_of_podman", lambda: {"Config": {"CreateCommand": ["podman", "run"]}})

    async def list_images(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> list[Document]:
        here = [image for image in self.images.values() if image["_here"]]
        return await self._call("list_images", lambda: [self._image_document(image) for image in here])

    async def inspect_network(self, ref: str) -> Document:
        return await self._call("inspect_network", lambda: self._network_document(self._network(ref)))

    async def inspect_service(self, ref: str) -> Document:
        raise EngineError("This node is not a swarm manager", engine_status=503)

    # ── changing containers ─────────────────────────────────────────────────────────────────────────────────────────

    async def create_container(self, name: str, document: Document, *, platform: str | None = None) -> Created:
        return await self._call("create", lambda: self._create(name, document))

    async def start_container(self, ref: str) -> None:
        await self._call("start", lambda: self._start_by_hand(self._container(ref)))

    async def stop_container(self, ref: str, *, grace: int | None = None) -> None:
        await self._call("stop", lambda: self._stop(self._container(ref)))

    async def restart_container(self, ref: str, *, grace: int | None = None) -> None:
        await self._call("restart", lambda: self._restart(self._container(ref)))

    async def kill_container(self, ref: str, *, signal: str = "KILL") -> None:
        await self._call("kill", lambda: self._kill(self._container(ref)))

    async def rename_container(self, ref: str, name: str) -> None:
        await self._call("rename", lambda: self._rename(self._container(ref), name))

    async def remove_container(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        await self._call("remove", lambda: self._remove(self._container(ref), force, volumes))

    async def update_container(self, ref: str, document: Document) -> None:
        await self._call("update", lambda: self._update(self._container(ref), document))

    async def wait_container(self, ref: str, *, condition: str = "not-running") -> int:
        container = await self._call("wait", lambda: self._container(ref))
        while container["Id"] in self.containers and (condition == "removed" or container["State"]["Running"]):
            await self.clock.sleep(0.05)
        return int(container["State"]["ExitCode"])

    async def exec(
        self,
        ref: str,
        command: Sequence[str],
        *,
        env: Sequence[str] = (),
        limit: int = 65_536,
        user: str | None = None,
        working_dir: str | None = None,
        privileged: bool = False,
    ) -> ExecResult:
        return await self._call("exec", lambda: self._exec(self._container(ref), " ".join(command)))

    async def run_health_check(self, ref: str) -> None:
        if not self.podman:
            raise EngineNotSupported("This Engine does not offer GET /libpod/containers", engine_status=404)
        await self._call("health_check", lambda: self._count_check(self._container(ref)))

    async def connect_network(self, network: str, container: str, endpoint: Document) -> None:
        await self._call("connect", lambda: self._connect(network, self._container(container), endpoint))

    async def disconnect_network(self, network: str, container: str, *, force: bool = False) -> None:
        await self._call("disconnect", lambda: self._disconnect(network, self._container(container)))

    # ── images ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def pull_image(
        self, reference: str, *, platform: str | None = None, auth: PullAuth | None = None
    ) -> AsyncIterator[Document]:
        yield {"status": f"Pulling from {repository(reference)}"}
        await self._call("pull", lambda: self._pull(normal(reference)))
        yield {"status": "Pull complete"}

    async def tag_image(self, ref: str, repository: str, tag: str) -> None:
        await self._call("tag", lambda: self._land(normal(f"{repository}:{tag}"), self._image(ref)["Id"]))

    async def remove_image(self, ref: str, *, force: bool = False, prune_parents: bool = True) -> None:
        await self._call("remove_image", lambda: self._remove_image(ref))

    # ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def events(
        self,
        *,
        filters: Mapping[str, Sequence[str]],
        since: int | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncIterator[Document]:
        queue: asyncio.Queue[Document] = asyncio.Queue()
        for event in self._events if since is not None else []:
            if event["timeNano"] >= (since or 0):
                queue.put_nowait(event)
        self._waiting.append(queue)
        if on_open is not None:
            on_open()
        wanted = filters.get("event")
        try:
            while True:
                event = await queue.get()
                if not wanted or event["Action"] in wanted:
                    yield event
        finally:
            self._waiting.remove(queue)

    async def logs(
        self,
        ref: str,
        *,
        stdout: bool = True,
        stderr: bool = True,
        follow: bool = False,
        tail: int | None = None,
        since: int = 0,
        timestamps: bool = True,
    ) -> AsyncIterator[bytes]:
        await self._call("logs", lambda: self._container(ref))
        for frame in self._container(ref).get("_logs", []):
            yield frame

    async def stats(self, ref: str) -> AsyncIterator[Document]:
        while self._container(ref)["State"]["Running"]:
            yield await self.stats_once(ref)
            await self.clock.sleep(1)

    async def stats_once(self, ref: str) -> Document:
        return await self._call("stats", lambda: {"id": self._container(ref)["Id"], "read": self._now()})

    async def close(self) -> None:
        """Nothing to close."""

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call(self, name: str, effect: Callable[[], T]) -> T:
        self.calls.append(name)
        k = len(self.calls)
        await asyncio.sleep(0)
        self.fault.before(k, name)
        result = effect()
        self.on_change()
        self.fault.after(k, name)
        return result

    def _version(self) -> Document:
        components = [{"Name": "Podman Engine", "Version": "4.3.1"}] if self.podman else []
        return {"ApiVersion": "1.41", "Version": "20.10.24", "Components": components}

    def _now(self) -> str:
        return to_iso(self.clock.now_ms())

    def _emit(self, action: str, container: Document, **attributes: str) -> None:
        names = {"name": container["Name"][1:], "image": container["Config"]["Image"], **attributes}
        actor = {"ID": container["Id"], "Attributes": {**container["Config"]["Labels"], **names}}
        now = self.clock.now_ms()
        event = {"Type": "container", "Action": action, "Actor": actor, "time": now // 1000}
        event["timeNano"] = max(now * 10**6, self._events[-1]["timeNano"] + 1 if self._events else 0)
        event["id"] = container["Id"]
        self._events.append(event)
        for queue in self._waiting:
            queue.put_nowait(event)

    def _container(self, ref: str) -> Document:
        by_prefix = (c for i, c in self.containers.items() if len(ref) >= 12 and i.startswith(ref))
        found = self.containers.get(ref) or self.by_name(ref.lstrip("/")) or next(by_prefix, None)
        if found is None:
            raise EngineNotFound(f"No such container: {ref}", engine_status=404)
        return found

    def _image(self, ref: str) -> Document:
        image = self.images.get(ref) or self.images.get(self.tags.get(normal(ref), ""))
        by_digest = (i for i in self.images.values() if normal(ref) in i["_digests"])
        image = image or next(by_digest, None)
        if image is None or not image["_here"]:
            raise EngineNotFound(f"No such image: {ref}", engine_status=404)
        return image

    def _image_document(self, image: Document) -> Document:
        shown = {key: deepcopy(value) for key, value in image.items() if not key.startswith("_")}
        shown["RepoTags"] = [tag for tag, image_id in self.tags.items() if image_id == image["Id"]]
        return {**shown, "RepoDigests": sorted(image["_digests"])}

    def _network(self, ref: str) -> Document:
        found = self.networks.get(ref) or next((n for n in self.networks.values() if n["Id"] == ref), None)
        if found is None:
            raise EngineNotFound(f"network {ref} not found", engine_status=404)
        return found

    def _network_document(self, network: Document) -> Document:
        attached = [c for c in self.containers.values() if network["Name"] in c["NetworkSettings"]["Networks"]]
        running = {c["Id"]: {"Name": c["Name"][1:]} for c in attached if c["State"]["Running"]}
        return {**deepcopy(network), "Containers": running}

    def _land(self, reference: str, image_id: str) -> None:
        self.images[image_id]["_here"] = True
        self.tags[reference] = image_id

    def _pull(self, reference: str) -> None:
        if reference not in self.remote:
            raise EngineNotFound(f"manifest for {reference} not found", engine_status=404)
        image_id = self.remote[reference]
        self.images[image_id]["_here"] = True
        if "@" not in reference:
            self.tags[reference] = image_id

    def _remove_image(self, ref: str) -> None:
        image = self._image(ref)
        tags = [tag for tag, image_id in self.tags.items() if image_id == image["Id"]]
        wanted = tags if ref == image["Id"] else [normal(ref)]
        if wanted == tags and any(c["Image"] == image["Id"] for c in self.containers.values()):
            raise EngineConflict("image is being used by a container", engine_status=409)
        for tag in wanted:
            self.tags.pop(tag, None)
        image["_here"] = wanted != tags

    def prune_images(self) -> None:
        """`docker image prune`: images without tag and without container go."""
        for image in self.images.values():
            used = any(c["Image"] == image["Id"] for c in self.containers.values())
            image["_here"] = image["_here"] and (used or image["Id"] in self.tags.values())

    def _list(self, everything: bool, filters: dict[str, Sequence[str]]) -> list[Document]:
        found = [self._entry(c) for c in self.containers.values() if everything or c["State"]["Running"]]
        return filtered(found, filters)

    def _entry(self, container: Document) -> Document:
        host = {} if self.podman else {"HostConfig": {"NetworkMode": container["HostConfig"]["NetworkMode"]}}
        return {
            "Id": container["Id"],
            "Names": [container["Name"]],
            "Image": container["Config"]["Image"],
            "ImageID": container["Image"],
            "Labels": dict(container["Config"]["Labels"]),
            "State": container["State"]["Status"],
            "Status": container["State"]["Status"],
            "Created": 0,
            **host,
        }

    def _shown(self, container: Document) -> Document:
        self._refresh_health(container)
        for network, facts in container["NetworkSettings"]["Networks"].items():
            live = container["State"]["Running"] and network in self.networks and not self.podman
            facts["EndpointID"] = digest_of("endpoint", container["Id"], network)[7:] if live else ""
        return {key: deepcopy(value) for key, value in container.items() if not key.startswith("_")}

    def _refresh_health(self, container: Document) -> None:
        check = container["Config"].get("Healthcheck")
        if self.checks_hang or not container["State"]["Running"] or not check or check.get("Test") == ["NONE"]:
            return
        behaviour = self.images[container["Image"]]["_behaviour"]
        age = self.clock.now_ms() - container["_started_ms"]
        due = 3000 if behaviour == "slow" else 1000
        if self.podman:  # nobody runs the check
            container["State"].setdefault("Health", {"Status": "starting", "FailingStreak": 0, "Log": []})
            return
        settled = "unhealthy" if behaviour == "unhealthy" else "healthy"
        container["State"]["Health"] = {"Status": settled if age >= due else "starting", "FailingStreak": 0, "Log": []}

    def _count_check(self, container: Document) -> None:
        self._refresh_health(container)
        bad = self.images[container["Image"]]["_behaviour"] == "unhealthy"
        streak = container["State"]["Health"]["FailingStreak"] + 1 if bad else 0
        retries = container["Config"]["Healthcheck"].get("Retries") or 3
        status = "healthy" if not bad else "unhealthy" if streak >= retries else container["State"]["Health"]["Status"]
        container["State"]["Health"] = {"Status": status, "FailingStreak": streak, "Log": []}

    def _create(self, name: str, document: Document) -> Created:
        if self.by_name(name):
            holder = self.by_name(name) or {}
            raise EngineConflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder["Id"]}".',
                engine_status=409,
            )
        config = deepcopy(document)
        host = {**deepcopy(HOST_DEFAULTS), **(config.pop("HostConfig", None) or {})}
        host["RestartPolicy"] = {"MaximumRetryCount": 0, **host["RestartPolicy"]}
        host["RestartPolicy"]["Name"] = host["RestartPolicy"].get("Name") or "no"
        endpoints = (config.pop("NetworkingConfig", None) or {}).get("EndpointsConfig") or {}
        self._validate(config, host, endpoints)
        image = self._image(config["Image"])
        container_id = digest_of("container", name, next(_IDS))[7:]
        container = self._assemble(container_id, name, merge(config, image["Config"]), host, image)
        self._attach_at_create(container, endpoints)
        container["Mounts"] = self._mounts(container)
        self.containers[container_id] = container
        self._emit("create", container)
        return Created(container_id)

    def _validate(self, config: Document, host: Document, endpoints: Document) -> None:
        if len(endpoints) > 1:
            raise EngineError("Container cannot be connected to network endpoints", engine_status=400)
        shared = host["NetworkMode"].startswith("container:")
        if shared and config.get("Hostname"):
            raise EngineError("conflicting options: hostname and the network mode", engine_status=400)
        if shared and (host.get("PortBindings") or config.get("ExposedPorts")):
            raise EngineError("conflicting options: port publishing and the network mode", engine_status=400)
        if host["AutoRemove"] and host["RestartPolicy"]["Name"] not in ("", "no"):
            raise EngineError("can't create 'AutoRemove' container with restart policy", engine_status=400)

    def _assemble(self, container_id: str, name: str, config: Document, host: Document, image: Document) -> Document:
        shared = host["NetworkMode"].startswith("container:")
        default_name = HOST_NAME if host["NetworkMode"] == "host" else container_id[:12]
        config["Hostname"] = config.get("Hostname") or ("" if shared else default_name)
        state = {
            "Status": "created",
            "Running": False,
            "Paused": False,
            "Restarting": False,
            "ExitCode": 0,
            "Error": "",
        }
        return {
            "Id": container_id,
            "Name": "/" + name,
            "Created": self._now(),
            "Image": image["Id"],
            "Config": config,
            "HostConfig": host,
            "State": {**state, "StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"},
            "RestartCount": 0,
            "NetworkSettings": {"Networks": {}},
            "Mounts": [],
        }

    def _attach_at_create(self, container: Document, endpoints: Document) -> None:
        mode = container["HostConfig"]["NetworkMode"]
        if mode.startswith("container:"):
            return
        wanted = endpoints or {"bridge" if mode == "default" else mode: {}}
        for name, endpoint in wanted.items():
            self._endpoint(container, name, endpoint)

    def _endpoint(self, container: Document, network: str, endpoint: Document) -> None:
        facts = deepcopy(endpoint or {})
        if network not in BUILT_IN:
            generated = [container["Id"][:12]]
            if container["Config"].get("Hostname") not in (None, "", container["Id"][:12]):
                generated.append(container["Config"]["Hostname"])
            facts["Aliases"] = [*(facts.get("Aliases") or []), *generated]
        mac = facts.pop("MacAddress", None)
        facts["NetworkID"] = self.networks.get(network, {}).get("Id", "")
        facts["MacAddress"] = mac or "02:42:ac:11:00:02"
        static = (facts.get("IPAMConfig") or {}).get("IPv4Address")
        facts["IPAddress"] = static or f"172.17.{next(_IDS) % 250}.{next(_IDS) % 250 + 2}"
        container["NetworkSettings"]["Networks"][network] = facts

    def _mounts(self, container: Document) -> list[Document]:
        host, found = container["HostConfig"], []
        for bind in host.get("Binds") or []:
            source, destination, *mode = bind.split(":")
            found.append(self._mount(source, destination, ",".join(mode)))
        for mount in host.get("Mounts") or []:
            if mount["Type"] == "volume":
                source = mount.get("Source") or self._anonymous()
                found.append(self._mount(source, mount["Target"], "ro" if mount.get("ReadOnly") else "", "z"))
        for entry in host.get("VolumesFrom") or []:
            found += [m for m in deepcopy(self._container(entry.split(":")[0])["Mounts"]) if not has(found, m)]
        for destination in container["Config"].get("Volumes") or {}:
            if not has(found, {"Destination": destination}):
                found.append(self._mount(self._anonymous(), destination, "", ""))
        return found

    def _anonymous(self) -> str:
        name = digest_of("volume", next(_IDS))[7:]
        self.volumes[name] = {"Name": name, "anonymous": True, "data": ""}
        return name

    def _mount(self, source: str, destination: str, mode: str, default_mode: str = "z") -> Document:
        if source.startswith("/"):
            return {"Type": "bind", "Source": source, "Destination": destination, "Mode": mode, "RW": "ro" not in mode}
        self.volumes.setdefault(source, {"Name": source, "anonymous": False, "data": ""})
        facts = {"Type": "volume", "Name": source, "Source": f"/volumes/{source}", "Destination": destination}
        return {**facts, "Driver": "local", "Mode": mode or default_mode, "RW": "ro" not in mode.split(",")}

    def _start_by_hand(self, container: Document) -> None:
        if container["Id"] in self.stuck and not container["State"]["Running"]:
            raise EngineError(f"task {container['Id']}: already exists", engine_status=500)
        self._start(container)

    def _start(self, container: Document) -> None:
        if container["State"]["Running"]:
            return
        behaviour = self.images[container["Image"]]["_behaviour"]
        try:
            self._can_start(container)
            if behaviour == "no-start":
                raise EngineError("exec: serve: executable file not found in $PATH", engine_status=400)
        except EngineError as error:
            container["State"]["Error"] = error.message
            raise
        now = f"{self._now()[:-1]}{next(_IDS) % 10**6:06d}Z"
        container["State"] |= {"Status": "running", "Running": True, "Error": "", "ExitCode": 0, "StartedAt": now}
        container["_started_ms"] = self.clock.now_ms()
        container["State"].pop("Health", None)
        self._refresh_health(container)
        self._emit("start", container)
        if behaviour == "exits":
            self._stopped(container, 3)
            if container["HostConfig"]["AutoRemove"]:
                self._delete(container)

    def _can_start(self, container: Document) -> None:
        running = [c for c in self.containers.values() if c["State"]["Running"] and c is not container]
        mode = container["HostConfig"]["NetworkMode"]
        if mode.startswith("container:"):
            if mode.partition(":")[2] not in self.containers:
                raise EngineError(f"No such container: {mode.partition(':')[2]}", engine_status=500)
            if not self.containers[mode.partition(":")[2]]["State"]["Running"]:
                raise EngineConflict("cannot join network of a non running container", engine_status=409)
        for field in ("IpcMode", "PidMode"):
            kind, _, owner = (container["HostConfig"].get(field) or "").partition(":")
            if kind == "container" and owner not in self.containers:
                raise EngineError(f"No such container: {owner}", engine_status=500)
        for name, facts in container["NetworkSettings"]["Networks"].items():
            self._network(name)
            if name in BUILT_IN and facts.get("Aliases"):
                raise EngineError("network-scoped alias is supported only for containers in user defined networks")
            wanted = (facts.get("IPAMConfig") or {}).get("IPv4Address")
            if wanted and any(address(other, name) == wanted for other in running):
                raise EngineError("Address already in use", engine_status=403)
        taken = {port for other in running for port in host_ports(other)}
        if taken & host_ports(container):
            raise EngineError("port is already allocated", engine_status=500)

    def _try_start(self, container: Document) -> None:
        try:
            self._start(container)
        except EngineError as error:
            container["State"]["Error"] = error.message

    def _stopped(self, container: Document, code: int) -> None:
        container["State"] |= {"Status": "exited", "Running": False, "Paused": False, "Restarting": False}
        container["State"] |= {"ExitCode": code, "FinishedAt": self._now()}
        container["State"].pop("Health", None)
        self._emit("die", container, exitCode=str(code))

    def _stop(self, container: Document) -> None:
        if container["State"]["Running"]:
            self._stopped(container, 0)
            self._emit("stop", container)
            if container["HostConfig"]["AutoRemove"]:
                self._delete(container)

    def _restart(self, container: Document) -> None:
        if container["State"]["Running"]:
            self._stopped(container, 0)
        self._start(container)

    def _kill(self, container: Document) -> None:
        if not container["State"]["Running"]:
            raise EngineConflict(f"Container {container['Id']} is not running", engine_status=409)
        self._stopped(container, 137)
        if container["HostConfig"]["AutoRemove"]:
            self._delete(container)

    def _rename(self, container: Document, name: str) -> None:
        holder = self.by_name(name)
        if holder is container:
            raise EngineError("Renaming a container with the same name as its current name", engine_status=400)
        if holder is not None:
            raise EngineConflict(f'The container name "/{name}" is already in use by container "{holder["Id"]}"')
        old, container["Name"] = container["Name"], "/" + name
        self._emit("rename", container, oldName=old)

    def _remove(self, container: Document, force: bool, volumes: bool | None) -> None:
        if self.podman and any(f"container:{container['Id']}" in c["HostConfig"].values() for c in self._all()):
            raise EngineError("container has dependent containers which must be removed before it", engine_status=500)
        if container["State"]["Running"] and not force:
            raise EngineConflict("You cannot remove a running container. Stop it first.", engine_status=409)
        if container["State"]["Running"]:
            self._stopped(container, 137)
        self._delete(container, volumes=volumes)

    def _all(self) -> list[Document]:
        return list(self.containers.values())

    def _delete(self, container: Document, *, volumes: bool | None = None) -> None:
        if container["Id"] not in self.containers:
            return
        del self.containers[container["Id"]]
        if volumes if volumes is not None else container["HostConfig"]["AutoRemove"]:
            for mount in container["Mounts"]:
                self._forget_volume(mount.get("Name"))
        self._emit("destroy", container)

    def _forget_volume(self, name: str | None) -> None:
        used = any(m.get("Name") == name for c in self.containers.values() for m in c["Mounts"])
        if name in self.volumes and self.volumes[name]["anonymous"] and not used:
            del self.volumes[name]

    def _update(self, container: Document, document: Document) -> None:
        if not self.restart_policy_updates:
            raise EngineNotSupported("This Engine does not offer POST /containers/ID/update", engine_status=404)
        if "RestartPolicy" in document and not container["HostConfig"]["AutoRemove"]:
            container["HostConfig"]["RestartPolicy"] = {"MaximumRetryCount": 0, **document["RestartPolicy"]}

    def _connect(self, network: str, container: Document, endpoint: Document) -> None:
        if container["State"]["Running"]:
            self._network(network)
        if network in container["NetworkSettings"]["Networks"]:
            raise EngineError(f"container already attached to network {network}", engine_status=403)
        self._endpoint(container, network, endpoint)

    def _disconnect(self, network: str, container: Document) -> None:
        if container["NetworkSettings"]["Networks"].pop(network, None) is None:
            raise EngineError(f"container is not connected to network {network}", engine_status=500)

    def _exec(self, container: Document, command: str) -> ExecResult:
        if not container["State"]["Running"]:
            raise EngineConflict(f"Container {container['Id']} is not running", engine_status=409)
        return ExecResult(self.exec_codes.get(command, 0), "")
