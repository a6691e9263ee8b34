"""The command line against the demonstration fleet (cli.md, explain.md): tables, documents, exit statuses."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from lab.engine import DockerEngine
from lab.fleet import SERVICES, Fleet

pytestmark = pytest.mark.engine

DRYDOCK = pathlib.Path(sys.executable).with_name("drydock")


class Cli:
    """Runs the program as a user does; nothing of the machine's own configuration reaches it."""

    def __init__(self, home: pathlib.Path, **variables: str) -> None:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "DOCKER_"))}
        self._env = {**keep, "XDG_CACHE_HOME": str(home), **variables}

    def __call__(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(DRYDOCK), *arguments], env={**self._env, **more}, capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def cli(docker: DockerEngine, demo_fleet: Fleet, tmp_path: pathlib.Path) -> Cli:
    return Cli(tmp_path, DOCKER_HOST=docker.host, **demo_fleet.variables())


@pytest.fixture
def alone(tmp_path: pathlib.Path) -> Cli:
    return Cli(tmp_path)


RUNNING = [service for service in SERVICES if service.running]


def kinds(document: dict[str, object]) -> dict[str, str]:
    """What `--json` says of each container of the fleet, in the words of `lab/fleet.py`."""
    found = {}
    for container in document["containers"]:  # type: ignore[attr-defined]  # a list
        result, kind = container.get("result", {}), container["updateKind"]
        if "error" in container:
            word = "error"
        elif container["updateAvailable"]:
            word = kind["semverDiff"] if kind["semverDiff"] != "unknown" else kind["kind"]
        elif "updateInsight" in result:
            word = "insight"
        else:
            word = "local" if container["image"].get("isLocalImage") else "nothing"
        found[container["name"]] = word
    return found


def test_check_finds_what_the_fleet_hides(cli: Cli) -> None:
    done = cli("check", "--json")
    document = json.loads(done.stdout)
    found = kinds(document)
    assert {service.name: found[service.name] for service in RUNNING} == {s.name: s.finds for s in RUNNING}
    assert done.returncode == 2, "something could not be checked"
    assert done.stderr == ""
    assert document["summary"]["containers"] == len(document["containers"])
    assert document["summary"]["unchecked"] == sum(word == "error" for word in found.values())
    assert sum(document["requests"].values()) > 0
    assert isinstance(document["tookMs"], int)


def test_secrets_are_masked(cli: Cli) -> None:
    done = cli("check", "api", "--json")
    assert "not-a-real-one" not in done.stdout
    assert '"***"' in done.stdout


def test_the_table(cli: Cli) -> None:
    done = cli("check")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["name", "current", "newer", "kind", "published", "note"]
    assert re.search(r"^storefront +1\.4\.2 +2\.0\.0 +major ", done.stdout, re.M)
    assert re.search(r"^database +16\.1\.0 +17\.0\.0 +insight", done.stdout, re.M)
    assert re.search(r"^\d+ up to date \(--all lists them\)$", done.stdout, re.M)
    assert re.fullmatch(
        r"\d+ containers, \d+ updates \(\d+ major\), \d+ newer beyond a pinned tag, \d+ could not be checked · "
        r"\d+ requests to 2 registries, 0 counted pulls · \d+\.\d s",
        lines[-1],
    )
    order = [line.split()[0] for line in lines[1:]]
    assert order.index("billing") < order.index("storefront") < order.index("api") < order.index("worker")
    assert order.index("worker") < order.index("database"), "insights come after updates"
    assert "mail" not in order
    assert "\x1b" not in done.stdout, "plain when piped"
    assert "mail" in cli("check", "--all").stdout


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["mail"], 0),
        (["storefront"], 1),
        (["billing"], 2),
        (["billing", "storefront"], 2),
        (["database"], 0),
        (["storefront", "--fail-on", "major"], 1),
        (["api", "--fail-on", "major"], 0),
        (["api", "--fail-on", "minor"], 1),
        (["worker", "--fail-on", "minor"], 0),
        (["search", "--fail-on", "patch"], 0),
        (["search", "--fail-on", "digest"], 1),
        (["storefront", "--fail-on", "never"], 0),
        (["database", "--family", "loose"], 1),
    ],
)
def test_exit_statuses(cli: Cli, arguments: list[str], status: int) -> None:
    done = cli("check", *arguments, "--quiet")
    assert (done.returncode, done.stdout) == (status, ""), done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--host", "unix:///nowhere/docker.sock"], 3, "No Docker Engine answers at unix:///nowhere/docker.sock"),
        (["--fail-on", "sometimes"], 2, "--fail-on is major, minor, patch, digest, any or never"),
        (["--family", "big"], 2, "--family is strict or loose"),
        (["nobody"], 2, "No such container: nobody"),
        (["--host", "ssh://far"], 2, "cannot be used"),
    ],
)
def test_errors_say_what_to_do(cli: Cli, arguments: list[str], status: int, said: str) -> None:
    done = cli("check", *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("storefront", "update-available"),
        ("database", "newer-exists"),
        ("mail", "up-to-date"),
        ("billing", "unknown"),
    ],
)
def test_explain(cli: Cli, name: str, verdict: str) -> None:
    document = json.loads(cli("explain", name, "--json").stdout)
    assert (document["name"], document["verdict"]) == (name, verdict)
    assert document["summary"]
    assert all(step["reason"] for step in document["steps"])
    text = cli("explain", name).stdout
    assert text.splitlines()[0].startswith(f"{name} · ")
    assert document["summary"] in text


def test_explain_of_nobody(cli: Cli) -> None:
    done = cli("explain", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nobody" in done.stderr


def test_no_color_even_on_a_terminal(cli: Cli) -> None:
    done = cli("check", "storefront", FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b[3" not in done.stdout


def test_configuration(alone: Cli) -> None:
    done = alone("config", "--json", DD_SERVER_PORT="8080", DD_SERVER_METRICS_TOKEN="0123456789abcdef0")
    document = json.loads(done.stdout)
    assert document["DD_SERVER_PORT"]["value"] == "8080"
    assert "0123456789abcdef0" not in done.stdout
    assert alone("config", "check").returncode == 0
    wrong = alone("config", "check", DD_SERVER_PORT="many", DD_WATCHER_A_CRON="often")
    assert wrong.returncode == 1
    assert "DD_SERVER_PORT" in wrong.stderr
    assert "DD_WATCHER_A_CRON" in wrong.stderr


def test_the_documents(alone: Cli) -> None:
    assert json.loads(alone("openapi").stdout)["openapi"].startswith("3.1")
    assert "DD_WATCHER_" in alone("config", "docs").stdout
    done = alone("healthcheck", "--server", "http://127.0.0.1:9")
    assert (done.returncode, "not healthy" in done.stderr) == (1, True)


@pytest.mark.parametrize("command", ["check", "explain", "serve", "config", "openapi", "healthcheck"])
def test_help_fits_a_screen_and_shows_an_example(alone: Cli, command: str) -> None:
    text = alone(command, "--help").stdout
    assert len(text.splitlines()) <= 40
    if command not in ("openapi", "healthcheck"):
        assert "Example:" in text
