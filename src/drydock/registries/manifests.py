"""Reading manifests, indexes and image configurations (registries.md §4.3–4.5). Pure: bytes in, facts out."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from drydock.core.errors import RegistryError
from drydock.core.reference import is_digest
from drydock.core.times import from_iso
from drydock.registries.errors import clean

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))
ACCEPT_OLD = f"{ACCEPT}, application/vnd.docker.distribution.manifest.v1+prettyjws, */*;q=0.1"
ACCEPT_CONFIG = (
    "application/vnd.oci.image.config.v1+json, application/vnd.docker.container.image.v1+json, application/json"
)
_CONFIG_TYPES = ("container.image.v1+json", "image.config.v1+json")

Kind = Literal["index", "manifest", "schema1"]


@dataclass(frozen=True)
class Platform:
    """What the local image runs on (`Os`, `Architecture`, `Variant` of its inspect document)."""

    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True)
class Config:
    """What an image configuration says."""

    created: str | None
    labels: dict[str, str]


def content_digest(body: bytes, like: str = "sha256:") -> str:
    """The digest of a document, in the algorithm of `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def decode(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises `RegistryError` for anything else."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RegistryError("invalid response: not a JSON object")
    return document


def kind_of(document: dict[str, Any], content_type: str | None = None) -> Kind:
    """Index, manifest or schema 1: by Content-Type, by `mediaType`, by shape. Raises `RegistryError` for none."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media in ("", "application/json", "text/plain", "application/octet-stream"):
        media = str(document.get("mediaType") or "")
    if media in (OCI_INDEX, DOCKER_LIST):
        return "index"
    if media in (OCI_MANIFEST, DOCKER_MANIFEST):
        return "manifest"
    # a server that does not say: by what the document holds
    if isinstance(document.get("manifests"), list):
        return "index"
    if isinstance(document.get("config"), dict) and isinstance(document.get("layers"), list):
        return "manifest"
    if document.get("schemaVersion") == 1:
        return "schema1"
    raise RegistryError("invalid response: neither an index nor a manifest")


_ALIASES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", None),
}


def normalise(platform: Platform) -> Platform:
    """One spelling per platform; `arm64/v8` and `amd64/v1` are the ones without variant."""
    architecture, variant = platform.architecture.lower(), (platform.variant or "").lower() or None
    renamed, implied = _ALIASES.get(architecture, (architecture, None))
    variant = variant or implied
    if (renamed, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = None
    return Platform(platform.os.lower(), renamed, variant, platform.os_version)


def choose(index: dict[str, Any], platform: Platform) -> dict[str, Any]:
    """The entry of an index for a platform. Raises `RegistryError` when there is none."""
    own = normalise(platform)
    listed = index.get("manifests")
    entries: list[dict[str, Any]] = [entry for entry in listed if _is_image(entry)] if isinstance(listed, list) else []
    known = [(found, entry) for entry in entries if (found := _platform_of(entry)) is not None]
    fitting = [pair for pair in known if (pair[0].os, pair[0].architecture) == (own.os, own.architecture)]
    if not fitting and not known and len(entries) == 1:
        return entries[0]
    if not fitting:
        raise RegistryError(f"no manifest for {clean(platform)}")

    equal = [pair for pair in fitting if pair[0].variant == own.variant]
    if own.os == "windows":  # an image runs on the build of Windows that it was made for
        return max(equal or fitting, key=lambda pair: _common(pair[0].os_version, own.os_version))[1]
    if equal:
        return equal[0][1]
    if own.architecture == "arm":  # a processor runs what was made for older ones
        older = [pair for pair in fitting if own.variant is None or (pair[0].variant or "") <= own.variant]
        return max(older, key=lambda pair: pair[0].variant or "")[1] if older else fitting[0][1]
    return fitting[0][1]


def is_config(entry: dict[str, Any]) -> bool:
    """Whether an index entry is an image configuration itself (legacy)."""
    return str(entry.get("mediaType") or "").endswith(_CONFIG_TYPES)


def _is_image(entry: object) -> bool:
    if not isinstance(entry, dict) or not is_digest(entry.get("digest")):
        return False
    annotations = entry.get("annotations")
    if isinstance(annotations, dict) and "vnd.docker.reference.type" in annotations:
        return False
    platform = _platform_of(entry)
    return platform is None or (platform.os, platform.architecture) != ("unknown", "unknown")


def _platform_of(entry: dict[str, Any]) -> Platform | None:
    raw = entry.get("platform")
    if not isinstance(raw, dict):
        return None
    os, architecture, variant, version = (raw.get(key) for key in ("os", "architecture", "variant", "os.version"))
    found = Platform(str(os or ""), str(architecture or ""), str(variant) if variant else None, str(version or ""))
    return normalise(found)


def _common(left: str | None, right: str | None) -> int:
    """Length of the common prefix of two dotted versions, in parts."""
    count = 0
    for one, other in zip((left or "").split("."), (right or "").split("."), strict=False):
        if one != other:
            break
        count += 1
    return count


def config_descriptor(manifest: dict[str, Any]) -> tuple[str | None, bytes | None]:
    """Digest of the configuration of a manifest, and its bytes if the descriptor carries them and they hash right."""
    raw = manifest.get("config")
    digest = raw.get("digest") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(digest, str) or not is_digest(digest):
        return None, None
    try:
        data = base64.b64decode(raw.get("data") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        data = b""
    return digest, data if data and content_digest(data, digest) == digest else None


def read_config(body: bytes) -> Config:
    """Creation date (None if it is none) and labels. Raises `RegistryError` if it is no JSON object."""
    document = decode(body)
    inner = document.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    texts = {str(k): v for k, v in labels.items() if isinstance(v, str)} if isinstance(labels, dict) else {}
    return Config(_date(document.get("created")), texts)


def schema1_created(manifest: dict[str, Any]) -> str | None:
    """The date in the newest history entry of a schema 1 manifest. Raises `RegistryError` if it cannot be read."""
    try:
        entry = decode(manifest["history"][0]["v1Compatibility"].encode())
    except (LookupError, TypeError, AttributeError):
        raise RegistryError("invalid response: schema 1 manifest without history") from None
    return _date(entry.get("created"))


def _date(value: object) -> str | None:
    return value if isinstance(value, str) and from_iso(value) is not None else None
