"""What the room wants of other rooms, in its own terms; `app` fills it in (`room.Updates.build`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from drydock.core.model import Container, HostKey
from drydock.core.policy.automation import UpdateMode
from drydock.core.secret import Secret
from drydock.docker.api import Document, Engine
from drydock.hosts.host import Hosts
from drydock.updates.execution.executor import OnPhase


class Login(Protocol):
    """User and password at a registry."""

    @property
    def username(self) -> str: ...
    @property
    def password(self) -> Secret: ...


class Verdict(Protocol):
    """What the security gate says: `reason` is for people."""

    @property
    def allowed(self) -> bool: ...
    @property
    def reason(self) -> str: ...


class SecurityGate(Protocol):
    """The security gate (security.md §4)."""

    @property
    def verifies(self) -> bool:
        """Whether signatures are verified."""
        ...

    @property
    def scans(self) -> bool:
        """Whether images are scanned."""
        ...

    async def verify(self, container: Container, reference: str, digest: str | None) -> Verdict:
        """Before the pull: is what the tag points at now signed as it must be?"""
        ...

    async def check(
        self,
        container: Container,
        reference: str,
        digest: str | None,
        *,
        engine: Engine,
        image_id: str,
        on_phase: OnPhase,
    ) -> Verdict:
        """Scan a pulled image and judge it by the policy in force."""
        ...


class Watching(Protocol):
    """The watchers."""

    async def look_again(self, host: HostKey) -> None:
        """See what runs there now, and check what is new."""
        ...

    async def replaced(
        self, old: Container, new_id: str, inspected: Document | None, image: Document | None
    ) -> Container | None:
        """The new container takes the place of the old one in the fleet, at once. The documents save looking again.

        Gives it when it is to be checked now: outside of the maintenance window no registry is asked.
        """
        ...

    async def watch_some(self, ids: Sequence[str]) -> None:
        """Check these containers."""
        ...

    def window_open(self, container: Container) -> bool | None:
        """Whether the maintenance window of its watcher is open; None for a container of no watcher here."""
        ...


@dataclass(frozen=True, kw_only=True)
class Needs:
    """`environ` are the variables of the process, for hooks; `finalize_url` is "" without HTTP server."""

    hosts: Hosts
    watching: Watching
    logins: Callable[[str, str], Awaitable[Login | None]]
    """Credentials for the repository of a registry host."""
    digest_of: Callable[[str, str, str], Awaitable[str | None]]
    """The digest that a tag of a registry's repository points at now."""
    mode: Callable[[], Awaitable[UpdateMode]]
    """The update mode in force; it may be changed at any time."""
    announce: Callable[[str], Awaitable[object]]
    """Tell browsers that the server is about to go for this operation, and wait for one of them."""
    gate: SecurityGate
    gate_enabled: bool
    block_severities: frozenset[str] | None
    """The scan policy in force; None trusts stored verdicts."""
    actions_enabled: bool
    environ: Mapping[str, str]
    finalize_url: str
