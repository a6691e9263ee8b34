"""The gate: what passes, what does not, what is stored and told."""

from __future__ import annotations

import pathlib
from typing import Any

import msgspec
import pytest

from drydock.core.errors import EngineConflict
from drydock.core.model import Container, ImageDigest, Result
from drydock.core.policy.eligibility import EligibilityContext, evaluate
from drydock.events import SecurityAlert
from drydock.security.signatures.cosign import CosignSettings
from kit.containers import container, container_id, image
from kit.security import Room, prints, report

OLD, NEW = f"sha256:{1:064x}", f"sha256:{2:064x}"
REFERENCE = "nginx:1.1.0"


def sample(**changes: Any) -> Container:
    picture = image("1.0.0", digest=ImageDigest(watch=True, value=OLD, repo=OLD), id="sha256:" + "a" * 64)
    return msgspec.structs.replace(container(1, result=Result(tag="1.1.0", digest=NEW), **changes), image=picture)


async def put(room: Room, **changes: Any) -> Container:
    return await room.fleet.put(sample(**changes))


class Engine:
    """Notes what is asked of the Engine; `in_use` refuses removal, as the real one does."""

    def __init__(self, in_use: bool = False) -> None:
        self.removed: list[str] = []
        self.tagged: list[tuple[str, str, str]] = []
        self.in_use = in_use

    async def remove_image(self, ref: str, **_: Any) -> None:
        if self.in_use:
            raise EngineConflict("image is being used by running container")
        self.removed.append(ref)

    async def tag_image(self, ref: str, repository: str, tag: str) -> None:
        self.tagged.append((ref, repository, tag))

    async def inspect_image(self, ref: str) -> dict[str, Any]:
        return {"RepoDigests": ["other@sha256:" + "9" * 64, f"nginx@{NEW}"]}


async def test_findings_block_with_the_reason_and_the_image_goes(room: Room) -> None:
    one, engine, phases = await put(room), Engine(), []

    async def phase(name: str) -> None:
        phases.append(name)

    verdict = await room.gate.check(one, REFERENCE, None, engine=engine, image_id="sha256:new", on_phase=phase)
    assert (verdict.allowed, verdict.blocked_by, verdict.status) == (False, "scan", "blocked")
    assert verdict.reason == (
        "Security scan blocked update (1 vulnerabilities matched block severities: CRITICAL, HIGH). "
        "Summary: critical=1, high=0, medium=0, low=1, unknown=0"
    )
    assert room.scans() == [f"nginx@{NEW}"]
    assert phases == ["scanning"]
    assert (engine.removed, engine.tagged) == ([REFERENCE], [])
    assert room.audits.actions == ["security-scan-blocked"]
    assert len(room.of(SecurityAlert)) == 1
    now = room.fleet.need(container_id(1))
    assert now.security["updateScan"]["imageDigest"] == NEW
    blockers = evaluate(now, room.clock.now_ms(), EligibilityContext(gate_enabled=True)).blockers
    assert "security-scan-blocked" in [blocker.reason for blocker in blockers]


async def test_a_refused_image_in_use_stays(room: Room) -> None:
    engine = Engine(in_use=True)
    verdict = await room.gate.check(await put(room), REFERENCE, NEW, engine=engine, image_id="sha256:new")
    assert (verdict.allowed, engine.removed) == (False, [])


async def test_the_tag_goes_back_to_the_image_that_runs(room: Room) -> None:
    one = await put(room)
    engine = Engine()
    await room.gate.check(one, "nginx:1.0.0", NEW, engine=engine, image_id="sha256:new")
    assert engine.tagged == [(one.image.id, "nginx", "1.0.0")]


async def test_no_removal_unless_asked(room: Room) -> None:
    room.build(prune_refused=False)
    engine = Engine()
    await room.gate.check(await put(room), REFERENCE, NEW, engine=engine, image_id="sha256:new")
    assert engine.removed == []


async def test_a_clean_image_passes(room: Room) -> None:
    room.trivy.write(prints(report("LOW")))
    verdict = await room.gate.check(await put(room), REFERENCE, NEW)
    assert verdict.allowed
    assert room.audits.actions == ["security-scan-passed"]
    assert room.fleet.need(container_id(1)).security["updateScan"]["status"] == "passed"


async def test_none_is_advisory_only(room: Room) -> None:
    room.build(block_severities=())
    assert (await room.gate.check(await put(room), REFERENCE, NEW)).allowed


@pytest.mark.parametrize(
    ("mode", "label", "asked"), [(True, "off", 0), (True, " OFF ", 0), (False, "", 0), (False, "on", 1), (True, "x", 1)]
)
async def test_the_label_wins_over_the_mode(room: Room, mode: bool, label: str, asked: int) -> None:
    room.build(gate_mode="on" if mode else "off")
    one = await put(room, labels={"dd.security.gate": label} if label else {})
    verdict = await room.gate.check(one, REFERENCE, NEW)
    assert (verdict.allowed, len(room.scans())) == (not asked, asked)
    assert room.audits.actions[-1:] == (["security-scan-blocked"] if asked else ["security-scan-skipped"])


@pytest.mark.parametrize(
    ("scanner", "mode", "scans"), [(None, "on", False), ("trivy", "on", True), ("trivy", "off", False)]
)
async def test_the_gate_counts_only_with_a_scanner(room: Room, scanner: str | None, mode: str, scans: bool) -> None:
    gate = room.build(scanner=scanner, gate_mode=mode, block_severities=("LOW",)).gate
    assert (gate.scans, gate.block_severities) == (scans, {"LOW"})


BROKEN = {
    "missing": None,
    "garbage": "out('<html>')",
    "half": "out('{\"Results\": [{')",
    "killed": "os.kill(os.getpid(), 9)",
    "exit": "sys.exit(1)",
    "no database": "sys.stderr.write('failed to download vulnerability DB'); sys.exit(1)",
    "disk full": "sys.stderr.write('no space left on device'); sys.exit(1)",
    "image gone": "sys.stderr.write('remote error: MANIFEST_UNKNOWN'); sys.exit(1)",
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("availability", ["block", "warn"])
async def test_without_an_answer_nothing_passes_by_accident(room: Room, case: str, availability: Any) -> None:
    body = BROKEN[case]
    if body is None:
        pathlib.Path(room.trivy.path).unlink()
    else:
        room.trivy.write(body)
    room.build(availability=availability)
    verdict = await room.gate.check(await put(room), REFERENCE, NEW)
    assert verdict.allowed is (availability == "warn")
    assert verdict.reason.startswith("Security scan failed: ")
    assert room.fleet.need(container_id(1)).security["updateScan"]["status"] == "error"
    assert room.audits.actions == ["security-scan-failed" if availability == "block" else "security-scan-skipped"]


async def test_a_transient_failure_is_tried_once_more(room: Room) -> None:
    once = "mark = home / 'mark'\nif '--scanners' in argv and not mark.exists():\n    mark.touch()\n"
    room.trivy.write(once + "    sys.stderr.write('connection reset by peer'); sys.exit(1)\n" + prints(report()))
    assert (await room.gate.check(await put(room), REFERENCE, NEW)).allowed
    assert len(room.scans()) == 2


async def test_a_lasting_failure_is_not_tried_again(room: Room) -> None:
    room.trivy.write("if '--scanners' in argv: sys.stderr.write('MANIFEST_UNKNOWN'); sys.exit(1)")
    await room.gate.check(await put(room), REFERENCE, NEW)
    assert len(room.scans()) == 1


async def test_findings_of_one_scanner_block_although_the_other_failed(room: Room) -> None:
    room.trivy.write(prints(report("CRITICAL")))
    one = await put(room)
    inspector = room.security.tools.inspector
    scan = inspector.scanner.scan

    async def partial(target: Any) -> Any:
        return msgspec.structs.replace(await scan(target), errors=["Grype: missing"])

    inspector.scanner.scan = partial
    verdict = await room.gate.check(one, REFERENCE, NEW)
    assert (verdict.allowed, verdict.blocked_by) == (False, "scan")


@pytest.mark.parametrize(
    ("current", "candidate", "allowed", "reason"),
    [
        (("CRITICAL", "LOW"), ("CRITICAL",), True, "no-worse-than-current"),
        (("CRITICAL",), ("CRITICAL", "LOW"), False, "candidate-worse"),
        (None, ("CRITICAL",), False, "current-scan-unavailable"),
        (("CRITICAL",), ("LOW",), True, None),
    ],
)
async def test_the_relative_gate(room: Room, current: Any, candidate: Any, allowed: bool, reason: str | None) -> None:
    room.build(gate_relative=True)
    one = await put(room)
    if current is not None:
        room.trivy.write(prints(report(*current)))
        one = await room.security.scan_one(one.id)
        room.clock.advance(25 * 3_600)
    room.trivy.write(prints(report(*candidate)))
    verdict = await room.gate.check(one, REFERENCE, NEW)
    assert verdict.allowed is allowed
    stored = room.fleet.need(one.id).security["updateScan"].get("relativeGate")
    assert (stored or {}).get("reason") == reason
    if reason == "no-worse-than-current":
        assert room.audits.actions[-1] == "security-scan-passed-relative"


async def test_lowering_the_threshold_takes_effect_without_a_new_scan(room: Room) -> None:
    one = await put(room)
    assert not (await room.gate.check(one, REFERENCE, NEW)).allowed
    room.build(block_severities=("LOW",), prune_refused=False)
    await room.made.service.tools.inspector.cache.load()
    room.build(block_severities=())
    await room.made.service.tools.inspector.cache.load()
    assert (await room.gate.check(one, REFERENCE, NEW)).allowed
    assert len(room.scans()) == 1
    now = room.fleet.need(one.id)
    context = EligibilityContext(gate_enabled=True, block_severities=frozenset())
    reasons = [blocker.reason for blocker in evaluate(now, room.clock.now_ms(), context).blockers]
    assert "security-scan-blocked" not in reasons


async def test_an_sbom_failure_never_blocks(room: Room) -> None:
    room.build(sbom_enabled=True, block_severities=())
    room.trivy.write("if 'spdx-json' in argv: sys.exit(1)\n" + prints(report()))
    assert (await room.gate.check(await put(room), REFERENCE, NEW)).allowed
    assert room.audits.actions == ["security-sbom-failed", "security-scan-passed"]
    assert room.fleet.need(container_id(1)).security["updateSbom"]["status"] == "error"


async def test_without_a_scanner_there_is_no_gate(room: Room) -> None:
    room.build(scanner=None)
    verdict = await room.gate.check(await put(room), REFERENCE, NEW)
    assert (verdict.allowed, verdict.reason) == (True, "Security scanner is not configured")


COSIGN = {
    "verified": ("out('[{}, {}]')", True, "Image signature verified (2 signatures)", "verified"),
    "lines": ("out('{}\\n{}\\n{}\\n')", True, "Image signature verified (3 signatures)", "verified"),
    "unsigned": (
        "sys.stderr.write('Error: no signatures found'); sys.exit(1)",
        False,
        "Image signature verification failed: cosign command failed (exit=1): Error: no signatures found",
        "blocked",
    ),
    "broken": (
        "sys.stderr.write('connection refused'); sys.exit(1)",
        False,
        "Image signature verification failed: cosign command failed (exit=1): connection refused",
        "failed",
    ),
}


@pytest.mark.parametrize("case", COSIGN)
async def test_signatures_by_the_program(room: Room, fake: Any, case: str) -> None:
    body, allowed, reason, action = COSIGN[case]
    cosign = fake("cosign", body)
    room.build(
        gate_mode="off",
        cosign=CosignSettings(command=cosign.path, identity="me@example.org", issuer="https://issuer"),
    )
    verdict = await room.gate.verify(await put(room), REFERENCE, NEW)
    assert (verdict.allowed, verdict.reason) == (allowed, reason)
    assert room.audits.actions == [f"security-signature-{action}"]
    assert cosign.calls[0]["argv"] == [
        "verify",
        "--output",
        "json",
        "--certificate-identity",
        "me@example.org",
        "--certificate-oidc-issuer",
        "https://issuer",
        f"nginx@{NEW}",
    ]
    assert room.fleet.need(container_id(1)).security["updateSignature"]["keyless"] is True


async def test_a_missing_cosign_fails_closed(room: Room) -> None:
    room.build(cosign=CosignSettings(command="no-such-cosign"))
    verdict = await room.gate.verify(await put(room), REFERENCE, NEW)
    assert (verdict.allowed, verdict.blocked_by) == (False, "signature")
    assert "no-such-cosign was not found" in verdict.reason
