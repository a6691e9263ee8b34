"""Dependencies by label and by Compose file (watching.md §5.12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drydock.core.compose_labels import CONFIG_FILES, WORKING_DIR
from drydock.core.errors import EngineNotFound
from drydock.watch.compose import ComposeFiles
from drydock.watch.record import dependencies, oddities

COMPOSE = """
services:
  web:
    image: x
    depends_on: [db, web, nobody]
  api:
    depends_on: {db: {condition: service_healthy}, cache: {}}
  db: {image: y}
  cache: {image: z}
"""


class Engine:
    """Knows the container that Drydock runs in, if any."""

    def __init__(self, mounts: list[dict[str, str]] | None = None) -> None:
        self.mounts = mounts

    async def inspect_container(self, ref: str) -> dict[str, Any]:
        if self.mounts is None:
            raise EngineNotFound("no")
        return {"Mounts": self.mounts}


def labels(service: str, files: str, folder: str = "") -> dict[str, str]:
    return {"com.docker.compose.service": service, CONFIG_FILES: files, WORKING_DIR: folder}


async def ask(given: dict[str, str], engine: Engine | None = None, files: ComposeFiles | None = None) -> Any:
    return await (files or ComposeFiles()).depends_on(engine or Engine(), given)  # type: ignore[arg-type]  # the one call


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"dd.depends_on": " db, cache,db,web,"}, (["db", "cache"], "label", "update")),
        ({"dd.depends_on": "", "dd.depends_on.action": "restart"}, ([], "label", "restart")),
        ({"dd.depends_on.action": "explode"}, (["x"], "compose", "update")),
    ],
)
def test_labels_win(given: dict[str, str], expected: tuple[list[str], str, str]) -> None:
    assert tuple(dependencies(given, "web", ["x"]).values()) == expected


def test_without_any() -> None:
    assert set(dependencies({}, "web", None).values()) == {None}


def test_oddities_are_named() -> None:
    assert len(oddities({"dd.depends_on": "web", "dd.depends_on.action": "explode"}, "web")) == 2
    assert oddities({"dd.depends_on": "db", "dd.depends_on.action": "restart"}, "web") == []


async def test_lists_and_mappings(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    assert await ask(labels("web", "compose.yaml", str(tmp_path))) == ("db",), "neither itself nor the unknown one"
    assert await ask(labels("api", str(tmp_path / "compose.yaml"))) == ("db", "cache")
    assert await ask(labels("db", str(tmp_path / "compose.yaml"))) == ()


async def test_several_files_add_up(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(COMPOSE)
    (tmp_path / "b.yaml").write_text("services: {web: {depends_on: [cache]}, cache: {}}")
    assert await ask(labels("web", "a.yaml,b.yaml,missing.yaml", str(tmp_path))) == ("db", "cache")


async def test_the_host_s_paths_lead_through_our_mounts(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    mounts = [
        {"Type": "bind", "Source": "/srv", "Destination": "/nowhere"},
        {"Type": "bind", "Source": "/srv/stack", "Destination": str(tmp_path)},
    ]
    assert await ask(labels("web", "/srv/stack/compose.yaml"), Engine(mounts)) == ("db",)


@pytest.mark.parametrize("text", ["a: [", "services: 5", "- a", ""])
async def test_files_that_cannot_be_used_say_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    assert await ask(labels("web", "compose.yaml", str(tmp_path))) is None
    assert await ask(labels("web", "missing.yaml", str(tmp_path))) is None


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    import os

    file, files = tmp_path / "compose.yaml", ComposeFiles()
    file.write_text(COMPOSE)
    assert await ask(labels("api", str(file)), files=files) == ("db", "cache")
    file.write_text("services: {api: {depends_on: [db]}, db: {}}")
    os.utime(file, ns=(1, 1))
    assert await ask(labels("api", str(file)), files=files) == ("db",)


async def test_nothing_is_read_where_a_label_decides(tmp_path: Path) -> None:
    assert await ask({**labels("web", "compose.yaml", str(tmp_path)), "dd.depends_on": ""}) is None
    assert await ask({"com.docker.compose.service": "web"}) is None
