"""The gate as an update asks it (security.md §4, updates.md §5)."""

from __future__ import annotations

from collections.abc import Callable

from drydock.core.errors import EngineError, RegistryError
from drydock.core.model import Container
from drydock.core.operation import Operation
from drydock.docker.api import Engine
from drydock.fleet.fleet import Fleet
from drydock.security.security_gate import Gate, GateVerdict, OnPhase
from drydock.security.signatures.base import SignatureSource

EngineFor = Callable[[str, str | None], Engine]
UNVERIFIED = "Image signature verification failed"


class UpdateGate:
    """The gate as an update asks it (`updates.surroundings.Gate`): by operation instead of by container."""

    def __init__(self, gate: Gate, fleet: Fleet, source: SignatureSource, engine_for: EngineFor) -> None:
        self._gate = gate
        self._fleet = fleet
        self._source = source
        self._engine_for = engine_for
        self._verified: dict[str, str] = {}

    async def verify(self, operation: Operation, reference: str) -> GateVerdict:
        """Verify what the tag points at now; `check` makes sure that exactly this was pulled."""
        container = self._container(operation)
        if container is None or not self._gate.verifies:
            return GateVerdict(allowed=True, reason="Signatures are not verified")
        try:
            digest = await self._digest(container, reference)
        except RegistryError as error:
            return GateVerdict(allowed=False, reason=f"{UNVERIFIED}: {error.message}", blocked_by="signature")
        verdict = await self._gate.verify(container, reference, digest)
        if verdict.allowed and digest is not None:
            self._verified[operation.id] = digest
        return verdict

    async def check(
        self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase | None = None
    ) -> GateVerdict:
        """Scan the pulled image and judge it by the policy in force."""
        container = self._container(operation)
        if container is None:
            said = "The container left the fleet before its new image was scanned"
            return GateVerdict(allowed=not self._gate.scans, reason=said, blocked_by="availability")
        engine = self._engine_for(operation.watcher, operation.agent)
        verified = self._verified.pop(operation.id, None)
        if verified is not None and verified not in await pulled_digests(engine, image_id):
            said = f"{UNVERIFIED}: the tag moved to another image after it was verified"
            return GateVerdict(allowed=False, reason=said, blocked_by="signature")
        return await self._gate.check(
            container, reference, verified, engine=engine, image_id=image_id, on_phase=on_phase
        )

    def _container(self, operation: Operation) -> Container | None:
        return self._fleet.get(operation.container_id) or operation.container

    async def _digest(self, container: Container, reference: str) -> str | None:
        if "@" in reference:
            return reference.rpartition("@")[2]
        image, tag = container.image, reference.rpartition("/")[2].partition(":")[2]
        return await self._source.digest(image.registry.url, image.name, tag or "latest")


async def pulled_digests(engine: Engine, image_id: str) -> frozenset[str]:
    """The registry digests of an image; none when the Engine cannot say, which refuses."""
    try:
        document = await engine.inspect_image(image_id)
    except EngineError:
        return frozenset()
    return frozenset(str(name).rpartition("@")[2] for name in document.get("RepoDigests") or ())
