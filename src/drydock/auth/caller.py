"""Who makes a request, and what that caller may do (platform.md §4, §13)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar.connection import ASGIConnection

from drydock.core.model import Container

Scope = Literal["read", "watch", "update", "admin"]
ALL_SCOPES: frozenset[str] = frozenset({"read", "watch", "update", "admin"})

Connection = ASGIConnection[Any, Any, Any, Any]


LOCAL = "__local__"
"""Stands for this server among the names of agents."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The containers that an API key is limited to: by watcher, by agent, or both. Empty: any."""

    watchers: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()

    def covers(self, container: Container) -> bool:
        """Whether the key may see this container, and act on it as far as its scopes go."""
        right_watcher = not self.watchers or container.watcher.lower() in self.watchers
        return right_watcher and (not self.agents or (container.agent or LOCAL).lower() in self.agents)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted caller. `scopes` is what a role or API key leaves (platform.md §13); default is everything."""

    kind: Literal["anonymous", "session", "basic", "bearer", "key"]
    name: str | None = None
    session_id: str | None = None
    key: str | None = None
    """Id of the API key, where one was used."""
    scopes: frozenset[str] = ALL_SCOPES
    reach: Reach | None = None
    """What an API key is limited to; None: everything."""

    @property
    def signed_in(self) -> bool:
        """A real login, as opposed to confirmed anonymous mode."""
        return self.kind != "anonymous"


ANONYMOUS = Caller(kind="anonymous")
