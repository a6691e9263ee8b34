"""Tags, digests, platforms, configurations and dates against a real registry (registries.md §4, §7)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

import pytest

from drydock.core.errors import RegistryError, RegistryNetworkError, RegistryNotFound
from drydock.registries.instances import Route
from drydock.registries.manifests import Platform
from drydock.registries.room import Registries
from lab.images import DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Pusher
from lab.proxy import Fault, Proxy

AMD64 = Platform("linux", "amd64")


def route_to(service: Registries, proxy: Proxy, repository: str = "demo/app") -> Route:
    return service.route(proxy.host, repository)


async def test_tags_digest_and_resolution(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    route = route_to(service, proxy)
    async with service.poll() as poll:
        assert sorted((await poll.tags(route)).names) == ["1.0", "1.1", "latest"]
        digest = await poll.head_digest(route, "latest")
        resolved = await poll.resolve(route, digest, AMD64)
        published = await poll.published_at(route, "latest", digest)
    assert digest == pushed["demo/app"] == resolved.platform_digest
    assert resolved.created == "2026-01-02T03:04:05.123456Z"
    assert published is not None
    assert (published.at, published.trusted) == (resolved.created, False)
    assert proxy.count() == {"tags": 1, "head": 1, "manifest": 1, "blob": 1}


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        (Platform("linux", "x86_64"), "linux/amd64"),
        (Platform("linux", "arm", "v7"), "linux/arm/v7"),
        (Platform("linux", "armhf"), "linux/arm/v7"),
        (Platform("linux", "arm", "v6"), "linux/arm/v6"),
        (Platform("linux", "arm", "v8"), "linux/arm/v7"),
    ],
)
async def test_platform_of_an_index(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], platform: Platform, expected: str
) -> None:
    route = route_to(service, proxy, "demo/multi")
    async with service.poll() as poll:
        digest = await poll.head_digest(route, "1")
        assert digest == pushed["demo/multi"]
        assert (await poll.resolve(route, digest, platform)).platform_digest == pushed[expected]


async def test_missing_platform_names_it(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    route = route_to(service, proxy, "demo/multi")
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match="no manifest for linux/s390x"):
            await poll.resolve(route, pushed["demo/multi"], Platform("linux", "s390x"))


async def test_nested_index_and_attestations(service: Registries, proxy: Proxy, images: Pusher) -> None:
    inner, children = images.push_index("demo/nested", platforms=("linux/amd64",), oci=True)
    attestation = {
        "mediaType": OCI_MANIFEST,
        "digest": children["linux/amd64"],
        "size": 1,
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    entry = {"mediaType": OCI_INDEX, "digest": inner, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}
    document = {"schemaVersion": 2, "manifests": [attestation, entry]}
    images.manifest("demo/nested", "1", document, OCI_INDEX)
    route = route_to(service, proxy, "demo/nested")
    async with service.poll() as poll:
        digest = await poll.head_digest(route, "1")
        assert (await poll.resolve(route, digest, AMD64)).platform_digest == children["linux/amd64"]


async def test_too_deep_an_index(service: Registries, proxy: Proxy, images: Pusher) -> None:
    digest, _ = images.push_index("demo/deep", platforms=("linux/amd64",))
    for _ in range(4):
        entry = {"mediaType": DOCKER_LIST, "digest": digest, "size": 1}
        entry["platform"] = {"os": "linux", "architecture": "amd64"}
        digest = images.manifest("demo/deep", "", {"schemaVersion": 2, "manifests": [entry]} | _list(), DOCKER_LIST)
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match="nested past 3 levels"):
            await poll.resolve(route_to(service, proxy, "demo/deep"), digest, AMD64)


def _list() -> dict[str, str]:
    return {"mediaType": DOCKER_LIST}


async def test_a_manifest_without_media_type(service: Registries, proxy: Proxy, images: Pusher) -> None:
    digest = images.push("demo/plain", "1", oci=True, media_type=False)
    route = route_to(service, proxy, "demo/plain")
    async with service.poll() as poll:
        assert await poll.head_digest(route, "1") == digest
        assert (await poll.resolve(route, digest, AMD64)).platform_digest == digest


async def test_head_without_digest_falls_back_once(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    route = route_to(service, proxy)
    proxy.faults = [Fault("/manifests/", remove=("Docker-Content-Digest", "ETag", "Etag"))]
    async with service.poll() as poll:
        assert await poll.head_digest(route, "1.0") == pushed["demo/app"]
        assert await poll.head_digest(route, "1.1") == pushed["demo/app"]
    assert proxy.count() == {"head": 1, "manifest": 2}


async def test_head_refused(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    proxy.faults = [Fault("/manifests/", "HEAD", status=405)]
    async with service.poll() as poll:
        assert await poll.head_digest(route_to(service, proxy), "1.0") == pushed["demo/app"]


async def test_etag_serves_as_digest(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    digest = pushed["demo/app"]
    proxy.faults = [Fault("/manifests/", "HEAD", remove=("Docker-Content-Digest",), headers={"ETag": f'W/"{digest}"'})]
    async with service.poll() as poll:
        assert await poll.head_digest(route_to(service, proxy), "1.0") == digest
    assert proxy.count() == {"head": 1}


async def test_wrong_content_is_refused(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    proxy.faults = [Fault("/manifests/", "GET", rewrite=lambda body: body + b" ")]
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match="digest mismatch"):
            await poll.resolve(route_to(service, proxy), pushed["demo/app"], AMD64)


async def test_configuration_failures_never_fail_the_digest(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    proxy.faults = [Fault("/blobs/", status=404)]
    async with service.poll() as poll:
        resolved = await poll.resolve(route_to(service, proxy), pushed["demo/app"], AMD64)
    assert resolved.platform_digest == pushed["demo/app"]
    assert resolved.config_digest is not None
    assert resolved.created is None


async def test_invalid_creation_date(service: Registries, proxy: Proxy, images: Pusher) -> None:
    digest = images.push("demo/undated", "1", created="yesterday")
    async with service.poll() as poll:
        route = route_to(service, proxy, "demo/undated")
        assert (await poll.resolve(route, digest, AMD64)).created is None
        assert await poll.published_at(route, "1", digest) is None


async def test_inline_configuration_saves_the_blob(service: Registries, proxy: Proxy, images: Pusher) -> None:
    blob = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-05-05T05:05:05Z"}).encode()
    layer = images.blob("demo/inline", b"layer")
    descriptor = {"mediaType": DOCKER_CONFIG, "size": len(blob), "digest": images.blob("demo/inline", blob)}
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {**descriptor, "data": base64.b64encode(blob).decode()},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 5, "digest": layer}],
    }
    digest = images.manifest("demo/inline", "1", document, DOCKER_MANIFEST)
    async with service.poll() as poll:
        resolved = await poll.resolve(route_to(service, proxy, "demo/inline"), digest, AMD64)
    assert resolved.created == "2026-05-05T05:05:05Z"
    assert "blob" not in proxy.count()


async def test_schema_1_tells_its_date_only(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    history = [{"v1Compatibility": json.dumps({"created": "2015-01-01T00:00:00Z"})}]
    body = json.dumps({"schemaVersion": 1, "history": history}).encode()
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    proxy.faults = [Fault(digest, status=200, body=body, headers={"Content-Type": "application/json"})]
    async with service.poll() as poll:
        resolved = await poll.resolve(route_to(service, proxy), digest, AMD64)
    assert (resolved.schema1, resolved.created, resolved.config_digest) == (True, "2015-01-01T00:00:00Z", None)


async def test_unknown_repository_tag_and_host(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match="tag list of demo/none not found"):
            await poll.tags(route_to(service, proxy, "demo/none"))
        with pytest.raises(RegistryError, match="tag 9 of demo/app not found"):
            await poll.head_digest(route_to(service, proxy), "9")
        with pytest.raises(RegistryNotFound) as caught:
            await poll.tags(service.route("10.9.8.7:5000", "demo/app"))
    assert "DD_REGISTRY_CUSTOM_<NAME>_URL" in str(caught.value.hint)


async def test_refused_connection_is_not_repeated(service: Registries, proxy: Proxy, clock: object) -> None:
    await proxy.stop()
    async with service.poll() as poll:
        with pytest.raises(RegistryNetworkError, match="connection refused"):
            await poll.tags(route_to(service, proxy))
    assert clock.slept == []  # type: ignore[attr-defined]


async def test_null_and_strange_tag_lists(service: Registries, proxy: Proxy) -> None:
    def answer(body: bytes) -> list[Fault]:
        return [Fault("/tags/list", status=200, body=body)]

    route = route_to(service, proxy)
    for body, names in ((b'{"tags": null}', ()), (b'{"tags": ["1", "1", "sha256:x", 7, "-"]}', ("1",))):
        proxy.faults = answer(body)
        async with service.poll(not_before=float("inf")) as poll:
            assert (await poll.tags(route)).names == names
    for body in (b"[]", b'{"tags": "1"}', b"<html>", b'{"tags": ["1"'):
        proxy.faults = answer(body)
        async with service.poll(not_before=float("inf")) as poll:
            with pytest.raises(RegistryError, match="invalid response"):
                await poll.tags(route)


async def test_too_large_an_answer(service: Registries, proxy: Proxy) -> None:
    proxy.faults = [Fault("/manifests/", status=200, body=b" " * (4 * 1024 * 1024 + 1))]
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match="response too large"):
            await poll.resolve(route_to(service, proxy), "sha256:" + "a" * 64, AMD64)


async def test_a_truncated_answer_is_asked_again(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    proxy.faults = [Fault("/tags/list", cut=5, times=1)]
    async with service.poll() as poll:
        assert len((await poll.tags(route_to(service, proxy))).names) == 3
    assert proxy.count()["tags"] == 2
