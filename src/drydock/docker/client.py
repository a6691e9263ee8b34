"""The Engine API's calls, as `docker.api.Engine` promises them: raw documents in, raw documents out.

Sockets, limits and the version pin are `transport.py`; what refusals mean is `errors.py`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.reference import DEFAULT_TAG, split
from drydock.docker.api import Created, Document, ExecResult, PullAuth
from drydock.docker.errors import pull_failure
from drydock.docker.events import EventParser
from drydock.docker.logs import Demultiplexer
from drydock.docker.transport import CHANGE_LIMIT_S, Params, Transport

UNKNOWN_GRACE_LIMIT_S = 600.0
"""Limit for a stop whose grace is the container's own setting."""

Filters = Mapping[str, Sequence[str]]


class EngineClient:
    """One Docker-compatible Engine over HTTP. Make it with `docker.connect.connect`; `close` it at the end."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport
        self.label = transport.label

    # facts about the Engine

    async def version(self) -> Document:
        """`GET /version`; also renews the version pin, so ask it after a reconnect."""
        document = _document(await self._http.json("GET", "/version"))
        self._http.pin(document)
        return document

    async def info(self) -> Document:
        """`GET /info`."""
        return _document(await self._http.json("GET", "/info"))

    # reading

    async def list_containers(self, *, all: bool = False, filters: Filters | None = None) -> list[Document]:
        """Running containers, or all."""
        return _documents(await self._http.json("GET", "/containers/json", params={"all": all, **_filters(filters)}))

    async def inspect_container(self, ref: str) -> Document:
        """Full document of a container by id, unique prefix or name."""
        return _document(await self._http.json("GET", f"/containers/{_segment(ref)}/json"))

    async def inspect_image(self, ref: str) -> Document:
        """Full document of an image by id or reference."""
        return _document(await self._http.json("GET", f"/images/{_path(ref)}/json"))

    async def inspect_of_podman(self, kind: Literal["images", "containers"], ref: str) -> Document:
        """Podman's own document of an image or container; `EngineNotSupported` elsewhere."""
        return _document(await self._http.json("GET", f"/libpod/{kind}/{_path(ref)}/json"))

    async def list_images(self, *, filters: Filters | None = None) -> list[Document]:
        """Images without intermediate layers."""
        return _documents(await self._http.json("GET", "/images/json", params=_filters(filters)))

    async def inspect_network(self, ref: str) -> Document:
        """Full document of a network by id or name."""
        return _document(await self._http.json("GET", f"/networks/{_segment(ref)}"))

    async def inspect_service(self, ref: str) -> Document:
        """Full document of a swarm service."""
        return _document(await self._http.json("GET", f"/services/{_segment(ref)}"))

    # streams

    async def events(
        self, *, filters: Filters, since: int | None = None, on_open: Callable[[], None] | None = None
    ) -> AsyncIterator[Document]:
        """Events as they happen; ends when the Engine closes the stream (watching.md §6)."""
        # the Engine takes seconds with nanoseconds behind the point
        start = None if since is None else f"{since // 1_000_000_000}.{since % 1_000_000_000:09d}"
        params = {**_filters(filters), "since": start}
        parser = EventParser()
        async with self._http.stream("GET", "/events", params=params) as chunks:
            if on_open is not None:
                on_open()
            async for chunk in chunks:
                for event in parser.feed(chunk):
                    yield event

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
        """Raw log bytes: framed (`docker.logs`) unless the container has a TTY. `since` is in Unix seconds.

        The first chunk is empty: it says that the Engine has answered, which a quiet log would not show.
        """
        if not (stdout or stderr):
            return
        params: Params = {
            "stdout": stdout,
            "stderr": stderr,
            "follow": follow,
            "timestamps": timestamps,
            "since": since,
            "tail": "all" if tail is None else tail,
        }
        async with self._http.stream("GET", f"/containers/{_segment(ref)}/logs", params=params) as chunks:
            yield b""
            async for chunk in chunks:
                yield chunk

    async def stats(self, ref: str) -> AsyncIterator[Document]:
        """Stats documents, one per interval of the Engine, until the container stops."""
        parser = EventParser()
        async with self._http.stream("GET", f"/containers/{_segment(ref)}/stats", params={"stream": True}) as chunks:
            async for chunk in chunks:
                for document in parser.feed(chunk):
                    yield document

    async def stats_once(self, ref: str) -> Document:
        """One stats document with its predecessor's figures; takes one to two seconds on Docker."""
        return _document(await self._http.json("GET", f"/containers/{_segment(ref)}/stats", params={"stream": False}))

    # changing containers

    async def create_container(self, name: str, document: Document, *, platform: str | None = None) -> Created:
        """Create a container from a create document (Config fields, HostConfig, NetworkingConfig)."""
        params: Params = {"name": name, "platform": platform}
        made = await self._http.json("POST", "/containers/create", params=params, body=document, limit=CHANGE_LIMIT_S)
        return Created(id=made["Id"], warnings=tuple(made.get("Warnings") or ()))

    async def start_container(self, ref: str) -> None:
        """Start it; running already is fine."""
        await self._http.send("POST", f"/containers/{_segment(ref)}/start")

    async def stop_container(self, ref: str, *, grace: int | None = None) -> None:
        """Stop it, by force after `grace` seconds (its own setting by default); stopped already is fine."""
        await self._http.send(
            "POST", f"/containers/{_segment(ref)}/stop", params={"t": grace}, limit=_grace_limit(grace)
        )

    async def restart_container(self, ref: str, *, grace: int | None = None) -> None:
        """Stop as `stop_container`, then start."""
        await self._http.send(
            "POST", f"/containers/{_segment(ref)}/restart", params={"t": grace}, limit=_grace_limit(grace)
        )

    async def kill_container(self, ref: str, *, signal: str = "KILL") -> None:
        """Send a signal to process 1."""
        await self._http.send("POST", f"/containers/{_segment(ref)}/kill", params={"signal": signal})

    async def rename_container(self, ref: str, name: str) -> None:
        """Give it another name; `EngineConflict` when taken."""
        await self._http.send("POST", f"/containers/{_segment(ref)}/rename", params={"name": name})

    async def remove_container(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it; `volumes` takes its anonymous volumes along."""
        await self._http.send("DELETE", f"/containers/{_segment(ref)}", params={"force": force, "v": volumes})

    async def update_container(self, ref: str, document: Document) -> None:
        """Change restart policy or resources. Podman 4: `EngineNotSupported`."""
        await self._http.send("POST", f"/containers/{_segment(ref)}/update", body=document)

    async def wait_container(self, ref: str, *, condition: str = "not-running") -> int:
        """Wait for `not-running`, `next-exit` or `removed`, without limit; the exit code."""
        path = f"/containers/{_segment(ref)}/wait"
        answer = await self._http.json("POST", path, params={"condition": condition}, limit=None)
        return int(answer["StatusCode"]) if isinstance(answer, dict) else int(answer)

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
        """Run a command inside and wait for its end; output of both streams in order, cut at `limit` bytes.

        As the container's own user and in its own folder unless others are named.
        """
        wanted: Document = {"Cmd": list(command), "Env": list(env), "AttachStdout": True, "AttachStderr": True}
        wanted |= {"Tty": False, "Privileged": privileged}
        wanted |= {key: value for key, value in (("User", user), ("WorkingDir", working_dir)) if value}
        made = await self._http.json("POST", f"/containers/{_segment(ref)}/exec", body=wanted)
        exec_path = f"/exec/{_segment(made['Id'])}"

        frames, kept = Demultiplexer(), bytearray()
        async with self._http.stream("POST", f"{exec_path}/start", body={"Detach": False, "Tty": False}) as chunks:
            async for chunk in chunks:
                for frame in frames.feed(chunk):
                    kept += frame.payload[: limit - len(kept)]

        # the stream may end a moment before the Engine has noted the exit: five seconds of looking are plenty
        for _ in range(100):
            document = await self._http.json("GET", f"{exec_path}/json")
            if not document.get("Running") and document.get("ExitCode") is not None:
                return ExecResult(exit_code=int(document["ExitCode"]), output=kept.decode(errors="replace"))
            await asyncio.sleep(0.05)
        raise EngineError("The command's output ended, but the Engine reports no exit code")

    async def run_health_check(self, ref: str) -> None:
        """Let Podman run the container's health check once and count the outcome; `EngineNotSupported` elsewhere."""
        await self._http.json("GET", f"/libpod/containers/{_segment(ref)}/healthcheck")

    async def connect_network(self, network: str, container: str, endpoint: Document) -> None:
        """Attach a container; `endpoint` is the EndpointConfig (aliases, addresses)."""
        body = {"Container": container, "EndpointConfig": endpoint}
        await self._http.send("POST", f"/networks/{_segment(network)}/connect", body=body)

    async def disconnect_network(self, network: str, container: str, *, force: bool = False) -> None:
        """Detach a container."""
        body = {"Container": container, "Force": force}
        await self._http.send("POST", f"/networks/{_segment(network)}/disconnect", body=body)

    # images

    async def pull_image(
        self, reference: str, *, platform: str | None = None, auth: PullAuth | None = None
    ) -> AsyncIterator[Document]:
        """Pull `reference` (without tag: `latest`), giving the Engine's progress; a failure inside it raises."""
        name, tag, digest = split(reference)
        params: Params = {"fromImage": name, "tag": digest or tag or DEFAULT_TAG, "platform": platform}
        headers = {}
        if auth is not None:
            login = {"username": auth.username, "password": auth.password, "serveraddress": name.partition("/")[0]}
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(msgspec.json.encode(login)).decode()
        parser = EventParser()
        async with self._http.stream("POST", "/images/create", params=params, headers=headers) as chunks:
            async for chunk in chunks:
                for progress in parser.feed(chunk):
                    if error := progress.get("error"):
                        raise pull_failure(str(error))
                    yield progress

    async def tag_image(self, ref: str, repository: str, tag: str) -> None:
        """Give an image one more reference."""
        await self._http.send("POST", f"/images/{_path(ref)}/tag", params={"repo": repository, "tag": tag})

    async def remove_image(self, ref: str, *, force: bool = False, prune_parents: bool = True) -> None:
        """Remove a reference, and the image with its last one."""
        await self._http.send("DELETE", f"/images/{_path(ref)}", params={"force": force, "noprune": not prune_parents})

    async def close(self) -> None:
        """Close every connection, streams included."""
        await self._http.close()


async def pull(engine: Any, reference: str, *, platform: str | None = None, auth: PullAuth | None = None) -> None:
    """Pull to the end, ignoring the progress."""
    async with aclosing(engine.pull_image(reference, platform=platform, auth=auth)) as progress:
        async for _ in progress:
            pass


def _filters(filters: Filters | None) -> dict[str, str | int | bool | None]:
    return {"filters": msgspec.json.encode(filters).decode()} if filters else {}


def _segment(ref: str) -> str:
    if ref.strip("./") == "":
        raise EngineNotFound(f"No such object: {ref!r}", engine_status=404)
    return quote(ref, safe="")


def _path(ref: str) -> str:
    if any(part in ("", ".", "..") for part in ref.split("/")):
        raise EngineNotFound(f"No such image: {ref!r}", engine_status=404)
    return quote(ref, safe="/:@")


def _grace_limit(grace: int | None) -> float | None:
    if grace is None:
        return UNKNOWN_GRACE_LIMIT_S
    return None if grace < 0 else grace + CHANGE_LIMIT_S


def _document(answer: Any) -> Document:
    if not isinstance(answer, dict):
        raise EngineError("The Engine's answer is not an object")
    return answer


def _documents(answer: Any) -> list[Document]:
    if not isinstance(answer, list):
        raise EngineError("The Engine's answer is not a list")
    return answer
