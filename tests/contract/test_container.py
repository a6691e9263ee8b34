"""Update policy, delete, reveal (container-api.md §5.6, §7.6, §7.7) and their rows of sections H, L, M."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from contract.http_app import HttpApp, serve_app
from drydock.core.audit import AuditFilter
from drydock.core.model import DeclarativePolicy, Result, UpdatePolicy
from drydock.core.times import DAY_MS, from_iso, to_iso
from drydock.events import ContainerRemoved, ContainerUpdated
from kit.containers import container, container_id, image

ONE, TWO = container_id(1), container_id(2)
SHA = "sha256:" + "b" * 64


@pytest.fixture
async def policy(http_app: HttpApp) -> HttpApp:
    """Two containers with a pending tag update, one with a digest update."""
    watched = msgspec.structs.replace(image().digest, watch=True, value="sha256:" + "a" * 64)
    await http_app.seed(
        container(1, update="1.1.0"),
        container(2, update="1.1.0"),
        container(3, image=image(digest=watched), result=Result(tag="1.0.0", digest=SHA)),
    )
    return http_app


async def act(http_app: HttpApp, id: str = ONE, **body: Any) -> Any:
    answer = await http_app.api.patch(f"/containers/{id}/update-policy", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == (await http_app.api.get(f"/containers/{id}")).json()
    return answer.json()


async def refused(http_app: HttpApp, id: str = ONE, **body: Any) -> httpx.Response:
    before = http_app.fleet.get(id)
    answer = await http_app.api.patch(f"/containers/{id}/update-policy", json=body)
    assert answer.json()["error"]
    assert http_app.fleet.get(id) == before
    return answer


@pytest.mark.rows("C-122", "C-123", "C-141", "C-313")
async def test_skip_current(policy: HttpApp) -> None:
    found = await act(policy, action="skip-current")
    assert found["updatePolicy"] == {"skipTags": ["1.1.0"]}
    assert found["updateAvailable"] is False
    assert found["updateKind"]["remoteValue"] == "1.1.0"
    assert await policy.ids("/containers?status=update-available") == [TWO, container_id(3)]
    assert (await policy.api.get("/containers/summary")).json()["containers"]["updatesAvailable"] == 2
    assert "updatePolicy" not in (await policy.api.get(f"/containers/{TWO}")).json()


@pytest.mark.rows("C-124", "C-126")
async def test_skip_a_digest(policy: HttpApp) -> None:
    found = await act(policy, container_id(3), action="skip-current")
    assert (found["updatePolicy"], found["updateAvailable"]) == ({"skipDigests": [SHA]}, False)
    found = await act(policy, container_id(3), action="remove-skip", kind="digest", value=SHA)
    assert ("updatePolicy" in found, found["updateAvailable"]) == (False, True)


@pytest.mark.rows("C-125", "C-127", "C-311")
async def test_remove_skip(policy: HttpApp) -> None:
    await act(policy, action="skip-current")
    await policy.fleet.change(ONE, lambda old: msgspec.structs.replace(old, result=Result(tag="1.2.0")))
    assert (await policy.api.get(f"/containers/{ONE}")).json()["updateAvailable"] is True
    assert (await act(policy, action="skip-current"))["updatePolicy"] == {"skipTags": ["1.1.0", "1.2.0"]}
    found = await act(policy, action="remove-skip", kind="tag", value=" 1.2.0 ")
    assert (found["updatePolicy"], found["updateAvailable"]) == ({"skipTags": ["1.1.0"]}, True)
    for body in ({"kind": "tag"}, {"value": "x"}, {"kind": "tag", "value": " "}, {"kind": "x", "value": "y"}):
        assert (await refused(policy, action="remove-skip", **body)).status_code == 400


@pytest.mark.rows("C-128", "C-132", "C-139")
async def test_each_removal_keeps_the_rest(policy: HttpApp) -> None:
    await act(policy, action="skip-current")
    await act(policy, action="snooze", days=3)
    await act(policy, action="set-maturity-policy", mode="mature", minAgeDays=9)
    found = await act(policy, action="clear-skips")
    assert set(found["updatePolicy"]) == {"snoozeUntil", "maturityMode", "maturityMinAgeDays"}
    found = await act(policy, action="unsnooze")
    assert set(found["updatePolicy"]) == {"maturityMode", "maturityMinAgeDays"}
    found = await act(policy, action="clear-maturity-policy")
    assert ("updatePolicy" in found, found["updateAvailable"]) == (False, True)


@pytest.mark.rows("C-129", "C-133", "C-313")
@pytest.mark.parametrize("days", [7, "2", 0.5])
async def test_snooze_ends_by_itself(policy: HttpApp, days: Any) -> None:
    found = await act(policy, action="snooze", days=days)
    length = int(float(days) * DAY_MS)
    assert from_iso(found["updatePolicy"]["snoozeUntil"]) == policy.clock.now_ms() + length
    assert found["updateAvailable"] is False
    policy.clock.advance((length - 1) / 1000)
    assert ONE not in await policy.ids("/containers?status=update-available")
    policy.clock.advance(0.001)
    assert ONE in await policy.ids("/containers?status=update-available")
    assert (await policy.api.get("/containers/summary")).json()["containers"]["updatesAvailable"] == 3


@pytest.mark.rows("C-130", "C-131")
async def test_snooze_until(policy: HttpApp) -> None:
    until = to_iso(policy.clock.now_ms() + DAY_MS)
    assert (await act(policy, action="snooze", snoozeUntil=until, days=5))["updatePolicy"] == {"snoozeUntil": until}
    for body in ({"days": 0}, {"days": 366}, {"days": "abc"}, {"snoozeUntil": "x"}):
        assert (await refused(policy, action="snooze", **body)).status_code == 400


@pytest.mark.rows("C-134")
async def test_clear(policy: HttpApp) -> None:
    await act(policy, action="skip-current")
    await act(policy, action="snooze")
    await act(policy, action="set-maturity-policy", mode="mature")
    found = await act(policy, action="clear")
    assert ("updatePolicy" in found, found["updateAvailable"]) == (False, True)


@pytest.mark.rows("C-135", "C-136", "C-137", "C-138", "C-313")
async def test_maturity(policy: HttpApp) -> None:
    found = await act(policy, action="set-maturity-policy", mode=" MATURE ", minAgeDays=14)
    assert found["updatePolicy"] == {"maturityMode": "mature", "maturityMinAgeDays": 14}
    assert found["updateAvailable"] is False
    policy.clock.advance(14 * DAY_MS / 1000 - 60)
    assert ONE not in await policy.ids("/containers?status=update-available")
    policy.clock.advance(60)
    assert ONE in await policy.ids("/containers?status=update-available")
    found = await act(policy, TWO, action="set-maturity-policy", mode="mature")
    assert found["updatePolicy"]["maturityMinAgeDays"] == 7
    for body in ({}, {"mode": "x"}, *({"mode": "mature", "minAgeDays": days} for days in (0, 366, 1.5))):
        assert (await refused(policy, action="set-maturity-policy", **body)).status_code == 400


@pytest.mark.rows("C-140")
async def test_policy_is_stored(tmp_path: Path) -> None:
    async with serve_app(tmp_path) as http_app:
        await http_app.seed(container(1, update="1.1.0"))
        await act(http_app, action="skip-current")
    async with serve_app(tmp_path) as http_app:
        found = (await http_app.api.get(f"/containers/{ONE}")).json()
        assert (found["updatePolicy"], found["updateAvailable"]) == ({"skipTags": ["1.1.0"]}, False)


@pytest.mark.rows("C-143")
async def test_unknown_action_and_container(policy: HttpApp) -> None:
    assert (await refused(policy, action="explode")).status_code == 400
    assert (await refused(policy)).status_code == 400
    assert (await refused(policy, "nope", action="explode")).status_code == 404
    answer = await policy.api.patch(f"/containers/{ONE}/update-policy", json=[])
    assert answer.status_code == 400


async def test_a_change_is_told_and_audited(policy: HttpApp) -> None:
    policy.events.clear()
    await act(policy, action="skip-current")
    assert [type(event) for event in policy.events if isinstance(event, ContainerUpdated)] == [ContainerUpdated]
    entries, _ = await policy.services.audit.records.query(AuditFilter(actions=("update-policy-override-set",)), 10, 0)
    details = msgspec.json.decode(entries[0].details or "")
    assert (details["operation"], details["fields"]["skip_tags"]["override"]) == ("skip-current", ["1.1.0"])
    assert entries[0].container_identity_key == "::local::c001"
    await act(policy, action="clear-skips")
    _, total = await policy.services.audit.records.query(
        AuditFilter(actions=("update-policy-override-cleared",)), 10, 0
    )
    assert total == 1


async def test_declared_policy_is_neutralised(http_app: HttpApp) -> None:
    declared = DeclarativePolicy(label=UpdatePolicy(skip_tags=["1.1.0"]))
    await http_app.seed(container(1, update="1.1.0", update_policy_declarative=declared))
    assert (await act(http_app, action="clear-skips"))["updateAvailable"] is True
    found = await act(http_app, action="revert-to-declarative")
    assert (found["updateAvailable"], found["updatePolicySources"]) == (False, {"skipTags": "label"})


async def test_replicas_of_a_service_share_their_policy(http_app: HttpApp) -> None:
    labels = {"com.docker.compose.project": "p", "com.docker.compose.service": "s"}
    await http_app.seed(*(container(n, f"p-s-{n}", labels=labels, update="1.1.0") for n in (1, 2)), container(3))
    await act(http_app, action="skip-current")
    assert (await http_app.api.get(f"/containers/{TWO}")).json()["updatePolicy"] == {"skipTags": ["1.1.0"]}
    await http_app.seed(container(4, "p-s-4", labels=labels, update="1.1.0"))
    assert (await http_app.api.get(f"/containers/{container_id(4)}")).json()["updateAvailable"] is False


# delete

HEADER = {"X-DD-Confirm-Action": "container-delete"}


@pytest.mark.rows("C-239", "C-241", "C-298")
async def test_delete(http_app: HttpApp) -> None:
    await http_app.seed(container(1), container(2))
    for headers in ({}, {"X-DD-Confirm-Action": "container-rollback"}):
        for id in (ONE, "nope"):
            answer = await http_app.api.delete(f"/containers/{id}", headers=headers)
            assert answer.status_code == 428
            assert answer.json()["error"] == "Confirmation required: X-DD-Confirm-Action=container-delete"
    assert (await http_app.api.delete("/containers/nope", headers=HEADER)).status_code == 404
    answer = await http_app.api.delete(f"/containers/{ONE}", headers={"X-DD-Confirm-Action": "Container-Delete"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert await http_app.ids() == [TWO]
    assert [event for event in http_app.events if isinstance(event, ContainerRemoved)]
    (entry,) = (await http_app.api.get("/audit?action=container-delete")).json()["data"]
    assert (entry["containerIdentityKey"], entry["ip"]) == ("::local::c001", "127.0.0.1")
    assert (await http_app.api.delete(f"/containers/{ONE}", headers=HEADER)).status_code == 404


@pytest.mark.rows("C-240")
async def test_delete_disabled(tmp_path: Path) -> None:
    async with serve_app(tmp_path, delete=False) as http_app:
        await http_app.seed(container(1))
        answer = await http_app.api.delete(f"/containers/{ONE}", headers=HEADER)
        assert (answer.status_code, answer.json()["error"]) == (403, "Container deletion is disabled")
        assert (await http_app.api.delete(f"/containers/{ONE}")).status_code == 428
        assert await http_app.ids() == [ONE]


async def test_the_container_of_an_unknown_agent_stays(http_app: HttpApp) -> None:
    await http_app.seed(container(1, agent="edge"))
    answer = await http_app.api.delete(f"/containers/{ONE}", headers=HEADER)
    assert (answer.status_code, "edge" in answer.json()["error"]) == (500, True)
    assert await http_app.ids() == [ONE]


# reveal


@pytest.mark.rows("C-213", "C-214", "C-216", "C-218", "C-322")
async def test_reveal(http_app: HttpApp) -> None:
    await http_app.seed(container(1), container(2, details=None))
    answer = await http_app.api.post(f"/containers/{ONE}/env/reveal")
    assert answer.json() == {
        "env": [
            {"key": "TZ", "value": "UTC", "sensitive": False},
            {"key": "DB_PASSWORD", "value": "s3cret", "sensitive": True},
        ]
    }
    assert (await http_app.api.post(f"/containers/{TWO}/env/reveal")).json() == {"env": []}
    assert (await http_app.api.post("/containers/nope/env/reveal")).status_code == 404
    assert (await http_app.api.get(f"/containers/{ONE}/env/reveal")).status_code == 405
    entries, total = await http_app.services.audit.records.query(AuditFilter(), 10, 0)
    assert (total, {entry.action for entry in entries}, entries[1].status) == (2, {"env-reveal"}, "info")
    assert "s3cret" not in str(entries)


@pytest.mark.rows("C-217")
async def test_reveal_is_limited(http_app: HttpApp) -> None:
    await http_app.seed(container(1))
    for number in range(10):
        answer = await http_app.api.post(f"/containers/{ONE if number % 2 else 'nope'}/env/reveal")
        assert answer.status_code in (200, 404)
        assert answer.headers["ratelimit-policy"] == "10;w=60"
        assert answer.headers["ratelimit-remaining"] == str(9 - number)
    http_app.clock.advance(1)
    answer = await http_app.api.post("/containers/other/env/reveal")
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["ratelimit-reset"]) == (429, "59", "59")
    assert answer.json()["error"]
    http_app.clock.advance(59)
    assert (await http_app.api.post(f"/containers/{ONE}/env/reveal")).status_code == 200
