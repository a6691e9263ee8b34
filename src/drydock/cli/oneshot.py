"""One look at an Engine without server, store or fleet: what `check` and `explain` share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from drydock.app import shared
from drydock.clock import SystemClock
from drydock.config.load import Settings
from drydock.core.errors import ConfigError, EngineError
from drydock.core.model import Container
from drydock.core.trace import Trace
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.docker.settings import EngineSettings
from drydock.events import ContainerChecked
from drydock.hosts.settings import WatcherSettings
from drydock.watch.checker import Checker, Progress
from drydock.watch.discovery import Discovery

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
    engine_settings = _engine_settings(watcher, host)
    address = resolve(engine_settings)
    engine = connect(address)
    try:
        async with shared.build_registries(settings, os.environ, clock, cache=_cache_path(cache)) as registries:
            context = shared.watch_context(watcher, registries)
            discovery = Discovery(context, clock, watch_all=watcher.watch_all, settle_ms=0)
            try:
                found = await discovery.enumerate(engine, Nothing(), settled=True)
            except EngineError as error:
                raise NoEngine(f"No Docker Engine answers at {address.label}: {error.message}") from error
            yield Look(found.present, Checker(registries, Kept(), clock, progress))
    finally:
        await engine.close()


def _cache_path(wanted: bool) -> Path | None:
    if not wanted:
        return None
    try:
        CACHE.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return CACHE


def _engine_settings(watcher: WatcherSettings, host: str | None) -> EngineSettings:
    """`--host`, else `DOCKER_HOST`, else the configured watcher (by default the local socket)."""
    if host is not None:
        return from_docker_host({**os.environ, "DOCKER_HOST": host})
    if os.environ.get("DOCKER_HOST"):
        return from_docker_host(os.environ)
    return watcher


def with_family(containers: list[Container], family: str | None) -> list[Container]:
    """All containers under one family policy, where one was asked for."""
    if family is None:
        return containers
    if family not in ("strict", "loose"):
        raise ConfigError("--family is strict or loose")
    return [msgspec.structs.replace(container, tag_family=family) for container in containers]
