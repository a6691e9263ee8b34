"""What the conformance suite needs to know of an implementation: how to reach it, how to give it images, where it differs.

A new implementation is one more entry of `MEMBERS`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest

from drydock.clock import SystemClock
from drydock.core.errors import EngineError
from drydock.docker.api import Document, Engine
from drydock.docker.connect import connect, from_docker_host, resolve

DOCKER: Mapping[str, str] = {}
PODMAN: Mapping[str, str] = {
    "restart-policy": "a restart policy cannot be changed afterwards",
    "event-names": "remove instead of destroy, no stop, no oldName",
}


@dataclass
class EngineUnderTest:
    """One implementation under test.

    `publish(repository, tag, **push options)` puts an image into its registry and gives the reference; `provide` lets
    the Engine have it as well. `make_network(name, subnet)` and `drop_network(name)` prepare user networks.
    """

    kind: str
    engine: Engine
    provide: Callable[..., str]
    publish: Callable[..., str]
    make_network: Callable[[str, str], object]
    drop_network: Callable[[str], object]
    differences: Mapping[str, str]
    made: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)

    def add_network(self, name: str, subnet: str) -> str:
        """A user network that is removed after the test."""
        self.make_network(name, subnet)
        self.networks.append(name)
        return name

    async def create(self, name: str, image: str, **document: Any) -> str:
        """Create a container that is removed after the test."""
        created = await self.engine.create_container(name, {"Image": image, **document})
        self.made.append(created.id)
        return created.id

    async def run(self, name: str, image: str, **document: Any) -> str:
        """Create and start one."""
        made = await self.create(name, image, **document)
        await self.engine.start_container(made)
        return made

    async def clean(self) -> None:
        """Remove what the test made."""
        for ref in reversed(self.made):
            with contextlib.suppress(EngineError):
                await self.engine.remove_container(ref, force=True, volumes=True)
        for name in self.networks:
            self.drop_network(name)


def _real(lab: str, differences: Mapping[str, str]) -> Callable[[pytest.FixtureRequest], EngineUnderTest]:
    def make(request: pytest.FixtureRequest) -> EngineUnderTest:
        server, images = request.getfixturevalue(lab), request.getfixturevalue("images")

        def publish(repository: str, tag: str, **options: Any) -> str:
            images.push(repository, tag, **options)
            return f"{images.host}/{repository}:{tag}"

        def provide(repository: str, tag: str = "1.0.0", **options: Any) -> str:
            reference = publish(repository, tag, **options)
            server.api.pull(reference)
            return reference

        client = connect(resolve(from_docker_host({"DOCKER_HOST": server.host})))
        return EngineUnderTest(
            kind=server.kind,
            engine=client,
            provide=provide,
            publish=publish,
            make_network=lambda name, subnet: server.api.call("POST", "/networks/create", _network(name, subnet)),
            drop_network=lambda name: server.api.call("DELETE", f"/networks/{name}"),
            differences=differences,
        )

    return make


def _network(name: str, subnet: str) -> Document:
    return {"Name": name, "CheckDuplicate": True, "IPAM": {"Config": [{"Subnet": subnet}]}}


MEMORY: Mapping[str, str] = {"programs": "nothing runs inside of a container in memory"}


def _memory(request: pytest.FixtureRequest) -> EngineUnderTest:
    del request
    engine: Any = import_module("fakes.engine").FakeEngine(SystemClock())  # named as the suites see it

    def add(repository: str, tag: str = "1.0.0", *, local: bool, **options: Any) -> str:
        reference = f"registry.test/{repository}:{tag}"
        engine.add_image(reference, options.get("config"), local=local)
        return reference

    return EngineUnderTest(
        kind="memory",
        engine=engine,
        provide=lambda repository, tag="1.0.0", **options: add(repository, tag, local=True, **options),
        publish=lambda repository, tag, **options: add(repository, tag, local=False, **options),
        make_network=lambda name, subnet: engine.add_network(name),
        drop_network=lambda name: engine.networks.pop(name),
        differences=MEMORY,
    )


MEMBERS: dict[str, Callable[[pytest.FixtureRequest], EngineUnderTest]] = {
    "memory": _memory,
    "docker": _real("docker", DOCKER),
    "podman": _real("podman", PODMAN),
}


async def first(stream: AsyncIterator[Document], wanted: Callable[[Document], bool]) -> Document:
    """The first document that `wanted` accepts."""
    async for document in stream:
        if wanted(document):
            return document
    raise AssertionError("the stream ended without it")
