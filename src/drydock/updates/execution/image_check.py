"""The security gate as an update asks it: by operation, before and after the pull (security.md §4, §5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from drydock.core.errors import EngineError, RegistryError
from drydock.core.model import Container
from drydock.core.operation import Operation
from drydock.core.reference import DEFAULT_TAG, split
from drydock.fleet.fleet import Fleet
from drydock.hosts.host import Hosts
from drydock.hosts.local import full_engine
from drydock.updates.execution.executor import OnPhase
from drydock.updates.needs import SecurityGate
from drydock.updates.plan.effects import StepFailed

UNVERIFIED = "Image signature verification failed"


class ScanBlocked(StepFailed):
    """The security gate does not let this image pass."""

    code = "security-scan-blocked"


class ImageCheck:
    """Verifies what a tag points at, and makes sure that exactly this was pulled and is scanned."""

    def __init__(
        self,
        gate: SecurityGate,
        digest_of: Callable[[str, str, str], Awaitable[str | None]],
        hosts: Hosts,
        fleet: Fleet,
    ) -> None:
        self._gate = gate
        self._digest_of = digest_of
        self._hosts = hosts
        self._fleet = fleet
        self._verified: dict[str, str] = {}
        """By operation, the digest whose signature was verified."""

    async def verify(self, operation: Operation, reference: str) -> None:
        """Raises `ScanBlocked` when the signature does not satisfy."""
        container = self._container(operation)
        if container is None or not self._gate.verifies:
            return
        _, tag, digest = split(reference)
        image = container.image
        if digest is None:
            try:
                digest = await self._digest_of(image.registry.url, image.name, tag or DEFAULT_TAG)
            except RegistryError as error:
                raise ScanBlocked(f"{UNVERIFIED}: {error.message}") from error
        verdict = await self._gate.verify(container, reference, digest)
        if not verdict.allowed:
            raise ScanBlocked(verdict.reason)
        if digest is not None:
            self._verified[operation.id] = digest

    async def scan(self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase) -> None:
        """Raises `ScanBlocked` with the gate's reason, or when another image was pulled than the verified one."""
        container, verified = self._container(operation), self._verified.pop(operation.id, None)
        if container is None:
            if self._gate.scans:
                raise ScanBlocked("The container left the fleet before its new image was scanned")
            return
        engine = full_engine(self._hosts.of(operation))
        if verified is not None:
            try:
                names = (await engine.inspect_image(image_id)).get("RepoDigests") or ()
            except EngineError:
                names = ()  # an Engine that cannot say refuses
            if verified not in {split(str(name)).digest for name in names}:
                raise ScanBlocked(f"{UNVERIFIED}: the tag moved to another image after it was verified")
        verdict = await self._gate.check(
            container, reference, verified, engine=engine, image_id=image_id, on_phase=on_phase
        )
        if not verdict.allowed:
            raise ScanBlocked(verdict.reason)

    def _container(self, operation: Operation) -> Container | None:
        return self._fleet.get(operation.container_id) or operation.container
