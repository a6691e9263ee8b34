"""Keyed verification without a program: real keys, signatures in a real registry."""

from __future__ import annotations

import base64
import pathlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from drydock.core.errors import ConfigError, RegistryNetworkError
from drydock.security.signatures import choose
from drydock.security.signatures.cosign import Cosign, CosignSettings
from drydock.security.signatures.keyed import KeyedVerifier, load_key
from drydock.security.subjects import Subject
from lab.cosign import attach, payload
from lab.images import OCI_MANIFEST, Pusher, digest_of

KEYS: dict[str, Callable[[], Any]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


class Source:
    """Plain reading of an open registry."""

    def __init__(self, host: str) -> None:
        self.host = host

    async def digest(self, host: str, repository: str, tag: str) -> str | None:
        found = await self._get(f"{repository}/manifests/{tag}")
        return None if found is None else digest_of(found)

    async def manifest(self, host: str, repository: str, reference: str) -> bytes | None:
        return await self._get(f"{repository}/manifests/{reference}")

    async def blob(self, host: str, repository: str, digest: str) -> bytes:
        return await self._get(f"{repository}/blobs/{digest}") or b""

    async def _get(self, path: str) -> bytes | None:
        accept = {"Accept": f"{OCI_MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"}
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{self.host}/v2/{path}", headers=accept) as answer,
            ):
                return await answer.read() if answer.status == 200 else None
        except aiohttp.ClientError as error:
            raise RegistryNetworkError("The registry cannot be reached") from error


def signature(key: Any, data: bytes) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        made = key.sign(data, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    else:
        made = key.sign(data)
    return base64.b64encode(made).decode()


def pem(tmp_path: pathlib.Path, key: Any) -> str:
    file = tmp_path / "cosign.pub"
    file.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return str(file)


class Scene:
    """An image, a key, and the verifier that trusts the key."""

    def __init__(self, images: Pusher, tmp_path: pathlib.Path, clock: Any, name: str, kind: str = "p256") -> None:
        self.images, self.repository = images, f"signed/{name}"
        self.key = KEYS[kind]()
        self.digest = images.push(self.repository, "1.0", created=f"2026-01-01T00:00:{len(name):02}Z")
        self.verifier = KeyedVerifier(load_key(pem(tmp_path, self.key)), Source(images.host), clock)

    def attach(self, *layers: tuple[bytes, str]) -> None:
        attach(self.images, self.repository, self.digest, *layers)

    async def verify(self, digest: str | None = "") -> Any:
        known = self.digest if digest == "" else digest
        reference = f"{self.images.host}/{self.repository}:1.0"
        return await self.verifier.verify(Subject(self.images.host, self.repository, reference, known))


@pytest.fixture
def scene(images: Pusher, tmp_path: pathlib.Path, clock: Any, request: pytest.FixtureRequest) -> Scene:
    return Scene(images, tmp_path, clock, f"s{abs(hash(request.node.name)) % 10**8}")


@pytest.mark.parametrize("kind", KEYS)
async def test_a_good_signature(images: Pusher, tmp_path: pathlib.Path, clock: Any, kind: str) -> None:
    scene = Scene(images, tmp_path, clock, kind, kind)
    data = payload(scene.digest)
    scene.attach((data, signature(scene.key, data)))
    found = await scene.verify()
    assert (found.status, found.signatures, found.keyless, found.error) == ("verified", 1, False, None)
    assert found.image == f"{images.host}/{scene.repository}@{scene.digest}"


async def test_by_tag_the_digest_is_asked_for(scene: Scene) -> None:
    data = payload(scene.digest)
    scene.attach((data, signature(scene.key, data)))
    assert (await scene.verify(None)).status == "verified"


async def test_no_signature(scene: Scene) -> None:
    found = await scene.verify()
    assert (found.status, found.error) == ("unverified", "no signatures found")


async def test_another_key(scene: Scene) -> None:
    data = payload(scene.digest)
    scene.attach((data, signature(KEYS["p256"](), data)))
    found = await scene.verify()
    assert (found.status, found.error) == ("unverified", "no matching signatures: made with another key")


async def test_a_payload_for_another_image(scene: Scene) -> None:
    data = payload("sha256:" + "0" * 64)
    scene.attach((data, signature(scene.key, data)))
    found = await scene.verify()
    assert (found.status, found.error) == ("unverified", "invalid signature: it is for another image")


async def test_a_payload_that_was_changed_after_signing(scene: Scene) -> None:
    signed = signature(scene.key, payload("sha256:" + "0" * 64))
    scene.attach((payload(scene.digest), signed))
    assert (await scene.verify()).status == "unverified"


async def test_a_payload_of_another_kind(scene: Scene) -> None:
    data = payload(scene.digest, "something else")
    scene.attach((data, signature(scene.key, data)))
    assert (await scene.verify()).status == "unverified"


@pytest.mark.parametrize("data", [b"not json", b"[]", b"{}", b'{"critical": 1}'])
async def test_signed_nonsense(scene: Scene, data: bytes) -> None:
    scene.attach((data, signature(scene.key, data)))
    assert (await scene.verify()).status == "unverified"


@pytest.mark.parametrize("signed", ["", "!!!", "AAAA"])
async def test_a_signature_that_is_none(scene: Scene, signed: str) -> None:
    scene.attach((payload(scene.digest), signed))
    assert (await scene.verify()).status == "unverified"


async def test_one_good_signature_among_others(scene: Scene) -> None:
    data = payload(scene.digest)
    other = payload("sha256:" + "0" * 64)
    scene.attach((data, signature(KEYS["p256"](), data)), (data, signature(scene.key, data)), (other, "AAAA"))
    found = await scene.verify()
    assert (found.status, found.signatures) == ("verified", 1)


async def test_a_signature_of_another_digest_does_not_count(scene: Scene) -> None:
    data = payload(scene.digest)
    scene.attach((data, signature(scene.key, data)))
    other = scene.images.push(scene.repository, "2.0", created="2027-01-01T00:00:00Z")
    assert (await scene.verify(other)).status == "unverified"


async def test_an_unreadable_manifest_is_an_error(scene: Scene) -> None:
    class Broken(Source):
        async def manifest(self, host: str, repository: str, reference: str) -> bytes | None:
            return b"<html>"

    scene.verifier._source = Broken(scene.images.host)
    found = await scene.verify()
    assert (found.status, found.error) == ("error", "The signature image has no readable manifest")


async def test_a_blob_that_is_not_what_its_digest_says(scene: Scene) -> None:
    data = payload(scene.digest)
    scene.attach((data, signature(scene.key, data)))

    class Lying(Source):
        async def blob(self, host: str, repository: str, digest: str) -> bytes:
            return data + b" "

    scene.verifier._source = Lying(scene.images.host)
    found = await scene.verify()
    assert (found.status, found.error) == ("unverified", "invalid signature: the payload was changed")


async def test_a_registry_that_is_not_there(tmp_path: pathlib.Path, clock: Any) -> None:
    key = KEYS["p256"]()
    verifier = KeyedVerifier(load_key(pem(tmp_path, key)), Source("127.0.0.1:9"), clock)
    found = await verifier.verify(Subject("127.0.0.1:9", "a/b", "127.0.0.1:9/a/b:1", "sha256:" + "0" * 64))
    assert (found.status, found.error) == ("error", "The registry cannot be reached")


def test_keys_that_are_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "k").write_text("no key")
    with pytest.raises(ConfigError, match="holds no PEM public key"):
        load_key(str(tmp_path / "k"))
    with pytest.raises(ConfigError, match="holds no PEM public key"):
        load_key(str(tmp_path / "missing"))


def test_which_verifier(tmp_path: pathlib.Path, clock: Any, fake: Any) -> None:
    key = pem(tmp_path, KEYS["p256"]())
    source = Source("127.0.0.1:9")
    environ, absent = {"PATH": "/bin"}, "no-such-cosign"
    assert isinstance(choose(CosignSettings(key=key, command=absent), environ, source, clock), KeyedVerifier)
    assert isinstance(choose(CosignSettings(key="k8s://ns/key", command=absent), environ, source, clock), Cosign)
    assert isinstance(choose(CosignSettings(command=absent), environ, source, clock), Cosign)
    assert isinstance(choose(CosignSettings(key=key, command=fake("cosign").path), environ, source, clock), Cosign)
