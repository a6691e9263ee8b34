"""Fixtures for every suite: the lab's folder, one Docker Engine, one Podman, registries; all started on first use."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import hypothesis
import pytest
import structlog

from kit.matrix import Matrix
from kit.matrix import summary as matrix_summary
from lab import engine as docker_lab
from lab import podman as podman_lab
from lab import sandbox
from lab.engine import DockerEngine, EngineApi
from lab.fleet import Fleet
from lab.images import Pusher
from lab.podman import PodmanEngine
from lab.registry import RegistryServer, basic_auth
from lab.server import ProductServer

hypothesis.settings.register_profile("drydock", deadline=None)  # machines are noisy: no timings in tests
hypothesis.settings.load_profile("drydock")

OFFERED = "DRYDOCK_TEST_DOCKER_HOST"


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    """No test sees what another one did to the configuration of the log."""
    structlog.reset_defaults()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole-matrix", action="store_true", help="run the crash matrices whole, not a tenth of them")


@pytest.fixture
def matrix(pytestconfig: pytest.Config, record_property: Callable[[str, object], None]) -> Iterator[Matrix]:
    """Chooses the cases of a crash matrix that run, and counts them for the end of the run."""
    made = Matrix(whole=pytestconfig.getoption("whole_matrix"))
    yield made
    record_property("matrix", (made.ran, made.all))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if line := matrix_summary(terminalreporter.stats.get("", [])):  # set-up and tear-down, where it is recorded
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def lab_home() -> Iterator[pathlib.Path]:
    """A short folder for what runs beside the tests; inside a sandbox it disappears with it."""
    root = sandbox.HOME if sandbox.inside() else pathlib.Path(tempfile.gettempdir())
    root.mkdir(exist_ok=True)
    home = pathlib.Path(tempfile.mkdtemp(prefix="dd", dir=root))
    yield home
    if not sandbox.inside():
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def start_registry(lab_home: pathlib.Path) -> Iterator[Callable[..., RegistryServer]]:
    """`start_registry(**options)` starts one more registry (options of `RegistryServer`); stopped at the end."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    started: list[RegistryServer] = []

    def start(**options: object) -> RegistryServer:
        server = RegistryServer(lab_home / f"r{len(started)}", **options).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def registry(start_registry: Callable[..., RegistryServer]) -> RegistryServer:
    """An open registry; `registry.host` is its name for Engine and product."""
    return start_registry()


@pytest.fixture(scope="session")
def images(registry: RegistryServer) -> Pusher:
    """Pushes images to `registry`."""
    return Pusher(registry.host, registry.connection)


@pytest.fixture(scope="session")
def private_registry(start_registry: Callable[..., RegistryServer], lab_home: pathlib.Path) -> RegistryServer:
    """A registry that wants the user name `alice` and the password `s3cret`."""
    return start_registry(auth=basic_auth(lab_home / "basic", "alice", "s3cret"))


@pytest.fixture(scope="session")
def private_images(private_registry: RegistryServer) -> Pusher:
    """Pushes images to `private_registry`."""
    headers = {"Authorization": "Basic YWxpY2U6czNjcmV0"}
    return Pusher(private_registry.host, private_registry.connection, headers)


@pytest.fixture(scope="session")
def docker(lab_home: pathlib.Path) -> Iterator[DockerEngine | SimpleNamespace]:
    """The Docker Engine of this run: `.host` for the product, `.api` to prepare scenes.

    It is shared: name what you make after your test, and remove it. A test that kills it takes `start_engine`.
    """
    if offered := os.environ.get(OFFERED):
        yield SimpleNamespace(kind="docker", host=offered, api=EngineApi(offered))
        return
    _need(docker_lab.installed())
    started = DockerEngine(lab_home / "e0").start()
    yield started
    started.api.clear()
    started.stop()


@pytest.fixture
def start_engine(lab_home: pathlib.Path) -> Iterator[Callable[..., DockerEngine]]:
    """`start_engine(*flags)` starts an Engine of the test's own, to kill and restart; gone after the test."""
    _need(docker_lab.installed())
    started: list[DockerEngine] = []

    def start(*flags: str) -> DockerEngine:
        home = pathlib.Path(tempfile.mkdtemp(prefix="e", dir=lab_home))
        started.append(DockerEngine(home, *docker_lab.own_bridge(), *flags))
        return started[-1].start()

    yield start
    for one in started:
        if one.process.poll() is None:
            one.api.clear()
            one.stop()


@pytest.fixture(scope="session")
def demo_fleet(docker: DockerEngine, lab_home: pathlib.Path) -> Iterator[Fleet]:
    """The demonstration fleet of `lab/fleet.py`, running in `docker`: `ids` by name, `variables()` for the product."""
    fleet = Fleet(docker.api, lab_home / "fleet").start()
    yield fleet
    fleet.stop()


@pytest.fixture(scope="session")
def podman(
    lab_home: pathlib.Path, registry: RegistryServer, private_registry: RegistryServer
) -> Iterator[PodmanEngine]:
    """A Podman service that may pull from `registry` and `private_registry`."""
    _need(podman_lab.installed())
    started = PodmanEngine(lab_home / "p0", [registry.host, private_registry.host]).start()
    yield started
    started.api.clear()
    started.stop()


@pytest.fixture(scope="session")
def start_server(lab_home: pathlib.Path) -> Iterator[Callable[..., ProductServer]]:
    """`start_server(DD_…="…")` starts the product as a process; stopped at the end of the run."""
    started: list[ProductServer] = []

    def start(**variables: str) -> ProductServer:
        home = pathlib.Path(tempfile.mkdtemp(prefix="s", dir=lab_home))
        started.append(ProductServer(home, variables))
        return started[-1].start()

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


def _need(missing: str | None) -> None:
    """Skip where the machine cannot start an Engine; inside a sandbox that would be a fault of the set-up, so fail."""
    if missing is None and sandbox.inside():
        return
    why = missing or f"needs a sandbox: run tests/run as root, without {OFFERED}"
    if sandbox.inside():
        pytest.fail(why)
    pytest.skip(why)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What a member of a suite cannot do by its nature is not asked of it: no programs in memory, no Podman where
    Docker's own behaviour is tested."""
    refused = [item for item in items if _beyond(item)]
    config.hook.pytest_deselected(items=refused)
    items[:] = [item for item in items if item not in refused]


def _beyond(item: pytest.Item) -> bool:
    wanted = getattr(item, "fixturenames", ())
    return ("[memory" in item.name and "programs" in wanted) or ("[podman" in item.name and "docker_only" in wanted)
