"""Images made by hand and pushed over the registry's HTTP API: no build, no `docker push`.

One layer holds busybox; configurations, tags, indexes and media types are whatever a test needs.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.client
import io
import json
import pathlib
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

SERVE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"]
"""Runs for ever and ends at once on SIGTERM (a bare shell as process 1 would ignore it)."""

APPLETS = ("sh", "cat", "echo", "env", "false", "httpd", "kill", "ls", "printf", "seq", "sleep", "test", "true", "wget")


def digest_of(data: bytes) -> str:
    """Content digest as registries write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(*files: tuple[str, bytes, int]) -> bytes:
    """An uncompressed layer with busybox, its usual links and `files` (name, content, mode)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        busybox_entries(archive, *files)
    return raw.getvalue()


def busybox_entries(archive: tarfile.TarFile, *files: tuple[str, bytes, int]) -> None:
    """Put busybox, its usual links, `files` and an empty `/tmp` into an archive."""
    for name, data, mode in (("bin/busybox", pathlib.Path("/bin/busybox").read_bytes(), 0o755), *files):
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), mode
        archive.addfile(entry, io.BytesIO(data))
    for applet in APPLETS:
        link = tarfile.TarInfo(f"bin/{applet}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
    temporary = tarfile.TarInfo("tmp")
    temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
    archive.addfile(temporary)


@functools.cache
def busybox_layer() -> tuple[bytes, str]:
    """The layer of every image without files of its own: compressed bytes and digest of the plain ones."""
    plain = layer()
    return gzip.compress(plain, 1, mtime=0), digest_of(plain)


class Pusher:
    """Pushes to one registry. `connect` gives a connection; `headers` carry credentials where it wants them."""

    def __init__(
        self, host: str, connect: Callable[[], http.client.HTTPConnection], headers: Mapping[str, str] | None = None
    ) -> None:
        self.host = host
        self._connect = connect
        self._headers = {"Host": host, **(headers or {})}

    def request(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers, body."""
        connection = self._connect()
        try:
            connection.request(method, path, data, {**self._headers, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def blob(self, repository: str, data: bytes) -> str:
        """Upload a blob unless it is there; its digest."""
        digest = digest_of(data)
        if self.request("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200:
            return digest
        headers = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"")[1]
        place = headers["Location"]
        place = "/" + place.split("/", 3)[3] if "://" in place else place
        place += f"{'&' if '?' in place else '?'}digest={digest}"
        self._expect(201, self.request("PUT", place, data, {"Content-Type": "application/octet-stream"}))
        return digest

    def mount(self, repository: str, source: str, digest: str) -> None:
        """Let a repository have a blob that `source` has, without uploading it again."""
        self._expect(201, self.request("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}", b""))

    def manifest(self, repository: str, reference: str, document: Mapping[str, Any], media_type: str) -> str:
        """Put a manifest under a tag or its digest; its digest."""
        body = json.dumps(document).encode()
        reference = reference or digest_of(body)
        path = f"/v2/{repository}/manifests/{reference}"
        self._expect(201, self.request("PUT", path, body, {"Content-Type": media_type}))
        return digest_of(body)

    def push(
        self,
        repository: str,
        *tags: str,
        config: Mapping[str, Any] | None = None,
        created: str = "2026-01-01T00:00:00Z",
        platform: str = "linux/amd64",
        files: Sequence[tuple[str, bytes, int]] = (),
        packed: tuple[bytes, str] | None = None,
        oci: bool = False,
        media_type: bool = True,
    ) -> str:
        """Push one image under `tags` (none: by digest only); the digest of its manifest.

        The same arguments give the same digest: change `created` or `config` for a rebuilt image. `oci` with
        `media_type=False` leaves the manifest's own `mediaType` out, as some builders do. `packed` is a layer made
        elsewhere (compressed bytes, digest of the plain ones).
        """
        compressed, plain_digest = packed or _pack(files)
        kind = OCI_MANIFEST if oci else DOCKER_MANIFEST
        blob = json.dumps(_image_config(config or {}, created, platform, plain_digest)).encode()
        document: dict[str, Any] = {
            "schemaVersion": 2,
            **({"mediaType": kind} if media_type else {}),
            "config": _descriptor(OCI_CONFIG if oci else DOCKER_CONFIG, blob, self.blob(repository, blob)),
            "layers": [_descriptor(OCI_LAYER if oci else DOCKER_LAYER, compressed, self.blob(repository, compressed))],
        }
        return self._publish(repository, tags, document, kind)

    def push_index(
        self,
        repository: str,
        *tags: str,
        platforms: Sequence[str] = ("linux/amd64", "linux/arm64/v8"),
        config: Mapping[str, Any] | None = None,
        created: str | Mapping[str, str] = "2026-01-01T00:00:00Z",
        oci: bool = False,
        media_type: bool = True,
    ) -> tuple[str, dict[str, str]]:
        """Push an image for several platforms; digest of the index, and of each platform's manifest.

        `created` may differ by platform: push again with one changed for a rebuild of that platform only.
        """
        children: dict[str, str] = {}
        entries: list[dict[str, Any]] = []
        for platform in platforms:
            when = created if isinstance(created, str) else created[platform]
            digest = self.push(repository, config=config, created=when, platform=platform, oci=oci)
            children[platform] = digest
            entries.append(self._entry(repository, digest, platform, OCI_MANIFEST if oci else DOCKER_MANIFEST))
        kind = OCI_INDEX if oci else DOCKER_LIST
        document = {"schemaVersion": 2, **({"mediaType": kind} if media_type else {}), "manifests": entries}
        return self._publish(repository, tags, document, kind), children

    def retag(self, repository: str, source: str, *tags: str) -> None:
        """Let `tags` point at what `source` points at."""
        accept = ", ".join((DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX))
        status, headers, body = self.request("GET", f"/v2/{repository}/manifests/{source}", headers={"Accept": accept})
        self._expect(200, (status, headers, body))
        for tag in tags:
            path = f"/v2/{repository}/manifests/{tag}"
            self._expect(201, self.request("PUT", path, body, {"Content-Type": headers["Content-Type"]}))

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest with its tags."""
        self._expect(202, self.request("DELETE", f"/v2/{repository}/manifests/{digest}"))

    def _publish(self, repository: str, tags: Sequence[str], document: Mapping[str, Any], kind: str) -> str:
        digest = self.manifest(repository, "", document, kind)
        for tag in tags:
            self.manifest(repository, tag, document, kind)
        return digest

    def _entry(self, repository: str, digest: str, platform: str, kind: str) -> dict[str, Any]:
        _, headers, _ = self.request("HEAD", f"/v2/{repository}/manifests/{digest}", headers={"Accept": kind})
        parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        return {"mediaType": kind, "digest": digest, "size": int(headers["Content-Length"]), "platform": parts}

    @staticmethod
    def _expect(wanted: int, answer: tuple[int, dict[str, str], bytes]) -> None:
        if answer[0] != wanted:
            raise RuntimeError(f"registry answered {answer[0]}: {answer[2][:300]!r}")


def _pack(files: Sequence[tuple[str, bytes, int]]) -> tuple[bytes, str]:
    if not files:
        return busybox_layer()
    plain = layer(*files)
    return gzip.compress(plain, 1, mtime=0), digest_of(plain)


def _descriptor(kind: str, data: bytes, digest: str) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(data), "digest": digest}


def _image_config(config: Mapping[str, Any], created: str, platform: str, diff_id: str) -> dict[str, Any]:
    system, architecture, *variant = platform.split("/")
    return {
        "architecture": architecture,
        "os": system,
        **({"variant": variant[0]} if variant else {}),
        "created": created,
        "config": {"Env": ["PATH=/bin"], "Cmd": SERVE, **config},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
