"""The real Trivy with a hand-made database, against a real registry (security.md §11)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pathlib
from typing import Any

import pytest

from drydock.core.errors import ScanFailed
from drydock.core.secret import Secret
from drydock.security.scanners.base import Target
from drydock.security.scanners.syft import Syft, SyftSettings
from drydock.security.scanners.trivy import Trivy, TrivySettings
from lab import trivy as lab
from lab.images import Pusher

pytestmark = pytest.mark.skipif(lab.program() is None, reason="Trivy is not installed (tests/lab/setup.d/trivy.sh)")


@dataclasses.dataclass
class Login:
    username: str
    password: Secret


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return lab.write_database(tmp_path_factory.mktemp("trivy"))


def make(cache: pathlib.Path, clock: Any, **env: str) -> Trivy:
    environ = {"PATH": os.environ["PATH"], "HOME": str(cache), "TRIVY_CACHE_DIR": str(cache), **env}
    return Trivy(TrivySettings(command=str(lab.program()), timeout_s=120), environ, clock)


def target(images: Pusher, name: str) -> Target:
    return Target(f"{images.host}/{name}", images.host)


async def test_findings_of_an_alpine_image(images: Pusher, cache: pathlib.Path, clock: Any) -> None:
    digest = images.push("scan/alpine", "1.0", files=lab.alpine_files())
    found = await make(cache, clock).scan(target(images, "scan/alpine:1.0"))
    assert {one.id: one.severity for one in found.findings} == lab.FINDINGS["alpine"]
    assert digest in found.digests
    worst = found.findings[0]
    assert (worst.package_name, worst.installed_version, worst.fixed_version) == ("demolib", "1.2.3-r0", "1.2.4-r0")
    assert worst.published_date == "2026-01-15T10:00:00Z"
    assert worst.title == "demolib: remote code execution"
    assert worst.primary_url
    assert "alpine 3.18" in (worst.target or "")


async def test_findings_of_a_debian_image(images: Pusher, cache: pathlib.Path, clock: Any) -> None:
    images.push("scan/debian", "12", files=lab.debian_files())
    found = await make(cache, clock).scan(target(images, "scan/debian:12"))
    assert {one.id: one.severity for one in found.findings} == lab.FINDINGS["debian"]
    assert found.findings[1].fixed_version is None


async def test_an_image_without_packages(images: Pusher, cache: pathlib.Path, clock: Any) -> None:
    images.push("scan/nothing", "1")
    found = await make(cache, clock).scan(target(images, "scan/nothing:1"))
    assert (found.total, found.errors) == (0, [])


async def test_a_fixed_image(images: Pusher, cache: pathlib.Path, clock: Any) -> None:
    images.push("scan/fixed", "1", files=lab.alpine_files("1.2.4-r0", python=False))
    assert (await make(cache, clock).scan(target(images, "scan/fixed:1"))).total == 0


async def test_three_thousand_findings(images: Pusher, tmp_path: pathlib.Path, clock: Any) -> None:
    cache = lab.write_database(tmp_path, extra={f"CVE-2098-{n:05}": n % 4 for n in range(3000)})
    images.push("scan/many", "1", files=lab.alpine_files())
    found = await make(cache, clock).scan(target(images, "scan/many:1"))
    assert found.total == 3003
    assert found.findings[0].id == "CVE-2099-0001"


@pytest.mark.parametrize(
    ("name", "said"),
    [("scan/alpine:none", "MANIFEST_UNKNOWN"), ("scan/never:1", "MANIFEST_UNKNOWN|NAME_UNKNOWN|NOT_FOUND")],
)
async def test_an_unknown_image(images: Pusher, cache: pathlib.Path, clock: Any, name: str, said: str) -> None:
    images.push("scan/alpine", "1.0", files=lab.alpine_files())
    with pytest.raises(ScanFailed, match=rf"Trivy command failed \(exit=1\): remote error: .*({said})"):
        await make(cache, clock).scan(target(images, name))


async def test_a_registry_that_is_not_there(cache: pathlib.Path, clock: Any) -> None:
    with pytest.raises(ScanFailed, match="connection refused") as failed:
        await make(cache, clock).scan(Target("127.0.0.1:9/some/app:1", "127.0.0.1:9"))
    assert failed.value.transient


async def test_a_private_registry_with_and_without_login(
    private_images: Pusher, cache: pathlib.Path, clock: Any
) -> None:
    private_images.push("scan/secret", "1", files=lab.alpine_files())
    bare = target(private_images, "scan/secret:1")
    with pytest.raises(ScanFailed, match="UNAUTHORIZED"):
        await make(cache, clock).scan(bare)
    signed = dataclasses.replace(bare, login=Login("alice", Secret("s3cret")))
    assert (await make(cache, clock).scan(signed)).summary.critical == 1
    wrong = dataclasses.replace(bare, login=Login("alice", Secret("wrong-pass")))
    with pytest.raises(ScanFailed, match="UNAUTHORIZED") as failed:
        await make(cache, clock).scan(wrong)
    assert "wrong-pass" not in failed.value.message


async def test_no_database_and_no_network(images: Pusher, tmp_path: pathlib.Path, clock: Any) -> None:
    images.push("scan/alpine", "1.0", files=lab.alpine_files())
    trivy = make(tmp_path, clock, TRIVY_DB_REPOSITORY="127.0.0.1:1/none:2")
    with pytest.raises(ScanFailed, match="failed to download vulnerability DB") as failed:
        await trivy.scan(target(images, "scan/alpine:1.0"))
    assert failed.value.transient
    assert await trivy.database() is None


async def test_no_database_and_updates_forbidden(images: Pusher, tmp_path: pathlib.Path, clock: Any) -> None:
    images.push("scan/alpine", "1.0", files=lab.alpine_files())
    trivy = make(tmp_path, clock, TRIVY_SKIP_DB_UPDATE="true")
    with pytest.raises(ScanFailed, match="cannot be specified on the first run"):
        await trivy.scan(target(images, "scan/alpine:1.0"))


async def test_the_database_comes_through_a_registry(
    images: Pusher, cache: pathlib.Path, tmp_path: pathlib.Path, clock: Any
) -> None:
    images.push("scan/alpine", "1.0", files=lab.alpine_files())
    repository = lab.push_database(images, "x/trivy-db", cache)
    trivy = make(tmp_path, clock, TRIVY_DB_REPOSITORY=repository)
    assert (await trivy.scan(target(images, "scan/alpine:1.0"))).summary.critical == 1
    assert await trivy.database() == "2026-01-01T06:00:00Z"


async def test_several_scans_at_once(images: Pusher, cache: pathlib.Path, clock: Any) -> None:
    images.push("scan/alpine", "1.0", files=lab.alpine_files())
    trivy = make(cache, clock)
    answers = await asyncio.gather(*(trivy.scan(target(images, "scan/alpine:1.0")) for _ in range(6)))
    assert {one.summary.critical for one in answers} == {1}


async def test_both_sbom_formats(images: Pusher, cache: pathlib.Path, clock: Any) -> None:
    images.push("scan/alpine", "1.0", files=lab.alpine_files())
    trivy = make(cache, clock)
    spdx = json.loads(await trivy.sbom(target(images, "scan/alpine:1.0"), "spdx-json"))
    cyclone = json.loads(await trivy.sbom(target(images, "scan/alpine:1.0"), "cyclonedx-json"))
    assert spdx["spdxVersion"] == "SPDX-2.3"
    assert cyclone["bomFormat"] == "CycloneDX"
    for names in ({one["name"] for one in spdx["packages"]}, {one["name"] for one in cyclone["components"]}):
        assert {"demolib", "demopkg"} <= names


async def test_an_sbom_needs_no_database(images: Pusher, tmp_path: pathlib.Path, clock: Any) -> None:
    images.push("scan/alpine", "1.0", files=lab.alpine_files())
    trivy = make(tmp_path, clock, TRIVY_DB_REPOSITORY="127.0.0.1:1/none:2")
    assert b"demolib" in await trivy.sbom(target(images, "scan/alpine:1.0"), "spdx-json")


@pytest.mark.skipif(lab.syft() is None, reason="Syft is not installed")
@pytest.mark.parametrize("form", ["spdx-json", "cyclonedx-json"])
async def test_syft(private_images: Pusher, tmp_path: pathlib.Path, clock: Any, form: Any) -> None:
    private_images.push("scan/secret", "1", files=lab.alpine_files())
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    syft = Syft(SyftSettings(command=str(lab.syft()), timeout_s=120), environ, clock)
    signed = dataclasses.replace(target(private_images, "scan/secret:1"), login=Login("alice", Secret("s3cret")))
    assert b"demolib" in await syft.sbom(signed, form)


async def test_its_version(cache: pathlib.Path, clock: Any) -> None:
    assert await make(cache, clock).version() == "0.59.1"
