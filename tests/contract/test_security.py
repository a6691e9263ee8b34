"""Scans, overview, SBOM over HTTP (container-api.md §6) and the rows of section I."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from contract.http_app import HttpApp, serve_app
from drydock.auth.caller import ANONYMOUS, Caller
from drydock.core.model import Container, ImageDigest, Result
from drydock.core.policy.eligibility import EligibilityContext
from drydock.events import Event, ScanCompleted, ScanCycleCompleted, ScanStarted
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel
from drydock.security.room import Needs, Security
from drydock.security.scanners.trivy import TrivySettings
from drydock.security.settings import SecuritySettings
from drydock.security.signatures.cosign import CosignSettings
from drydock.store.settings import StoreSettings
from drydock.supervisor import Supervisor
from fakes.audit import RecordedAudit
from kit.api_site import give
from kit.configured import configured
from kit.containers import container, container_id, image
from kit.security import FakeProgram, prints, report
from kit.wait import until
from lab import trivy as lab
from lab.images import Pusher

ONE, TWO, THREE = container_id(1), container_id(2), container_id(3)
NOBODY = "0" * 63 + "f"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def sample(number: int, name: str = "library/nginx", *, of: int | None = None, **changes: Any) -> Container:
    known = digest(of if of is not None else number)
    picture = image("1.0.0", digest=ImageDigest(watch=True, value=known, repo=known), id=digest(900 + number))
    return msgspec.structs.replace(container(number, **changes), image=msgspec.structs.replace(picture, name=name))


class Scene:
    """A served http_app with a security room whose scanner is a fake program."""

    def __init__(self, http_app: HttpApp, supervisor: Supervisor, trivy: FakeProgram, folder: Path) -> None:
        self.http_app, self.supervisor, self.trivy, self.folder = http_app, supervisor, trivy, folder
        self.api = http_app.api

    def build(
        self,
        *,
        command: str = "",
        environ: dict[str, str] | None = None,
        cosign: CosignSettings | None = None,
        **settings: Any,
    ) -> Security:
        """The room with these `SecuritySettings`; `scanner=None` switches it off."""
        app = self.http_app
        own = SecuritySettings(**{"scanner": "trivy", "verify_signatures": cosign is not None, **settings})
        trivy = TrivySettings(command=command or self.trivy.path, timeout_s=60)
        store = StoreSettings(path=str(self.folder))
        kernel = Kernel(app.clock, app.bus, self.supervisor, app.store, app.fleet, RecordedAudit(app.clock))
        needs = Needs(Hosts([]), {"PATH": os.environ["PATH"], **(environ or {})})
        room = Security.build(kernel, configured(own, trivy, cosign or CosignSettings(), store), needs)
        give(app.services, security=room)
        return room

    def scans(self) -> list[str]:
        return [argv[-1] for argv in self.trivy.argvs("--scanners")]

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.http_app.events if isinstance(event, kind)]

    async def ended(self, count: int = 1) -> dict[str, Any]:
        """The summary of the last cycle, once `count` of them have ended."""
        await until(lambda: len(self.of(ScanCycleCompleted)) >= count, "the end of the scans", 30)
        return dict(self.of(ScanCycleCompleted)[-1].summary)

    async def scan_all(self, **body: Any) -> httpx.Response:
        return await self.api.post("/containers/scan-all", json=body or None)


@pytest.fixture
async def scene(http_app: HttpApp, tmp_path: Path) -> AsyncIterator[Scene]:
    async with Supervisor(http_app.clock) as supervisor:
        trivy = FakeProgram(tmp_path, "trivy", prints(report("CRITICAL", "LOW")))
        made = Scene(http_app, supervisor, trivy, tmp_path)
        made.build()
        yield made


async def get(scene: Scene, path: str, status: int = 200) -> Any:
    answer = await scene.api.get(path)
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["error"]
    return answer.json()


@pytest.mark.rows("C-155", "C-156", "C-152", "C-158")
async def test_scan_on_demand(scene: Scene) -> None:
    await scene.http_app.seed(sample(1))
    answer = await scene.api.post(f"/containers/{ONE}/scan")
    assert answer.status_code == 200
    scan = answer.json()["security"]["scan"]
    assert scene.scans() == ["nginx:1.0.0"]
    assert "updateScan" not in answer.json()["security"]
    assert next(e["value"] for e in answer.json()["details"]["env"] if e["key"] == "DB_PASSWORD") == "***"
    assert (await get(scene, f"/containers/{ONE}"))["security"]["scan"] == scan
    assert await get(scene, f"/containers/{ONE}/vulnerabilities") == scan
    assert (scan["status"], scan["blockSeverities"], scan["blockingCount"]) == ("blocked", ["CRITICAL", "HIGH"], 1)
    stored = {kept.id: kept for kept, _ in await scene.http_app.store.containers.all()}
    assert stored[ONE].security["scan"] == scan
    scene.http_app.clock.advance(1)
    await scene.api.post(f"/containers/{ONE}/scan")
    assert (await get(scene, f"/containers/{ONE}/vulnerabilities"))["scannedAt"] > scan["scannedAt"]


@pytest.mark.rows("C-157")
async def test_scan_of_the_candidate(scene: Scene) -> None:
    scene.trivy.write(prints(report("LOW"), **{"1.1.0": report("HIGH")}))
    scene.http_app.context["eligibility"] = EligibilityContext(gate_enabled=True, block_severities=frozenset({"HIGH"}))
    await scene.http_app.seed(sample(1, result=Result(tag="1.1.0")))
    security = (await scene.api.post(f"/containers/{ONE}/scan")).json()["security"]
    assert scene.scans() == ["nginx:1.0.0", "nginx:1.1.0"]
    assert (security["updateScan"]["image"], security["updateScan"]["summary"]["high"]) == ("nginx:1.1.0", 1)
    found = await get(scene, f"/containers/{ONE}")
    blocker = next(b for b in found["updateEligibility"]["blockers"] if b["reason"] == "security-scan-blocked")
    assert (blocker["severity"], blocker["details"]["blockingCount"]) == ("hard", 1)


@pytest.mark.rows("C-153", "C-154")
async def test_never_scanned(scene: Scene) -> None:
    await scene.http_app.seed(sample(1))
    assert await get(scene, f"/containers/{ONE}/vulnerabilities") == {
        "scanner": None,
        "scannedAt": None,
        "status": "not-scanned",
        "blockSeverities": [],
        "blockingCount": 0,
        "summary": {"unknown": 0, "low": 0, "medium": 0, "high": 0, "critical": 0},
        "vulnerabilities": [],
    }
    await get(scene, f"/containers/{NOBODY}/vulnerabilities", 404)


@pytest.mark.rows("C-159", "C-160")
async def test_signature_and_sbom_by_choice(scene: Scene, tmp_path: Path) -> None:
    await scene.http_app.seed(sample(1))
    cosign = FakeProgram(tmp_path, "cosign", "out('[{}]')")
    security = (await scene.api.post(f"/containers/{ONE}/scan")).json()["security"]
    assert set(security) == {"scan"}
    assert cosign.calls == []
    scene.build(sbom_enabled=True, cosign=CosignSettings(command=cosign.path))
    security = (await scene.api.post(f"/containers/{ONE}/scan")).json()["security"]
    assert (security["signature"]["status"], security["signature"]["signatures"]) == ("verified", 1)
    assert (security["sbom"]["status"], security["sbom"]["formats"]) == ("generated", ["spdx-json"])
    row = (await get(scene, "/containers"))["data"][0]["security"]
    assert set(row) == {"scan"}
    assert row["scan"]["vulnerabilities"] == []


@pytest.mark.rows("C-161", "C-163", "C-174")
async def test_switched_off_and_broken(scene: Scene) -> None:
    await scene.http_app.seed(sample(1))
    assert (await scene.api.post(f"/containers/{NOBODY}/scan")).status_code == 404
    inspector = scene.http_app.services.security.service.tools.inspector

    async def crash(*_: Any, **__: Any) -> Any:
        raise RuntimeError("bug")

    inspector.scan = crash
    answer = await scene.api.post(f"/containers/{ONE}/scan")
    assert (answer.status_code, answer.json()) == (500, {"error": "Security scan failed"})
    scene.build(scanner=None)
    answer = await scene.api.post(f"/containers/{ONE}/scan")
    assert (answer.status_code, answer.json()["error"]) == (400, "Security scanner is not configured")
    assert (await scene.scan_all()).json()["error"] == "Security scanner is not configured"
    answer = await scene.api.get(f"/containers/{ONE}/sbom")
    assert answer.status_code == 503
    assert answer.json()["error"] == "Security scanner is disabled or misconfigured"
    assert (await scene.api.get(f"/containers/{NOBODY}/sbom")).status_code == 404


@pytest.mark.rows("C-162")
async def test_thirty_scans_a_minute(scene: Scene) -> None:
    scene.build()
    await scene.http_app.seed(sample(1), sample(2))
    scene.http_app.services.security.service.tools.inspector.cache = None
    inspector = scene.http_app.services.security.service.tools.inspector

    async def quick(subject: Any, **_: Any) -> Any:
        from drydock.security.findings import collect, judge

        return judge(collect("trivy", []), subject.reference, subject.digest, (), 0)

    inspector.scan = quick
    for number in range(30):
        assert (await scene.api.post(f"/containers/{(ONE, TWO)[number % 2]}/scan")).status_code == 200
    refused = await scene.api.post(f"/containers/{ONE}/scan")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert (await scene.api.post(f"/containers/{NOBODY}/scan")).status_code == 429
    scene.http_app.clock.advance(60)
    assert (await scene.api.post(f"/containers/{ONE}/scan")).status_code == 200


@pytest.mark.rows("C-314")
async def test_two_scans_at_once(scene: Scene) -> None:
    await scene.http_app.seed(sample(1), sample(2))
    answers = await asyncio.gather(*(scene.api.post(f"/containers/{id}/scan") for id in (ONE, TWO, ONE)))
    assert [answer.status_code for answer in answers] == [200, 200, 200]


@pytest.mark.rows("C-164", "C-165", "C-166", "C-167", "C-316")
async def test_scan_all(scene: Scene) -> None:
    scene.trivy.write(prints(report("HIGH")))
    await scene.http_app.seed(*(sample(n) for n in range(1, 11)))
    await scene.api.post(f"/containers/{ONE}/scan")
    first = (await get(scene, f"/containers/{ONE}/vulnerabilities"))["scannedAt"]
    scene.http_app.clock.advance(1)
    scene.http_app.events.clear()
    scene.trivy.hold("--scanners")
    answer = await scene.api.post("/containers/scan-all")
    assert answer.status_code == 202
    assert scene.of(ScanCycleCompleted) == []
    scene.trivy.release()
    assert answer.json()["scheduledCount"] == 10
    summary = await scene.ended()
    assert answer.json()["cycleId"] == summary["cycleId"]
    assert summary["cycleId"][14] == "7"
    assert (summary["scope"], summary["scannedCount"], summary.get("aborted")) == ("on-demand-bulk", 10, None)
    for number in range(1, 11):
        own = [
            e
            for e in scene.http_app.events
            if isinstance(e, ScanStarted | ScanCompleted) and e.container_id == container_id(number)
        ]
        assert [type(event) for event in own] == [ScanStarted, ScanCompleted]
    kinds = [type(e) for e in scene.http_app.events if isinstance(e, ScanCompleted | ScanCycleCompleted)]
    assert kinds == [ScanCompleted] * 10 + [ScanCycleCompleted]
    rows = (await get(scene, "/containers"))["data"]
    assert all(row["security"]["scan"]["scannedAt"] > first for row in rows)
    assert (await get(scene, "/containers/security/vulnerabilities"))["latestScannedAt"] > first


@pytest.mark.rows("C-317")
async def test_one_crash_in_a_bulk_scan(scene: Scene) -> None:
    scene.trivy.write("if '/six' in argv[-1]: os.kill(os.getpid(), 9)\n" + prints(report("HIGH")))
    await scene.http_app.seed(*(sample(n, "acme/six" if n == 6 else "acme/app") for n in range(1, 9)))
    await scene.scan_all()
    await scene.ended()
    status = {event.container_id: event.status for event in scene.of(ScanCompleted)}
    assert status.pop(container_id(6)) == "error"
    assert set(status.values()) == {"blocked"}
    assert len(status) == 7
    assert len(scene.of(ScanCycleCompleted)) == 1


@pytest.mark.rows("C-168")
async def test_a_client_that_leaves_before_the_answer(scene: Scene) -> None:
    await scene.http_app.seed(*(sample(n) for n in range(1, 7)))
    host, port = scene.http_app.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /api/v1/containers/scan-all HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    writer.transport.abort()
    summary = await scene.ended()
    assert (summary["aborted"], summary["scannedCount"]) == (True, 0)
    assert scene.scans() == []


@pytest.mark.rows("C-169")
async def test_one_bulk_scan_a_minute(scene: Scene) -> None:
    assert (await scene.scan_all(severity="worst")).status_code == 400
    assert (await scene.scan_all()).status_code == 202
    refused = await scene.scan_all()
    assert refused.status_code == 429
    assert refused.json()["error"] == "Bulk scan rate limit exceeded. Max 1 per 60 seconds."
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=f"{scene.http_app.url}/api/v1", transport=transport) as other:
        assert (await other.post("/containers/scan-all")).status_code == 202
    scene.http_app.clock.advance(60)
    assert (await scene.scan_all()).status_code == 202


@pytest.mark.rows("C-170")
async def test_administrators_bypass(scene: Scene) -> None:
    door = scene.http_app.door
    door.caller_now = Caller(kind="session", name="ann")
    assert [(await scene.scan_all()).status_code for _ in range(3)] == [202, 202, 202]
    door.caller_now = Caller(kind="key", name="robot", scopes=frozenset({"read", "watch"}))
    assert [(await scene.scan_all()).status_code for _ in range(2)] == [202, 429]
    door.caller_now = ANONYMOUS


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ([], "Request body must be a JSON object"),
        ({"all": True}, "Unknown request properties: all"),
        ({"containerIds": "x"}, "containerIds must be an array of strings"),
        ({"containerIds": [1]}, "containerIds must be an array of strings"),
        ({"containerIds": [" "]}, "containerIds must be an array of non-empty strings"),
        ({"severity": "low"}, "severity must be one of: critical, high, all"),
        ({"severity": None}, "severity must be one of: critical, high, all"),
        ({"containerIds": ["nope"]}, "Unknown container id: nope"),
    ],
)
async def test_bodies_that_are_refused(scene: Scene, body: Any, error: str) -> None:
    answer = await scene.api.post("/containers/scan-all", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_only_the_wanted_containers(scene: Scene) -> None:
    await scene.http_app.seed(sample(1), sample(2), sample(3))
    assert (await scene.scan_all(containerIds=[ONE, TWO, ONE], severity="critical")).json()["scheduledCount"] == 2
    await scene.ended()
    assert {event.container_id for event in scene.of(ScanStarted)} == {ONE, TWO}


async def test_stopping_a_cycle(scene: Scene) -> None:
    scene.trivy.write("if '--scanners' in argv: time.sleep(600)")
    await scene.http_app.seed(*(sample(n) for n in range(1, 9)))
    cycle = (await scene.scan_all()).json()["cycleId"]
    assert (await scene.api.delete(f"/containers/scan-all/{cycle}")).status_code == 202
    assert (await scene.ended())["aborted"] is True
    assert (await scene.api.delete(f"/containers/scan-all/{cycle}")).status_code == 404


async def test_progress_as_a_stream(scene: Scene) -> None:
    await scene.http_app.seed(sample(1), sample(2))
    answer = await scene.api.post("/containers/scan-all", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 202
    assert answer.headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names[-1] == "dd:security-scan-cycle-complete"
    assert sorted(names[:-1]) == ["dd:scan-completed"] * 2 + ["dd:scan-started"] * 2


async def test_closing_the_stream_stops_the_scan(scene: Scene) -> None:
    scene.trivy.write("if '--scanners' in argv: time.sleep(600)")
    await scene.http_app.seed(sample(1))
    async with scene.api.stream("POST", "/containers/scan-all", headers={"Accept": "text/event-stream"}) as answer:
        async for line in answer.aiter_lines():
            if line == "event: dd:scan-started":
                break
    assert (await scene.ended())["aborted"] is True


def stored(*findings: dict[str, Any], at: str = "2026-03-01T00:00:00.000Z", update: Any = None) -> dict[str, Any]:
    scan = {"scanner": "trivy", "scannedAt": at, "status": "passed", "summary": {}, "vulnerabilities": list(findings)}
    return {"scan": scan, **({"updateScan": {"summary": update}} if update else {})}


FOUND = {"id": "CVE-1", "severity": "HIGH", "packageName": "openssl", "installedVersion": "3.0.1", "target": "os"}


@pytest.mark.rows("C-144", "C-145", "C-146", "C-147", "C-148", "C-149", "C-150")
async def test_overview(scene: Scene) -> None:
    empty = await get(scene, "/containers/security/vulnerabilities")
    assert (empty["totalContainers"], empty["latestScannedAt"], empty["images"]) == (0, None, [])
    other = {**FOUND, "id": "CVE-2", "fixedVersion": "3.0.9", "title": "t", "primaryUrl": "u", "publishedDate": "d"}
    await scene.http_app.seed(
        msgspec.structs.replace(sample(1), security=stored(FOUND)),
        msgspec.structs.replace(
            sample(2), security=stored(FOUND, other, at="2026-03-02T00:00:00.000Z", update={"high": 2, "low": "x"})
        ),
        msgspec.structs.replace(sample(3, "acme/app"), security=stored()),
        sample(4),
    )
    found = await get(scene, "/containers/security/vulnerabilities")
    assert (found["totalContainers"], found["scannedContainers"], found["total"]) == (4, 3, 2)
    assert found["latestScannedAt"] == "2026-03-02T00:00:00.000Z"
    nginx, app = found["images"]
    assert (nginx["image"], nginx["containerIds"]) == ("library/nginx", [ONE, TWO])
    assert nginx["updateSummary"] == {"unknown": 0, "low": 0, "medium": 0, "high": 2, "critical": 0}
    assert nginx["vulnerabilities"] == [
        {
            "id": "CVE-1",
            "severity": "HIGH",
            "package": "openssl",
            "version": "3.0.1",
            "fixedIn": None,
            "title": "",
            "target": "os",
            "primaryUrl": "",
            "publishedDate": "",
        },
        {
            "id": "CVE-2",
            "severity": "HIGH",
            "package": "openssl",
            "version": "3.0.1",
            "fixedIn": "3.0.9",
            "title": "t",
            "target": "os",
            "primaryUrl": "u",
            "publishedDate": "d",
        },
    ]
    assert app == {"image": "acme/app", "containerIds": [THREE], "vulnerabilities": []}


async def test_pages_of_the_overview_count_findings(scene: Scene) -> None:
    many = [{**FOUND, "id": f"CVE-{n}"} for n in range(5)]
    await scene.http_app.seed(
        msgspec.structs.replace(sample(1), security=stored(*many)),
        msgspec.structs.replace(sample(2, "acme/none"), security=stored()),
        msgspec.structs.replace(sample(3, "acme/app"), security=stored(*many)),
    )
    first = await get(scene, "/containers/security/vulnerabilities?limit=4")
    assert [len(group["vulnerabilities"]) for group in first["images"]] == [4]
    assert (first["total"], first["limit"], first["hasMore"]) == (10, 4, True)
    assert first["_links"]["next"].endswith("?limit=4&offset=4")
    second = await get(scene, first["_links"]["next"].removeprefix("/api/v1"))
    assert [(g["image"], len(g["vulnerabilities"])) for g in second["images"]] == [
        ("library/nginx", 1),
        ("acme/app", 3),
    ]
    last = await get(scene, "/containers/security/vulnerabilities?limit=4&offset=8")
    assert ([len(g["vulnerabilities"]) for g in last["images"]], last["hasMore"]) == ([2], False)
    rest = await get(scene, "/containers/security/vulnerabilities?offset=9")
    assert [len(g["vulnerabilities"]) for g in rest["images"]] == [1]
    assert (await get(scene, "/containers/security/vulnerabilities?offset=99"))["images"] == []
    assert (await get(scene, "/containers/security/vulnerabilities?limit=9999"))["limit"] == 200


@pytest.mark.rows("C-173", "C-175")
async def test_sbom_refusals(scene: Scene) -> None:
    await scene.http_app.seed(sample(1))
    answer = await scene.api.get(f"/containers/{NOBODY}/sbom?format=xml")
    assert answer.status_code == 400
    assert answer.json()["error"] == "Unsupported SBOM format. Supported values: spdx-json, cyclonedx-json"
    await get(scene, f"/containers/{NOBODY}/sbom", 404)
    scene.trivy.write("sys.exit(1)")
    assert (await get(scene, f"/containers/{ONE}/sbom", 500))["error"] == "Error generating SBOM"
    scene.build(command="no-such-trivy")
    await get(scene, f"/containers/{ONE}/sbom", 500)


async def test_sbom_is_generated_once_for_everybody_and_again_when_it_is_lost(scene: Scene) -> None:
    scene.trivy.write('out(\'{"spdxVersion": "SPDX-2.3"}\')')
    await scene.http_app.seed(sample(1))
    scene.trivy.hold("spdx-json")
    asked = [asyncio.create_task(scene.api.get(f"/containers/{ONE}/sbom")) for _ in range(4)]
    await until(lambda: scene.trivy.argvs("spdx-json"), "the program")
    scene.trivy.release()
    answers = await asyncio.gather(*asked)
    assert {answer.json()["format"] for answer in answers} == {"spdx-json"}
    assert len(scene.trivy.argvs("spdx-json")) == 1
    await get(scene, f"/containers/{ONE}/sbom?format=SPDX-JSON")
    assert len(scene.trivy.argvs("spdx-json")) == 1
    for file in (scene.folder / "sbom").rglob("*.json"):
        file.write_text("{}")
    await get(scene, f"/containers/{ONE}/sbom")
    assert len(scene.trivy.argvs("spdx-json")) == 2
    await get(scene, f"/containers/{ONE}/sbom?format=cyclonedx-json")
    known = scene.http_app.fleet.need(ONE).security["sbom"]
    assert sorted(known["formats"]) == ["cyclonedx-json", "spdx-json"]


@pytest.mark.rows("C-315")
async def test_after_an_update_the_document_is_of_the_new_image(scene: Scene) -> None:
    scene.trivy.write("out(json.dumps({'spdxVersion': 'SPDX-2.3', 'name': argv[-1]}))")
    await scene.http_app.seed(sample(1))
    before = await get(scene, f"/containers/{ONE}/sbom")
    kept = scene.http_app.fleet.need(ONE).security
    await scene.http_app.seed(msgspec.structs.replace(sample(1, of=77), security=kept))
    after = await get(scene, f"/containers/{ONE}/sbom")
    assert before["document"]["name"].endswith(digest(1))
    assert after["document"]["name"].endswith(digest(77))


@pytest.mark.skipif(lab.program() is None, reason="Trivy is not installed (tests/lab/setup.d/trivy.sh)")
@pytest.mark.rows("C-171", "C-172")
async def test_real_documents(scene: Scene, images: Pusher, tmp_path: Path) -> None:
    cache = lab.write_database(tmp_path / "cache")
    scene.build(command=str(lab.program()), environ={"TRIVY_CACHE_DIR": str(cache), "HOME": str(tmp_path)})
    known = images.push("contract/alpine", "1.0.0", files=lab.alpine_files())
    one = sample(1, "contract/alpine")
    registry = msgspec.structs.replace(one.image.registry, url=images.host)
    picture = msgspec.structs.replace(
        one.image, registry=registry, digest=ImageDigest(watch=True, value=known, repo=known)
    )
    await scene.http_app.seed(msgspec.structs.replace(one, image=picture))
    scan = (await scene.api.post(f"/containers/{ONE}/scan")).json()["security"]["scan"]
    assert {found["id"]: found["severity"] for found in scan["vulnerabilities"]} == lab.FINDINGS["alpine"]
    assert scan["imageDigest"] == known
    spdx = await get(scene, f"/containers/{ONE}/sbom?format=spdx-json")
    assert (spdx["format"], spdx["generator"], spdx["image"]) == (
        "spdx-json",
        "trivy",
        f"{images.host}/contract/alpine:1.0.0",
    )
    assert spdx["document"]["spdxVersion"].startswith("SPDX-")
    cyclone = await get(scene, f"/containers/{ONE}/sbom?format=cyclonedx-json")
    assert cyclone["document"]["bomFormat"] == "CycloneDX"
    for names in (
        {one["name"] for one in spdx["document"]["packages"]},
        {one["name"] for one in cyclone["document"]["components"]},
    ):
        assert {"demolib", "demopkg"} <= names
    bare = await scene.api.get(f"/containers/{ONE}/sbom", headers={"Accept": "application/spdx+json"})
    assert json.loads(bare.content) == spdx["document"]
    assert bare.headers["content-disposition"] == 'attachment; filename="c001.spdx.json"'
    cyclonedx = {"Accept": "application/vnd.cyclonedx+json"}
    bare = await scene.api.get(f"/containers/{ONE}/sbom", headers=cyclonedx)
    assert bare.json()["bomFormat"] == "CycloneDX"
    raw = await scene.api.get(f"/containers/{ONE}/sbom?raw=true&format=cyclonedx-json")
    assert raw.headers["content-type"].startswith("application/vnd.cyclonedx+json")


async def test_runtime_status(scene: Scene) -> None:
    found = await get(scene, "/server/security/runtime")
    assert (found["ready"], found["scanner"]["status"], found["gate"]) == (
        True,
        "ready",
        {"mode": "on", "allowNoWorse": False},
    )
    assert found["signature"]["status"] == "disabled"
    scene.build(command="no-such-trivy", cosign=CosignSettings(command="no-such-cosign"))
    found = await get(scene, "/server/security/runtime")
    assert (found["ready"], found["scanner"]["status"], found["signature"]["status"]) == (False, "missing", "missing")
    assert found["requirements"] == [
        'Install trivy (configured command: "no-such-trivy")',
        'Install cosign (configured command: "no-such-cosign")',
    ]
    scene.build(command="./trivy")
    assert "is invalid; use a command name" in (await get(scene, "/server/security/runtime"))["scanner"]["message"]
    scene.build(scanner=None)
    assert (await get(scene, "/server/security/runtime"))["scanner"]["status"] == "disabled"


async def test_everything_needs_a_caller(tmp_path: Path) -> None:
    async with serve_app(tmp_path) as http_app:
        http_app.door.caller_now = None
        for method, path in (
            ("GET", "/containers/security/vulnerabilities"),
            ("GET", f"/containers/{ONE}/vulnerabilities"),
            ("POST", f"/containers/{ONE}/scan"),
            ("POST", "/containers/scan-all"),
            ("DELETE", "/containers/scan-all/x"),
            ("GET", f"/containers/{ONE}/sbom"),
            ("GET", f"/containers/{ONE}/release-notes"),
            ("GET", f"/containers/{ONE}/intermediate-release-notes"),
            ("GET", "/server/security/runtime"),
        ):
            assert (await http_app.api.request(method, path)).status_code == 401, path
