"""The whole product from its variables, with everything around it made up: Engine, registry, scanner.

Nothing of the product is replaced: it reaches the Engine in memory over the Engine API, the registry over HTTP, and
runs the scanner as a program.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contract.product import Product, serve_product
from drydock.clock import Clock, SystemClock
from drydock.core.model import HostKey, Result
from drydock.watch.service import ScheduledWatcher
from fakes.engine import FakeEngine
from fakes.engine_server import engine_server
from fakes.registry_server import TAGS, registry_server
from kit.security import FakeProgram, report

NAMES = ("web", "db", "cache")
SBOM = json.dumps({"spdxVersion": "SPDX-2.3", "packages": []})
SCANNER = f"""
import os
if '--help' in argv or 'version' in argv or '--version' in argv or '--download-db-only' in argv: sys.exit(0)
text = {SBOM!r} if 'spdx-json' in argv or 'cyclonedx' in argv else {report("HIGH", "LOW")!r}
place = argv[argv.index('--output') + 1] if '--output' in argv else None
open(place, 'w').write(text) if place else out(text)
"""


@dataclass
class FullProduct:
    """The running product and what is around it. `host` is the registry's."""

    server: Product
    engine: FakeEngine
    host: str
    scanner: FakeProgram
    made: int = 0

    @property
    def watcher(self) -> ScheduledWatcher:
        found: ScheduledWatcher | None = self.server.application.watching.get(HostKey(None, "local"))
        assert found is not None
        return found

    async def container(self, name: str, repository: str = "app", **document: Any) -> str:
        """A running container with an update waiting, that the product has seen; its id."""
        reference = f"{self.host}/{repository}:{TAGS[0]}"
        labels = {"dd.tag.include": r"^\d+\.\d+\.\d+$", **document.pop("Labels", {})}
        id = self.engine.add_container(name, {"Image": reference, "Labels": labels, **document})
        await self.watcher.watcher.look_again(check=False)
        await self.offer(id)
        return id

    async def offer(self, id: str, tag: str = TAGS[1]) -> None:
        """Let an update wait for a container."""
        result = Result(tag=tag)
        await self.server.application.fleet.change(id, lambda one: msgspec.structs.replace(one, result=result))

    def ids(self) -> list[str]:
        """Every container that the product knows."""
        return [one.id for one in self.server.application.fleet.all()]


@asynccontextmanager
async def full_product(
    folder: Path, *, login: tuple[str, str] | None = None, clock: Clock | None = None, **environ: str
) -> AsyncIterator[FullProduct]:
    """Start it with three containers; the registry wants `login`."""
    async with AsyncExitStack() as stack:
        clock = clock or SystemClock()
        engine = FakeEngine(clock)
        host = await stack.enter_async_context(registry_server(*(login or ())))
        port = await stack.enter_async_context(engine_server(engine))
        for repository in ("app", "slow"):
            for tag in TAGS:
                engine.add_image(f"{host}/{repository}:{tag}", {"Env": ["PATH=/bin"]}, local=tag == TAGS[0])
        folder.mkdir(exist_ok=True)
        scanner = FakeProgram(folder, "trivy", SCANNER)
        variables = {
            "DD_LOCAL_WATCHER": "true",
            "DD_WATCHER_LOCAL_HOST": "127.0.0.1",
            "DD_WATCHER_LOCAL_PORT": str(port),
            "DD_WATCHER_LOCAL_DISCOVERY_SETTLE_MS": "0",
            "DD_REGISTRY_CUSTOM_LAB_URL": f"http://{host}",
            "DD_ICON_CDN_URL": f"http://{host}/icons",  # which has none
            "DD_SECURITY_SCANNER": "trivy",
            "DD_SECURITY_TRIVY_COMMAND": scanner.path,
            "DD_SECURITY_SBOM_ENABLED": "true",
            "DD_SECURITY_GATE_MODE": "off",
            "DD_ACTION_DOCKER_LOCAL_PRUNE": "false",
            "DD_NOTIFICATION_MOCK_ONE_MOCK": "word",
            "DD_UPDATE_POST_START_LIVENESS_GRACE_MS": "0",
            **(
                {"DD_REGISTRY_CUSTOM_LAB_LOGIN": login[0], "DD_REGISTRY_CUSTOM_LAB_PASSWORD": login[1]} if login else {}
            ),
            **environ,
        }
        server = await stack.enter_async_context(serve_product(folder, clock, **variables))
        made = FullProduct(server, engine, host, scanner)
        for name in NAMES:
            await made.container(name)
        yield made
