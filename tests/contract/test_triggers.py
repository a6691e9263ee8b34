"""Triggers over HTTP, and what they send, byte by byte (checklist F; container-api.md §5.2, §5.4; notifications.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from contract.product import Product, serve_product
from drydock.core.model import Container, Health, HostKey, Result, UpdatePolicy
from drydock.events import ChecksFinished, ContainerChecked, HealthChanged, UpdateApplied, UpdateFailed
from drydock.watch.ledger import FleetLedger
from fakes.hook import Hook, hook
from kit.clock import ManualClock
from kit.containers import container, container_id
from kit.wait import until

SIMPLE_TITLE = "New ${kind} found for container ${name}"
SIMPLE_BODY = (
    "Container ${container.name} running with ${container.updateKind.kind} ${container.updateKind.localValue} "
    "can be updated to ${container.updateKind.kind} ${container.updateKind.remoteValue}"
    '${container.result && container.result.link ? "\\n" + container.result.link : ""}'
)
BATCH_TITLE = "${containers.length} updates available"
TOPIC = "235ef38e-f1db-414a-964f-ce3f2cc8094d"
ONE = container_id(1)


class Stage:
    """A server with triggers, the endpoint they send to, and a client."""

    def __init__(self, server: Product, endpoint: Hook) -> None:
        self.server = server
        self.hook = endpoint
        self.clock = server.clock
        self.fleet = server.application.fleet
        self.bus = server.application.bus
        self.api = server.client()

    async def get(self, path: str) -> httpx.Response:
        return await self.api.get(f"/api/v1{path}")

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return (
            await self.api.post(f"/api/v1{path}", json=body)
            if body is not None
            else await self.api.post(f"/api/v1{path}")
        )

    async def scan(self, *containers: Container) -> list[Any]:
        """A scheduled check that found these containers so; gives what was sent then."""
        await self.server.seed(*containers)
        reports = tuple(ContainerChecked(container=self.fleet.need(one.id), changed=True) for one in containers)
        for report in reports:
            self.bus.publish(report)
        self.bus.publish(ChecksFinished(host=HostKey(None, "local"), reports=reports, cause="cron"))
        return await self.sent()

    async def sent(self) -> list[Any]:
        """Documents that were sent since the last time, once every event is handled."""
        await self.bus.drain()
        return [one.json for one in self.hook.take()]


@asynccontextmanager
async def stage(folder: Path, clock: ManualClock | None = None, **variables: str) -> AsyncIterator[Stage]:
    """`{hook}` in a variable is the endpoint's address."""
    async with hook() as endpoint:
        known = {name: value.replace("{hook}", endpoint.url) for name, value in variables.items()}
        async with serve_product(folder, clock, DD_ANONYMOUS_AUTH_CONFIRM="true", **known) as server:
            yield Stage(server, endpoint)


def ntfy(name: str = "one", **keys: str) -> dict[str, str]:
    """Variables of an ntfy trigger that sends to the endpoint."""
    prefix = f"DD_NOTIFICATION_NTFY_{name.upper()}_"
    return {f"{prefix}URL": "{hook}", f"{prefix}TOPIC": "hosts", **{prefix + key: value for key, value in keys.items()}}


def homeassistant(**changes: Any) -> Container:
    return container(1, "homeassistant", tag="2021.6.4", update="2021.6.5", **changes)


def linked(one: Container, link: str) -> Container:
    """With a link in the result."""
    result = one.result or Result()
    return msgspec.structs.replace(one, result=msgspec.structs.replace(result, link=link))


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"])


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rows("C-097", "C-098", "C-099", "C-100", "C-101", "C-103")
async def test_triggers_of_a_container_as_the_guide_shows_them(tmp_path: Path) -> None:
    variables = {
        "DD_NOTIFICATION_NTFY_ONE_TOPIC": TOPIC,
        "DD_NOTIFICATION_NTFY_ONE_THRESHOLD": "major",
        "DD_NOTIFICATION_NTFY_ONE_MODE": "simple",
        "DD_NOTIFICATION_NTFY_ONE_ONCE": "true",
        "DD_NOTIFICATION_NTFY_ONE_SIMPLETITLE": SIMPLE_TITLE,
        "DD_NOTIFICATION_NTFY_ONE_SIMPLEBODY": SIMPLE_BODY,
        "DD_NOTIFICATION_NTFY_ONE_BATCHTITLE": BATCH_TITLE,
    }
    async with stage(tmp_path, **variables) as at:
        await at.server.seed(homeassistant())
        body = (await at.get(f"/containers/{ONE}/triggers")).json()
        assert body["total"] == len(body["data"]) == 1
        (item,) = body["data"]
        assert (item["id"], item["type"], item["name"]) == ("ntfy.one", "ntfy", "one")
        assert item["metadata"] == {"category": "notification"}
        assert "agent" not in item
        wanted = {
            "topic": TOPIC,
            "url": "https://ntfy.sh",
            "threshold": "major",
            "mode": "simple",
            "once": True,
            "simpletitle": SIMPLE_TITLE,
            "simplebody": SIMPLE_BODY,
            "batchtitle": BATCH_TITLE,
        }
        assert wanted.items() <= item["configuration"].items()
        assert problem(await at.get("/containers/nope/triggers"), 404) == "Container not found"


@pytest.mark.rows("C-305")
async def test_defaults_are_the_texts_of_the_guide(tmp_path: Path) -> None:
    async with stage(tmp_path, DD_NOTIFICATION_NTFY_ONE_TOPIC=TOPIC) as at:
        await at.server.seed(homeassistant())
        (item,) = (await at.get(f"/containers/{ONE}/triggers")).json()["data"]
        assert item["configuration"] == {
            "url": "https://ntfy.sh",
            "topic": TOPIC,
            "auto": "all",
            "order": 100,
            "threshold": "all",
            "mode": "simple",
            "once": True,
            "digestcron": "0 8 * * *",
            "simpletitle": SIMPLE_TITLE,
            "simplebody": SIMPLE_BODY,
            "batchtitle": BATCH_TITLE,
            "resolvenotifications": False,
            "securitymode": "simple",
            "disabletitle": False,
        }


async def test_all_triggers_are_listed_by_type_and_name_without_secrets(tmp_path: Path) -> None:
    variables = {
        **ntfy("b", AUTH_USER="ann", AUTH_PASSWORD="s3cret", URL="https://ann:s3cret@push.example?auth=s3cret&up=1"),
        **ntfy("a", AUTH_TOKEN="tk_s3cret"),
        "DD_ACTION_COMMAND_RUN_CMD": "echo s3cret",
        "DD_ACTION_DOCKER_LOCAL_PRUNE": "true",
        "DD_NOTIFICATION_HTTP_HOOK_URL": "https://example.org/in?key=s3cret",
        "DD_NOTIFICATION_HTTP_HOOK_AUTH_TYPE": "bearer",
        "DD_NOTIFICATION_HTTP_HOOK_AUTH_BEARER": "s3cret",
    }
    async with stage(tmp_path, **variables) as at:
        answer = await at.get("/triggers")
        body = answer.json()
        assert [one["id"] for one in body["data"]] == ["command.run", "docker.local", "http.hook", "ntfy.a", "ntfy.b"]
        assert (body["total"], body["limit"], body["offset"], body["hasMore"]) == (5, 0, 0, False)
        assert [one["metadata"]["category"] for one in body["data"]] == ["action"] * 2 + ["notification"] * 3
        assert {one["agent"] for one in body["data"]} == {None}
        assert "s3cret" not in answer.text
        dump = await at.get("/debug/dump")
        assert [one["id"] for one in dump.json()["state"]["triggers"]] == [one["id"] for one in body["data"]]
        assert "push.example" not in str(dump.json()["state"]["triggers"])
        found = {one["id"]: one["configuration"] for one in body["data"]}
        assert found["ntfy.b"]["auth"] == {"user": "[REDACTED]", "password": "[REDACTED]"}
        assert found["ntfy.b"]["url"] == "https://[REDACTED]@push.example?auth=[REDACTED]&up=[REDACTED]"
        assert found["http.hook"]["url"] == "https://example.org/in?key=[REDACTED]"
        assert found["http.hook"]["auth"] == {"type": "BEARER", "bearer": "[REDACTED]"}
        assert found["command.run"]["cmd"] == "[REDACTED]"
        assert found["command.run"]["auto"] == "oninclude"
        assert found["docker.local"]["prune"] is True
        assert (await at.get("/triggers?limit=2&offset=1")).json()["hasMore"] is True
        one = await at.get("/triggers/NTFY/A")
        assert (one.status_code, one.json()["id"]) == (200, "ntfy.a")
        assert problem(await at.get("/triggers/ntfy/z"), 404) == "Component not found"
        assert problem(await at.get("/triggers/ntfy/a/edge"), 404) == "Component not found"


@pytest.mark.rows("C-102")
async def test_labels_decide_what_is_associated(tmp_path: Path) -> None:
    variables = {**ntfy("one", THRESHOLD="patch"), **ntfy("two"), "DD_ACTION_DOCKER_LOCAL_AUTO": "onauto"}
    async with stage(tmp_path, **variables) as at:

        async def shown(**labels: str) -> dict[str, Any]:
            await at.server.seed(container(1, update="1.1.0", **labels))
            data = (await at.get(f"/containers/{ONE}/triggers")).json()["data"]
            return {one["id"]: one for one in data}

        assert set(await shown()) == {"docker.local", "ntfy.one", "ntfy.two"}
        assert set(await shown(notification_trigger_exclude="ntfy.one")) == {"docker.local", "ntfy.two"}
        assert set(await shown(notification_trigger_exclude="ONE:major")) == {"docker.local", "ntfy.two"}
        found = await shown(notification_trigger_include="ntfy.one:minor, nothing")
        assert set(found) == {"docker.local", "ntfy.one"}
        assert found["ntfy.one"]["configuration"]["threshold"] == "minor"
        assert (await at.get("/triggers/ntfy/one")).json()["configuration"]["threshold"] == "patch"
        assert (await shown(notification_trigger_include="one"))["ntfy.one"]["configuration"]["threshold"] == "all"
        assert set(await shown(action_trigger_exclude="local")) == {"ntfy.one", "ntfy.two"}
        assert (await shown())["docker.local"]["resolvedState"] == "blocked"
        assert (await shown(action_trigger_include="docker.local"))["docker.local"]["resolvedState"] == "manual"
        assert (await shown(action_trigger_auto="docker.local"))["docker.local"]["resolvedState"] == "auto"
        assert "resolvedState" not in (await shown())["ntfy.one"]


async def test_update_triggers_of_this_host_do_not_fit_containers_of_agents(tmp_path: Path) -> None:
    async with stage(tmp_path, DD_ACTION_DOCKER_LOCAL_PRUNE="true", **ntfy()) as at:
        await at.server.seed(container(1, update="1.1.0", agent="edge"))
        data = (await at.get(f"/containers/{ONE}/triggers")).json()["data"]
        assert [one["id"] for one in data] == ["ntfy.one"]


# ── by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rows("C-104", "C-306")
async def test_run_by_hand(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy(THRESHOLD="major", PRIORITY="4", AUTH_USER="ann", AUTH_PASSWORD="pw")) as at:
        await at.server.seed(homeassistant(notification_trigger_exclude="ntfy.one"))
        for _ in range(2):
            answer = await at.post(f"/containers/{ONE}/triggers/ntfy/one")
            assert (answer.status_code, answer.content) == (200, b"{}")
        first, second = at.hook.take()
        assert (
            first.body
            == second.body
            == (
                b'{"topic":"hosts","title":"New tag found for container homeassistant",'
                b'"message":"Container homeassistant running with tag 2021.6.4 can be updated to tag 2021.6.5","priority":4}'
            )
        )
        assert (first.method, first.target) == ("POST", "/")
        assert first.headers["Content-Type"] == "application/json"
        assert first.headers["Authorization"] == "Basic YW5uOnB3"
        assert first.headers["User-Agent"].startswith("drydock/")


@pytest.mark.rows("C-306")
@pytest.mark.parametrize("configured", [True, False])
async def test_the_templates_of_the_guide_render(tmp_path: Path, configured: bool) -> None:
    keys = {"SIMPLETITLE": SIMPLE_TITLE, "SIMPLEBODY": SIMPLE_BODY} if configured else {}
    async with stage(tmp_path, **ntfy(**keys)) as at:
        await at.server.seed(linked(homeassistant(), "https://notes.example/2021.6.5"))
        await at.post(f"/containers/{ONE}/triggers/ntfy/one")
        (sent,) = at.hook.take()
        assert sent.json["title"] == "New tag found for container homeassistant"
        assert sent.json["message"] == (
            "Container homeassistant running with tag 2021.6.4 can be updated to tag 2021.6.5\n"
            "https://notes.example/2021.6.5"
        )


async def test_own_templates_are_used(tmp_path: Path) -> None:
    keys = {
        "SIMPLETITLE": "${name.toUpperCase()}: ${remote}",
        "SIMPLEBODY": "${missing}${currentTag} ${isDigestUpdate}",
    }
    async with stage(tmp_path, **ntfy(**keys)) as at:
        await at.server.seed(homeassistant())
        await at.post(f"/containers/{ONE}/triggers/ntfy/one")
        (sent,) = at.hook.take()
        assert (sent.json["title"], sent.json["message"]) == ("HOMEASSISTANT: 2021.6.5", "2021.6.4 false")


@pytest.mark.rows("C-105", "C-107")
async def test_what_cannot_be_run(tmp_path: Path) -> None:
    async with stage(tmp_path, DD_ACTION_DOCKER_LOCAL_PRUNE="true", **ntfy()) as at:
        leftover = container(2, "web-old-1772000000000")
        await at.server.seed(homeassistant(), leftover, container(3, agent="edge"))
        two, three = container_id(2), container_id(3)
        assert problem(await at.post("/containers/nope/triggers/ntfy/one"), 404) == "Container not found"
        assert problem(await at.post(f"/containers/{ONE}/triggers/ntfy/nosuch"), 404) == "Trigger not found"
        assert problem(await at.post(f"/containers/{ONE}/triggers/slack/one"), 404) == "Trigger not found"
        assert problem(await at.post(f"/containers/{ONE}/triggers/ntfy/one/nosuch"), 404) == "Trigger not found"
        text = "Cannot update temporary rollback container"
        assert problem(await at.post(f"/containers/{two}/triggers/ntfy/one"), 409) == text
        text = f"Cannot execute local docker trigger on remote container edge.{three}"
        assert problem(await at.post(f"/containers/{three}/triggers/docker/local"), 400) == text
        assert at.hook.take() == []


async def test_a_failed_delivery_says_what_the_service_answered(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy(AUTH_TOKEN="tk_s3cret")) as at:
        await at.server.seed(homeassistant())
        at.hook.answer(500, "no room for tk_s3cret\n" + "x" * 1000)
        text = problem(await at.post(f"/containers/{ONE}/triggers/ntfy/one"), 500)
        assert text.startswith("HTTP 500 from 127.0.0.1: no room for [REDACTED] xxx")
        assert len(text) <= 500
        (sent,) = at.hook.take()
        assert sent.headers["Authorization"] == "Bearer tk_s3cret"
        assert await at.server.audit("notification-delivery-failed") == []


async def test_run_with_a_described_container(tmp_path: Path) -> None:
    async with stage(tmp_path, DD_ACTION_DOCKER_LOCAL_PRUNE="true", **ntfy()) as at:
        described = {
            "id": "any",
            "name": "sample",
            "updateKind": {"kind": "tag", "localValue": "1", "remoteValue": "2"},
        }
        answer = await at.post("/triggers/ntfy/one", described)
        assert (answer.status_code, answer.content) == (200, b"{}")
        (sent,) = at.hook.take()
        assert sent.json["message"] == "Container sample running with tag 1 can be updated to tag 2"
        odd = {"id": "x", "name": 5, "image": "nginx", "result": [], "updateKind": "tag", "notificationEvent": 1}
        assert (await at.post("/triggers/ntfy/one", odd)).status_code == 200
        assert at.hook.take()[0].json["title"] == "New unknown found for container 5"
        for body in ({}, {"id": ""}, {"id": 5}, {"id": "a", "agent": 1}, {"id": "a", "operationId": ""}, ["a"]):
            assert problem(await at.post("/triggers/ntfy/one", body), 400) == "Invalid trigger request body"
        text = "Cannot execute local trigger ntfy.one on remote container edge.a"
        assert problem(await at.post("/triggers/ntfy/one", {"id": "a", "agent": "edge"}), 400) == text
        text = "Error when running trigger ntfy.two (trigger not found)"
        assert problem(await at.post("/triggers/ntfy/two", {"id": "a"}), 404) == text
        text = "Cannot update temporary rollback container"
        assert problem(await at.post("/triggers/ntfy/one", {"id": "a", "name": "w-old-1772000000"}), 409) == text
        assert problem(await at.post("/triggers/docker/local", {"id": "a"}), 404) == "Container not found"
        assert problem(await at.post("/triggers/ntfy/one/edge", {"id": "a"}), 404) == "Agent edge not found"
        at.hook.answer(403, "forbidden")
        answer = await at.post("/triggers/ntfy/one", {"id": "a", "name": "a"})
        assert answer.status_code == 500
        assert answer.json() == {
            "error": "Error when running trigger ntfy.one",
            "details": {"reason": "HTTP 403 from 127.0.0.1: forbidden"},
        }


async def test_an_updating_action_answers_like_the_update_endpoint(tmp_path: Path) -> None:
    variables = {"DD_ACTION_DOCKER_LOCAL_PRUNE": "true"}
    async with stage(tmp_path, **variables) as at:
        await at.server.seed(container(1), container(2, update="1.1.0"))
        text = problem(await at.post(f"/containers/{ONE}/triggers/docker/local"), 400)
        assert text == problem(await at.post(f"/containers/{ONE}/update"), 400)
        answer = await at.post(f"/containers/{container_id(2)}/triggers/docker/local")
        assert answer.status_code == 202, answer.text
        operation = await at.get(f"/update-operations/{answer.json()['operationId']}")
        assert operation.json()["triggerName"] == "docker.local"
    async with stage(tmp_path / "off", DD_SERVER_FEATURE_CONTAINERACTIONS="false", **variables) as at:
        await at.server.seed(container(1, update="1.1.0"))
        problem(await at.post(f"/containers/{ONE}/triggers/docker/local"), 403)


# ── by themselves ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rows("C-308")
async def test_threshold_and_once(tmp_path: Path) -> None:
    """`major-only` is the threshold that a minor update does not reach (notifications.md §3)."""
    async with stage(tmp_path, **ntfy(THRESHOLD="major-only")) as at:
        assert await at.scan(container(1, update="1.1.0")) == []
        (sent,) = await at.scan(container(1, update="2.0.0"))
        assert sent["title"] == "New tag found for container c001"
        assert await at.scan(container(1, update="2.0.0")) == []
        assert len(await at.scan(container(1, update="2.1.0"))) == 1


@pytest.mark.rows("C-308")
async def test_once_survives_a_restart_and_a_recreation(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy()) as at:
        assert len(await at.scan(container(1, "web", update="2.0.0"))) == 1
    async with stage(tmp_path, **ntfy()) as at:
        assert await at.scan(container(1, "web", update="2.0.0")) == []
        assert await at.scan(container(7, "web", update="2.0.0")) == []


async def test_without_once_every_check_tells(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy(ONCE="false")) as at:
        assert [len(await at.scan(container(1, update="2.0.0"))) for _ in range(2)] == [1, 1]


async def test_a_new_trigger_does_not_tell_the_backlog_but_a_failure_is_not_forgotten(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        await at.scan(container(1, update="2.0.0"))
    async with stage(tmp_path, **ntfy()) as at:
        assert await at.scan(container(1, update="2.0.0")) == []
        at.hook.answer(500, "down")
        assert len(await at.scan(container(2, update="2.0.0"))) == 1
        (entry,) = await at.server.audit("notification-delivery-failed")
        assert (entry["trigger_name"], entry["details"]) == ("ntfy.one", "HTTP 500 from 127.0.0.1: down")
        assert (entry["from_version"], entry["to_version"]) == ("1.0.0", "2.0.0")
    async with stage(tmp_path, **ntfy()) as at:
        assert len(await at.scan(container(2, update="2.0.0"))) == 1


@pytest.mark.rows("C-307")
async def test_batch(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy(MODE="batch")) as at:
        waiting = [container(n, update="1.1.0") for n in (1, 2, 3)]
        (sent,) = await at.scan(*waiting, container(4))
        assert sent["title"] == "3 updates available"
        assert sent["message"] == "\n".join(
            f"- Container c00{n} running with tag 1.0.0 can be updated to tag 1.1.0\n" for n in (1, 2, 3)
        )
        assert await at.scan(*waiting) == []


@pytest.mark.rows("C-142")
async def test_suppression_silences(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy()) as at:
        for number, policy in (
            (1, UpdatePolicy(skip_tags=["1.1.0"])),
            (2, UpdatePolicy(snooze_until="2030-01-01T00:00:00.000Z")),
        ):
            assert await at.scan(container(number, update="1.1.0", update_policy_overrides=policy)) == []
            answer = await at.api.patch(
                f"/api/v1/containers/{container_id(number)}/update-policy", json={"action": "clear"}
            )
            assert answer.status_code == 200, answer.text
            assert len(await at.scan(at.fleet.need(container_id(number)))) == 1


@pytest.mark.rows("C-312")
async def test_a_maturity_policy_holds_messages_and_automatic_updates(tmp_path: Path) -> None:
    clock = ManualClock()
    variables = {**ntfy(), "DD_ACTION_DOCKER_LOCAL_AUTO": "all"}
    policy = UpdatePolicy(maturity_mode="mature", maturity_min_age_days=14)
    async with stage(tmp_path, clock, **variables) as at:
        assert (await at.api.patch("/api/v1/settings", json={"updateMode": "auto"})).status_code == 200
        fresh = container(1, update="1.1.0", update_policy_overrides=policy)
        assert await at.scan(fresh) == []
        assert (await at.get(f"/containers/{ONE}/update-operations")).json()["data"] == []
        clock.advance(14 * 86_400)
        ledger = FleetLedger(at.fleet, at.bus, clock)
        await ledger.open_gate(ONE)
        titles = [one["title"] for _ in range(2) for one in await at.scan(at.fleet.need(ONE))]
        failed = "Container c001 update failed"  # no Engine stands behind this stage
        assert [title for title in titles if title != failed] == ["Update ready for container c001"]
        (operation,) = (await at.get(f"/containers/{ONE}/update-operations")).json()["data"]
        assert operation["triggerName"] == "docker.local"


@pytest.mark.parametrize(
    ("auto", "labels", "told"),
    [
        ("true", {}, True),
        ("true", {"notification_trigger_include": "ntfy.one"}, True),
        ("true", {"notification_trigger_include": "other"}, False),
        ("true", {"notification_trigger_include": "one:major-only"}, False),
        ("true", {"notification_trigger_exclude": "ntfy.one"}, False),
        ("true", {"notification_trigger_exclude": "ntfy.one:major-only"}, True),
        ("true", {"action_trigger_exclude": "ntfy.one"}, True),
        ("oninclude", {}, False),
        ("oninclude", {"notification_trigger_include": "NTFY.ONE:minor"}, True),
        ("none", {"notification_trigger_include": "ntfy.one"}, False),
    ],
)
async def test_labels_and_auto(tmp_path: Path, auto: str, labels: dict[str, str], told: bool) -> None:
    async with stage(tmp_path, **ntfy(AUTO=auto)) as at:
        assert bool(await at.scan(container(1, update="1.1.0", **labels))) is told


async def test_temporary_containers_are_never_told(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy()) as at:
        assert await at.scan(container(1, "web-old-1772000000000", update="1.1.0")) == []


async def test_what_else_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path, **ntfy(AUTO="none", THRESHOLD="major-only")) as at:
        one = container(1, "web", update="1.1.0")
        assert await at.scan(one) == []
        operation = {"containerId": one.id, "containerName": "web", "watcher": "local"}
        at.bus.publish(UpdateApplied(operation=operation, container=one))
        at.bus.publish(UpdateFailed(operation=operation, error="image gone", container=one))
        at.bus.publish(UpdateApplied(operation={**operation, "phase": "dryrun"}, container=one))
        unhealthy: Health = "unhealthy"
        at.bus.publish(HealthChanged(container=msgspec.structs.replace(one, health=unhealthy), previous="healthy"))
        assert [(one["title"], one["message"]) for one in await at.sent()] == [
            ("Container web updated successfully", "Container web updated successfully"),
            ("Container web update failed", "Container web update failed: image gone"),
        ]


async def test_an_applied_update_is_not_announced_again_within_an_hour(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stage(tmp_path, clock, **ntfy()) as at:
        one = container(1, update="1.1.0")
        assert len(await at.scan(one)) == 1
        at.bus.publish(UpdateApplied(operation={"containerId": one.id}, container=one))
        await at.sent()
        assert await at.scan(one) == []
        clock.advance(3600.001)
        assert len(await at.scan(one)) == 1
        at.bus.publish(UpdateApplied(operation={"containerId": one.id}, container=one))
        await at.sent()
        assert await at.scan(container(1)) == []
        assert len(await at.scan(one)) == 1


async def test_failures_in_batch_mode_come_as_one_message(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stage(tmp_path, clock, **ntfy(MODE="batch")) as at:
        for number in (1, 2, 2):
            one = container(number, update="1.1.0")
            await at.server.seed(one)
            at.bus.publish(UpdateFailed(operation={"containerId": one.id}, error=f"e{number}", container=one))
        assert await at.sent() == []
        await until(lambda: clock.advance(0.25) or at.hook.received)
        (sent,) = await at.sent()
        assert sent["title"] == "2 updates failed"
        assert sent["message"] == "- Container c001 update failed: e1\n\n- Container c002 update failed: e2\n"


async def test_digest(tmp_path: Path) -> None:
    """Collected over scans and a restart, sent at eight, without what is gone by then."""
    clock = ManualClock(1_772_000_000_000)  # 06:13:20
    variables = {**ntfy(MODE="digest"), "TZ": "UTC"}
    async with stage(tmp_path, clock, **variables) as at:
        assert await at.scan(container(1, update="1.1.0"), container(2, update="1.1.0")) == []
    async with stage(tmp_path, clock, **variables) as at:
        assert await at.scan(container(3, update="1.1.0"), container(2)) == []
        while clock.now_ms() < 1_772_000_000_000 + 6_400_000:
            clock.advance(300)
            await asyncio.sleep(0)
        clock.advance(300)
        await until(lambda: at.hook.received)
        (sent,) = await at.sent()
        assert sent["title"] == "2 updates available"
        assert "c001" in sent["message"]
        assert "c003" in sent["message"]
        assert await at.scan(container(1, update="1.1.0")) == []


async def test_one_slow_or_failing_trigger_holds_back_no_other(tmp_path: Path) -> None:
    async with hook() as broken:
        broken.answer(500)
        variables = {**ntfy("a", URL=broken.url, ORDER="1"), **ntfy("b")}
        async with stage(tmp_path, **variables) as at:
            assert len(await at.scan(container(1, update="1.1.0"))) == 1
        assert len(broken.received) == 1


# ── http ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def http(**keys: str) -> dict[str, str]:
    return {"DD_NOTIFICATION_HTTP_HOOK_URL": "{hook}/in?k=1"} | {
        f"DD_NOTIFICATION_HTTP_HOOK_{k}": v for k, v in keys.items()
    }


async def test_http_posts_the_container_itself_without_secrets(tmp_path: Path) -> None:
    async with stage(tmp_path, **http(AUTH_TYPE="bearer", AUTH_BEARER="tok3n")) as at:
        (sent,) = await at.scan(container(1, update="1.1.0"))
        shown = (await at.get(f"/containers/{ONE}")).json()
        for one in (sent, shown):
            one.pop("updateEligibility")
        assert sent == shown
        assert {"key": "DB_PASSWORD", "value": "***", "sensitive": True} in sent["details"]["env"]


async def test_http_batch_get_and_credentials(tmp_path: Path) -> None:
    variables = http(METHOD="GET", MODE="batch", AUTH_USER="ann", AUTH_PASSWORD="pw")
    async with stage(tmp_path, **variables) as at:
        reports = [container(1, update="1.1.0"), container(2, update="1.1.0")]
        await at.server.seed(*reports)
        checked = tuple(ContainerChecked(container=one, changed=True) for one in reports)
        at.bus.publish(ChecksFinished(host=HostKey(None, "local"), reports=checked, cause="cron"))
        await at.bus.drain()
        (sent,) = at.hook.take()
        assert sent.method == "GET"
        assert sent.headers["Authorization"] == "Basic YW5uOnB3"
        query = httpx.QueryParams(sent.target.partition("?")[2])
        assert query["k"] == "1"
        assert query["0[image][tag][value]"] == "1.0.0"
        assert query["1[updateAvailable]"] == "true"
        assert "0[labels]" not in query


async def test_http_follows_no_redirect(tmp_path: Path) -> None:
    async with stage(tmp_path, **http()) as at:
        await at.server.seed(container(1, update="1.1.0"))
        at.hook.answer(302, headers={"Location": "/elsewhere"})
        assert problem(await at.post(f"/containers/{ONE}/triggers/http/hook"), 500) == "HTTP 302 from 127.0.0.1"
        assert len(at.hook.take()) == 1


async def test_http_refuses_metadata_services(tmp_path: Path) -> None:
    async with stage(tmp_path, DD_NOTIFICATION_HTTP_META_URL="http://169.254.169.254/latest") as at:
        await at.server.seed(container(1))
        text = problem(await at.post(f"/containers/{ONE}/triggers/http/meta"), 500)
        assert "169.254.169.254" in text
        assert "allowmetadata=true" in text


# ── command ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_command_runs_with_the_container_in_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    variables = {
        "DD_ACTION_COMMAND_RUN_CMD": f'printf "%s|%s|%s|%s" "$name" "$image_tag_value" "$update_kind_remote_value" "$SECRET" > {out}',
        "SECRET": "not passed on",
        "PATH": "/usr/bin:/bin",
    }
    async with stage(tmp_path, **variables) as at:
        await at.scan(container(1, "web", update="1.1.0"))
        assert not out.exists()
        await at.scan(container(2, "web2", update="1.1.0", action_trigger_include="command.run"))
        assert out.read_text() == "web2|1.0.0|1.1.0|"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"CMD": "exit 3"}, "Command execution failed (exit 3)"),
        ({"CMD": "sleep 60", "TIMEOUT": "50"}, "Command execution timed out after 50 ms"),
        ({"CMD": "true", "SHELL": "/nowhere/sh"}, "Command could not be started: No such file or directory"),
    ],
)
async def test_a_command_that_fails_says_so(tmp_path: Path, keys: dict[str, str], text: str) -> None:
    variables = {f"DD_ACTION_COMMAND_RUN_{key}": value for key, value in keys.items()}
    async with stage(tmp_path, **variables) as at:
        await at.server.seed(container(1))
        assert problem(await at.post(f"/containers/{ONE}/triggers/command/run"), 500) == text
