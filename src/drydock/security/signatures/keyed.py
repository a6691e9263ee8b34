"""Verifies cosign signatures with a public key, without any program (security.md §5).

A signature of `sha256:abc…` is an image tagged `sha256-abc….sig` in the same repository. Each layer is a "simple
signing" payload that names the digest of the signed manifest; its annotation holds the signature over the payload.
`docker-reference` in the payload is ignored, as cosign does: the digest is what counts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import pathlib
from typing import Any, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from drydock.clock import Clock
from drydock.core.errors import ConfigError, DrydockError
from drydock.core.reference import DEFAULT_TAG, split
from drydock.core.times import to_iso
from drydock.security.failures import failure
from drydock.security.model import Signature
from drydock.security.signatures.base import SignatureSource
from drydock.security.subjects import Subject

ANNOTATION = "dev.cosignproject.cosign/signature"
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNED_TYPE = "cosign container image signature"
# Bounds on what a registry can make us fetch; a real image has a few signatures of some hundred bytes.
MOST_LAYERS = 100
LARGEST_PAYLOAD = 64 * 1024

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class Layer(msgspec.Struct, frozen=True):
    """One layer of a signature image."""

    mediaType: str  # noqa: N815  # the name in the document
    digest: str
    size: int = 0
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Manifest(msgspec.Struct, frozen=True):
    """A signature image."""

    layers: list[Layer] = msgspec.field(default_factory=list)


def load_key(path: str) -> PublicKey:
    """The public key in a PEM file. `ConfigError` when there is no usable one."""
    try:
        key = serialization.load_pem_public_key(pathlib.Path(path).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"DD_SECURITY_COSIGN_KEY: {path} holds no PEM public key") from error
    if not isinstance(key, PublicKey):
        raise ConfigError("DD_SECURITY_COSIGN_KEY: the key must be ECDSA, RSA or Ed25519")
    return key


class KeyedVerifier:
    """Reads signatures from the registry and checks them with one key."""

    keyless = False

    def __init__(self, key: PublicKey, source: SignatureSource, clock: Clock) -> None:
        self._key = key
        self._source = source
        self._clock = clock

    async def ready(self) -> bool:
        return True

    async def verify(self, subject: Subject) -> Signature:
        """`verified` with the number of good signatures, `unverified` with the reason, `error` where it stays unknown."""
        status: Literal["verified", "unverified", "error"]
        try:
            good, why = await self._check(subject)
            status, error = ("verified", None) if good else ("unverified", why)
        except DrydockError as failed:
            good, status, error = 0, "error", failed.message
        return Signature(
            verifier="cosign",
            image=subject.pinned,
            verified_at=to_iso(self._clock.now_ms()),
            status=status,
            keyless=False,
            signatures=good,
            error=error,
        )

    async def _check(self, subject: Subject) -> tuple[int, str]:
        """How many signatures are good, and why the last bad one is not."""
        named = split(subject.reference)
        digest = subject.digest or (named.digest if named.name else None)  # without a name it is an id of this host
        if digest is None and named.name:  # the registry check did not say what the tag points at
            tag = named.tag or DEFAULT_TAG
            digest = await self._source.digest(subject.registry, subject.repository, tag)
        if digest is None:
            raise failure(f"{subject.reference} does not exist", transient=False)

        good, why = 0, "no signatures found"
        beside = digest.replace(":", "-") + ".sig"
        raw = await self._source.manifest(subject.registry, subject.repository, beside)
        if raw is None:
            return good, why
        try:
            layers = msgspec.json.decode(raw, type=Manifest).layers
        except msgspec.MsgspecError as error:
            raise failure("The signature image has no readable manifest", transient=False) from error
        for layer in [each for each in layers if each.mediaType == PAYLOAD_TYPE][:MOST_LAYERS]:
            fault = await self._fault(subject, layer, digest)
            good, why = (good + 1, why) if fault is None else (good, fault)
        return good, why

    async def _fault(self, subject: Subject, layer: Layer, digest: str) -> str | None:
        """What is wrong with one signature; None for a good one."""
        if layer.size > LARGEST_PAYLOAD:
            return "invalid signature: the payload is too large"
        payload = await self._source.blob(subject.registry, subject.repository, layer.digest)
        if f"sha256:{hashlib.sha256(payload).hexdigest()}" != layer.digest:
            return "invalid signature: the payload was changed"
        try:
            signature = base64.b64decode(layer.annotations.get(ANNOTATION, ""), validate=True)
            verify_bytes(self._key, signature, payload)
        except (InvalidSignature, binascii.Error):
            return "no matching signatures: made with another key"
        if signed_digest(payload) != digest:
            return "invalid signature: it is for another image"
        return None


def verify_bytes(key: PublicKey, signature: bytes, payload: bytes) -> None:
    """Raises `InvalidSignature`. ECDSA and RSA (PKCS #1 v1.5) over SHA-256, or Ed25519."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
    else:
        key.verify(signature, payload)


def signed_digest(payload: bytes) -> str | None:
    """The digest that a payload vouches for."""
    try:
        critical: Any = msgspec.json.decode(payload)["critical"]
        return str(critical["image"]["docker-manifest-digest"]) if critical["type"] == SIGNED_TYPE else None
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
