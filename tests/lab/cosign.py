"""Signatures as the cosign program publishes them, made by hand: an image tagged `sha256-….sig` beside the signed one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from .images import OCI_MANIFEST, Pusher

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
KIND = "cosign container image signature"


def payload(digest: str, kind: str = KIND) -> bytes:
    """What is signed: the digest of a manifest. The reference in it is ignored by verifiers."""
    critical = {
        "identity": {"docker-reference": "somewhere.else/entirely"},
        "image": {"docker-manifest-digest": digest},
        "type": kind,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def sign(images: Pusher, repository: str, digest: str, make: Callable[[bytes], bytes]) -> None:
    """Publish one good signature of `digest`; `make` signs bytes."""
    data = payload(digest)
    attach(images, repository, digest, (data, base64.b64encode(make(data)).decode()))


def attach(images: Pusher, repository: str, digest: str, *layers: tuple[bytes, str]) -> None:
    """Publish payloads with whatever signatures a test wants, as those of `digest`."""
    config = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": len(config),
            "digest": images.blob(repository, config),
        },
        "layers": [
            {
                "mediaType": PAYLOAD_TYPE,
                "size": len(data),
                "digest": images.blob(repository, data),
                "annotations": {ANNOTATION: signed},
            }
            for data, signed in layers
        ],
    }
    images.manifest(repository, digest.replace(":", "-") + ".sig", document, OCI_MANIFEST)
