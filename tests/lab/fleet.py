"""A small shop of containers with something of everything: updates of each kind, insight, faults, health, Compose.

`SERVICES` is the table; `Fleet.start` makes it real in an Engine. What Drydock should find is `Service.finds`.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .engine import EngineApi
from .images import Pusher
from .registry import RegistryServer, basic_auth

Finding = Literal["major", "minor", "patch", "tag", "digest", "insight", "nothing", "error", "local"]

OLD, NEW = "2026-01-05T08:00:00Z", "2026-06-01T08:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One container: its image `repository:tag`, the other tags of the repository, and what a check should find.

    `moved`: the tag is pushed again after the container started. `private`: the registry wants a password that
    Drydock is not given. `vanishes`: the repository disappears from the registry. `local`: built here, never pushed.
    """

    name: str
    tag: str
    finds: Finding
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    moved: bool = False
    private: bool = False
    vanishes: bool = False
    local: bool = False
    running: bool = True

    @property
    def repository(self) -> str:
        return f"shop/{self.name}"


def _health(command: str) -> dict[str, Any]:
    second = 1_000_000_000
    return {"Healthcheck": {"Test": ["CMD-SHELL", command], "Interval": 2 * second, "Timeout": second, "Retries": 2}}


def _compose(service: str) -> dict[str, str]:
    return {"com.docker.compose.project": "shop", "com.docker.compose.service": service}


LOOSE = {"dd.tag.family": "loose"}

SERVICES: tuple[Service, ...] = (
    Service(
        name="storefront",
        tag="1.4.2",
        finds="major",
        tags=("1.4.3", "1.5.0", "2.0.0"),
        labels={**LOOSE, **_compose("storefront"), "dd.display.name": "Storefront", "dd.group": "shop"},
        config={**_health("true"), "ExposedPorts": {"8080/tcp": {}}},
    ),
    Service(
        name="api",
        tag="2.3.0",
        finds="minor",
        tags=("2.3.1", "2.4.1", "3.0.0"),
        labels={
            **_compose("api"),
            "dd.tag.include": r"^2\.\d+\.\d+$",
            "dd.link.template": "https://example.org/v${original}",
        },
        config={"Env": ["PATH=/bin", "API_TOKEN=not-a-real-one", "MODE=production"]},
    ),
    Service(
        name="worker", tag="v3.1.0", finds="patch", tags=("v3.1.4", "v4.0.0"), labels={"dd.tag.include": r"^v3\.1\."}
    ),
    Service(
        name="cache",
        tag="7.2.4-alpine3.19",
        finds="minor",
        tags=("7.4.0-alpine3.20", "7.4.0", "8.0.0-rc.1"),
        labels=LOOSE,
    ),
    Service(name="reports", tag="2026.1.0", finds="minor", tags=("2026.3.0", "2026.4.0"), labels=LOOSE),
    Service(name="builds", tag="nightly", finds="tag", tags=("v1.2.3",), labels={"dd.tag.include": r"^v\d"}),
    Service(name="search", tag="latest", finds="digest", tags=("1.0.0", "1.1.0"), moved=True),
    Service(
        name="database",
        tag="16.1.0",
        finds="insight",
        tags=("16.2.0", "17.0.0"),
        host={"RestartPolicy": {"Name": "always"}},
    ),
    Service(name="queue", tag="4", finds="insight", tags=("4.1.0", "5")),
    Service(name="mail", tag="2.1.0", finds="nothing"),
    Service(name="proxy", tag="1.0.0", finds="nothing", config=_health("false")),
    Service(name="billing", tag="5.0.0", finds="error", private=True),
    Service(name="legacy", tag="0.9.0", finds="error", vanishes=True),
    Service(name="tools", tag="dev", finds="local", local=True),
    Service(name="archive", tag="1.0.0", finds="major", tags=("2.0.0",), labels=LOOSE, running=False),
)


class Fleet:
    """The shop in one Engine: `ids` by name once started."""

    def __init__(self, engine: EngineApi, home: pathlib.Path, port: int | None = None) -> None:
        self._engine = engine
        self.registry = RegistryServer(home / "shop", port=port)
        auth = basic_auth(home / "vault-auth", "keeper", "not-told-to-anyone")
        self.vault = RegistryServer(home / "vault", auth=auth, port=port and port + 1)
        self.ids: dict[str, str] = {}

    def start(self) -> Fleet:
        """Start the registries, push every image, run every container, then move the tags that move."""
        self.registry.start()
        self.vault.start()
        for service in SERVICES:
            self._run(service)
        for service in SERVICES:
            self._afterwards(service)
        return self

    def stop(self) -> None:
        """Remove the containers and stop the registries."""
        for made in self.ids.values():
            self._engine.call("DELETE", f"/containers/{made}?force=1&v=1")
        self.registry.stop()
        self.vault.stop()

    def variables(self) -> dict[str, str]:
        """Configuration that lets Drydock ask both registries (without the vault's password)."""
        return {
            "DD_REGISTRY_CUSTOM_SHOP_URL": self.registry.url,
            "DD_REGISTRY_CUSTOM_VAULT_URL": self.vault.url,
            "DD_ACTION_DOCKER_LOCAL_PRUNE": "false",
        }

    def reference(self, service: Service) -> str:
        """The image as the container names it."""
        if service.local:
            return f"{service.name}:{service.tag}"
        return f"{self._server(service).host}/{service.repository}:{service.tag}"

    def _server(self, service: Service) -> RegistryServer:
        return self.vault if service.private else self.registry

    def _pusher(self, service: Service) -> Pusher:
        server = self._server(service)
        headers = {"Authorization": "Basic a2VlcGVyOm5vdC10b2xkLXRvLWFueW9uZQ=="} if service.private else {}
        return Pusher(server.host, server.connection, headers)

    def _run(self, service: Service) -> None:
        self._provide(service)
        document = {
            "Image": self.reference(service),
            "Labels": dict(service.labels),
            "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}, **service.host},
        }
        made = self._engine.call("POST", f"/containers/create?name={service.name}", document)["Id"]
        self.ids[service.name] = made
        if service.running:
            self._engine.call("POST", f"/containers/{made}/start")

    def _provide(self, service: Service) -> None:
        images = self._pusher(service)
        images.push_index(service.repository, service.tag, config=_image(service, service.tag), created=OLD)
        for number, tag in enumerate(service.tags):
            images.push_index(
                service.repository, tag, config=_image(service, tag), created=f"2026-05-{number + 1:02d}T08:00:00Z"
            )
        source = f"{self._server(service).host}/{service.repository}"
        self._engine.pull(f"{source}:{service.tag}", _credentials(service))
        if service.local:
            self._engine.call("POST", f"/images/{source}:{service.tag}/tag?repo={service.name}&tag={service.tag}")
            self._engine.call("DELETE", f"/images/{source}:{service.tag}")

    def _afterwards(self, service: Service) -> None:
        if service.moved:
            self._pusher(service).push_index(
                service.repository, service.tag, config=_image(service, service.tag), created=NEW
            )
        if service.vanishes:
            shutil.rmtree(self.registry.home / "data/docker/registry/v2/repositories" / service.repository)


def _image(service: Service, tag: str) -> dict[str, Any]:
    named = {"org.opencontainers.image.title": service.name, "org.opencontainers.image.version": tag}
    return {**service.config, "Labels": named}


def _credentials(service: Service) -> tuple[str, str] | None:
    return ("keeper", "not-told-to-anyone") if service.private else None
