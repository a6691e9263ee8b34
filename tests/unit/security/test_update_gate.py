"""The gate as an update asks it: what is verified is what is pulled is what is scanned."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drydock.clock import SystemClock
from drydock.core.errors import EngineNotFound, RegistryNetworkError
from drydock.core.model import Container, ImageDigest, Result
from drydock.core.operation import ImageWanted, Operation
from drydock.hosts.host import Hosts
from drydock.http.client import HttpClient
from drydock.registries.room import Artifacts, Registries
from drydock.registries.settings import RegistriesSettings
from drydock.security.signatures.cosign import CosignSettings
from drydock.updates.execution.image_check import ImageCheck, ScanBlocked
from fakes.hosts import local_host
from kit.containers import container, container_id, image
from kit.registries import register
from kit.security import FakeProgram, Room, prints, report
from lab.images import Pusher
from lab.registry import RegistryServer

OLD, NEW, OTHER = (f"sha256:{n:064x}" for n in (1, 2, 3))
REFERENCE = "nginx:1.1.0"


def sample() -> Container:
    picture = image("1.0.0", digest=ImageDigest(watch=True, value=OLD, repo=OLD))
    return msgspec.structs.replace(container(1, result=Result(tag="1.1.0", digest=NEW)), image=picture)


def operation(id: str = container_id(1)) -> Operation:
    return Operation(
        id="op",
        container_id=id,
        container_name="c001",
        status="in-progress",
        phase="pulling",
        created_at=0,
        updated_at=0,
        watcher="local",
        wanted=ImageWanted(reference=REFERENCE),
    )


class Source:
    """A registry whose tag points at `digest`."""

    def __init__(self, digest: str | None = NEW) -> None:
        self.found = digest

    async def digest(self, host: str, repository: str, tag: str) -> str | None:
        if self.found == "down":
            raise RegistryNetworkError("The registry cannot be reached")
        assert (host, repository, tag) == ("docker.io", "library/nginx", "1.1.0")
        return self.found


class Engine:
    def __init__(self, digest: str | None = NEW) -> None:
        self.digest = digest

    async def inspect_image(self, ref: str) -> dict[str, Any]:
        if self.digest is None:
            raise EngineNotFound("no such image")
        return {"RepoDigests": [f"nginx@{self.digest}"]}

    async def remove_image(self, ref: str, **_: Any) -> None: ...


def make(room: Room, engine: Engine, source: Source | None = None) -> ImageCheck:
    hosts = Hosts([local_host(engine, SystemClock())])
    return ImageCheck(room.gate, (source or Source()).digest, hosts, room.fleet)


async def scan(check: ImageCheck) -> None:
    async def on_phase(phase: str) -> None:
        """Not looked at."""

    await check.scan(operation(), REFERENCE, "sha256:image", on_phase)


async def signed(room: Room, fake: Any) -> FakeProgram:
    cosign: FakeProgram = fake("cosign", "out('[{}]')")
    room.build(cosign=CosignSettings(command=cosign.path))
    await room.fleet.put(sample())
    return cosign


async def test_verified_pulled_and_scanned_are_one_digest(room: Room, fake: Any) -> None:
    room.trivy.write(prints(report("LOW")))
    cosign = await signed(room, fake)
    gate = make(room, Engine())
    await gate.verify(operation(), REFERENCE)
    assert cosign.calls[0]["argv"][-1] == f"nginx@{NEW}"
    await scan(gate)
    assert room.scans() == [f"nginx@{NEW}"]


@pytest.mark.parametrize("pulled", [OTHER, None])
async def test_a_tag_that_moved_after_it_was_verified(room: Room, fake: Any, pulled: str | None) -> None:
    await signed(room, fake)
    gate = make(room, Engine(pulled))
    await gate.verify(operation(), REFERENCE)
    with pytest.raises(ScanBlocked, match="verification failed: the tag moved to another image"):
        await scan(gate)
    assert room.scans() == []


async def test_a_registry_that_does_not_answer_refuses(room: Room, fake: Any) -> None:
    cosign = await signed(room, fake)
    with pytest.raises(ScanBlocked) as refused:
        await make(room, Engine(), Source("down")).verify(operation(), REFERENCE)
    assert refused.value.message == "Image signature verification failed: The registry cannot be reached"
    assert cosign.calls == []


async def test_without_signatures_nobody_is_asked(room: Room) -> None:
    await room.fleet.put(sample())
    await make(room, Engine(), Source("down")).verify(operation(), REFERENCE)


async def test_without_signatures_the_pulled_digest_is_scanned(room: Room) -> None:
    await room.fleet.put(sample())
    with pytest.raises(ScanBlocked):
        await scan(make(room, Engine(OTHER)))
    assert room.scans() == [f"nginx@{OTHER}"]


async def test_an_unknown_container_is_refused(room: Room) -> None:
    with pytest.raises(ScanBlocked, match="left the fleet"):
        await scan(make(room, Engine()))


@pytest.mark.parametrize("private", [False, True])
async def test_reading_beside_an_image(
    private: bool, registry: RegistryServer, images: Pusher, private_registry: RegistryServer, private_images: Pusher
) -> None:
    server, pusher = (private_registry, private_images) if private else (registry, images)
    known = pusher.push("beside/app", "1.0")
    blob = pusher.blob("beside/app", b"something small")
    variables = {"DD_REGISTRY_CUSTOM_LAB_URL": server.url}
    if private:
        variables |= {"DD_REGISTRY_CUSTOM_LAB_LOGIN": "alice", "DD_REGISTRY_CUSTOM_LAB_PASSWORD": "s3cret"}
    instances, problems = register(variables)
    assert problems == []
    async with (
        HttpClient() as http,
        Registries(instances, RegistriesSettings(), http, SystemClock()) as service,
    ):
        artifacts = Artifacts(service)
        assert await artifacts.digest(server.host, "beside/app", "1.0") == known
        assert await artifacts.digest(server.host, "beside/app", "sha256-abc.sig") is None
        assert (await artifacts.manifest(server.host, "beside/app", known) or b"").startswith(b"{")
        assert await artifacts.blob(server.host, "beside/app", blob) == b"something small"
