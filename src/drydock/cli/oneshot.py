"""One direct check of an Engine without server, store or fleet: what `check` and `explain` share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from drydock.clock import SystemClock
from drydock.config.load import Settings
from drydock.core.errors import ConfigError, EngineError
from drydock.core.model import Container
from drydock.core.trace import Trace
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.events import ContainerChecked
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.http.client import HttpClient
from drydock.registries.room import Registries
from drydock.watch.checker import Checker, Progress
from drydock.watch.discovery import Discovery, context_of

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drydock" / "registry-cache.db"


class NoEngine(Exception):
    """No Engine answers; the text says where it was looked for."""


class Nothing:
    """A store that knows nothing."""

    def get(self, id: str) -> Container | None:
        del id
        return None

    def has_name(self, name: str, besides: str) -> bool:
        del name, besides
        return False


class Kept:
    """Keeps outcomes in memory, as a ledger for the checker."""

    async def checked(self, outcomes: Sequence[tuple[Container, Trace]], started_ms: int) -> list[ContainerChecked]:
        del started_ms
        return [ContainerChecked(container=container, changed=True) for container, _ in outcomes]


@dataclass(frozen=True)
class Look:
    """An open one-shot: the containers found, and how to check them."""

    containers: list[Container]
    checker: Checker


@asynccontextmanager
async def look(settings: Settings, host: str | None, progress: Progress, *, cache: bool = True) -> AsyncIterator[Look]:
    """Connect, enumerate, and hand out a checker. Raises NoEngine, ConfigError."""
    clock = SystemClock()
    watcher = next(iter(settings.all(WatcherSettings)), WatcherSettings(name="local"))
    # at `--host`, else at `DOCKER_HOST`, else where the watcher is configured (by default the local socket)
    environ = os.environ if host is None else {**os.environ, "DOCKER_HOST": host}
    if environ.get("DOCKER_HOST"):
        there = from_docker_host(environ)
        connection = {field.name: getattr(there, field.name) for field in dataclasses.fields(there)}
        watcher = dataclasses.replace(watcher, **connection)
    address = resolve(watcher)
    kept = CACHE if cache else None
    if cache:
        try:
            CACHE.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            kept = None
    looked_at = LocalHost(watcher, connect(address), clock, address)
    try:
        async with (
            HttpClient.build(settings, os.environ) as http,
            Registries.build(settings, http, clock, kept) as registries,
        ):
            discovery = Discovery(looked_at, context_of(looked_at, registries), clock)
            try:
                found = await discovery.enumerate(Nothing(), settled=True)
            except EngineError as error:
                raise NoEngine(f"No Docker Engine answers at {address.label}: {error.message}") from error
            yield Look(found.present, Checker(registries, Kept(), clock, progress))
    finally:
        await looked_at.close()


def with_family(containers: list[Container], family: str | None) -> list[Container]:
    """All containers under one family policy, where one was requested."""
    if family is None:
        return containers
    if family not in ("strict", "loose"):
        raise ConfigError("--family is strict or loose")
    return [msgspec.structs.replace(container, tag_family=family) for container in containers]
