"""The Engine as the rest of Drydock sees it.

Documents are the Engine API's own JSON, untouched (API 1.41 names); identifiers are container ids or names, image ids
or references. Every method raises `core.errors.EngineError` or one of its children: `EngineNotFound` (404),
`EngineConflict` (409), `EngineUnreachable` (no answer). Members: `docker.client.EngineClient` for a real Engine,
`tests/fakes/engine.py` in memory; one conformance suite runs against both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

Document = dict[str, Any]


class Created(msgspec.Struct, frozen=True):
    """A container that was created, and what the Engine warned about."""

    id: str
    warnings: tuple[str, ...] = ()


class ExecResult(msgspec.Struct, frozen=True):
    """A command that ran inside a container: exit code and the collected output (cut at `limit`)."""

    exit_code: int
    output: str


class PullAuth(msgspec.Struct, frozen=True):
    """Credentials for one pull. `repr` shows no secret."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"PullAuth(username={self.username!r}, password='***')"


class EngineReader(Protocol):
    """One Docker-compatible Engine, for reading: what may be lent across machines (agents.md §4)."""

    # facts about the Engine
    async def version(self) -> Document: ...
    async def info(self) -> Document: ...

    # reading
    async def list_containers(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Document]: ...
    async def inspect_container(self, ref: str) -> Document: ...
    async def inspect_image(self, ref: str) -> Document: ...
    async def list_images(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> list[Document]: ...
    async def inspect_of_podman(self, kind: Literal["images", "containers"], ref: str) -> Document:
        """Podman's own document of an image or container; `EngineNotSupported` elsewhere."""
        ...

    async def inspect_network(self, ref: str) -> Document: ...
    async def inspect_service(self, ref: str) -> Document: ...

    # streams; close them by `aclose()` of the iterator
    def events(
        self,
        *,
        filters: Mapping[str, Sequence[str]],
        since: int | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncIterator[Document]:
        """Events from now on, or after `since` (`timeNano`, nanoseconds). `on_open` is called once the Engine accepts."""
        ...

    def logs(
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
        """Raw log bytes, see `docker.logs`. The first chunk may be empty: the Engine has answered."""
        ...

    def stats(self, ref: str) -> AsyncIterator[Document]: ...
    async def stats_once(self, ref: str) -> Document: ...

    async def close(self) -> None: ...


class Engine(EngineReader, Protocol):
    """The whole Engine: only what carries out operations sees the calls that change something."""

    # containers
    async def create_container(self, name: str, document: Document, *, platform: str | None = None) -> Created: ...
    async def start_container(self, ref: str) -> None: ...
    async def stop_container(self, ref: str, *, grace: int | None = None) -> None: ...
    async def restart_container(self, ref: str, *, grace: int | None = None) -> None: ...
    async def kill_container(self, ref: str, *, signal: str = "KILL") -> None: ...
    async def rename_container(self, ref: str, name: str) -> None: ...
    async def remove_container(self, ref: str, *, force: bool = False, volumes: bool = False) -> None: ...
    async def update_container(self, ref: str, document: Document) -> None: ...
    async def wait_container(self, ref: str, *, condition: str = "not-running") -> int: ...
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
    ) -> ExecResult: ...
    async def run_health_check(self, ref: str) -> None:
        """Let Podman run the container's health check once and count the outcome; `EngineNotSupported` elsewhere."""
        ...

    async def connect_network(self, network: str, container: str, endpoint: Document) -> None: ...
    async def disconnect_network(self, network: str, container: str, *, force: bool = False) -> None: ...

    # images
    def pull_image(
        self, reference: str, *, platform: str | None = None, auth: PullAuth | None = None
    ) -> AsyncIterator[Document]: ...
    async def tag_image(self, ref: str, repository: str, tag: str) -> None: ...
    async def remove_image(self, ref: str, *, force: bool = False, prune_parents: bool = True) -> None: ...
