"""SBOM documents as files beside the store (security.md §10).

`<store>/sbom/<sha256(subject)>/<sha256(document)>/<format>.json`, canonical JSON, mode 0600 in folders of 0700. A
document is read only if its size and hash are what its reference says; links and paths that lead out are refused.
Which container refers to which document is known to the records; `collect` deletes what none of them names.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pathlib
import re
import secrets
import shutil
import stat
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from drydock.core.errors import DrydockError

LARGEST = 50 * 1024 * 1024

_KEY = re.compile(r"[0-9a-f]{64}/[0-9a-f]{64}/(?:spdx-json|cyclonedx-json)\.json")


class DocumentUnusable(DrydockError):
    """A stored SBOM cannot be used; it is generated again."""

    code = "sbom-document-unusable"
    default = "Invalid SBOM document ref"


class Stored(NamedTuple):
    """Where a document lies, and what it must be."""

    key: str
    sha256: str
    bytes: int


class SbomFiles:
    """Documents under one folder; every method works in a thread. `root` None keeps them in memory."""

    def __init__(self, root: pathlib.Path | None) -> None:
        self._root = root
        self._memory: dict[str, bytes] = {}

    async def put(self, subject: str, form: str, document: dict[str, Any]) -> Stored:
        """Store one document about `subject` (a digest, or the image and the document where there is none)."""
        return await asyncio.to_thread(self._put, subject, form, document)

    async def get(self, stored: Stored) -> bytes:
        """The bytes of a document. Raises `DocumentUnusable`."""
        return await asyncio.to_thread(self._get, stored)

    async def collect(self, used: Iterable[str]) -> int:
        """Delete every document whose key is not in `used`; how many."""
        return await asyncio.to_thread(self._collect, frozenset(used))

    def _put(self, subject: str, form: str, document: dict[str, Any]) -> Stored:
        data = msgspec.json.encode(document, order="sorted")
        if len(data) > LARGEST:
            raise DocumentUnusable(f"SBOM document is too large ({len(data)} bytes)")
        checksum = hashlib.sha256(data).hexdigest()
        stored = Stored(f"{hashlib.sha256(subject.encode()).hexdigest()}/{checksum}/{form}.json", checksum, len(data))
        if self._root is None:
            self._memory[stored.key] = data
        else:
            _write(self._place(stored.key), data)
        return stored

    def _get(self, stored: Stored) -> bytes:
        data = self._read(stored.key)
        if len(data) != stored.bytes:
            raise DocumentUnusable("SBOM document size mismatch")
        if hashlib.sha256(data).hexdigest() != stored.sha256:
            raise DocumentUnusable("SBOM document checksum mismatch")
        return data

    def _read(self, key: str) -> bytes:
        if not _KEY.fullmatch(key):
            raise DocumentUnusable()
        if self._root is None:
            if key not in self._memory:
                raise DocumentUnusable("SBOM document not found")
            return self._memory[key]
        return _read(self._place(key))

    def _place(self, key: str) -> pathlib.Path:
        """The file of a key; `DocumentUnusable` when a folder on the way is a link."""
        assert self._root is not None
        path = self._root.joinpath(*key.split("/"))
        if any(parent.is_symlink() for parent in (path.parent, path.parent.parent)):
            raise DocumentUnusable()
        return path

    def _collect(self, used: frozenset[str]) -> int:
        if self._root is None:
            gone = [key for key in self._memory if key not in used]
            for key in gone:
                del self._memory[key]
            return len(gone)
        unused = [path for path in self._root.glob("*/*/*.json") if path.relative_to(self._root).as_posix() not in used]
        for path in unused:
            _delete(path)
        return len(unused)


def _write(path: pathlib.Path, data: bytes) -> None:
    """All or nothing: a neighbour is written and moved into place."""
    neighbour = path.with_name(f".{secrets.token_hex(8)}")
    try:
        for folder in reversed(path.parents[:3]):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        neighbour.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            neighbour.unlink()
        raise DocumentUnusable(f"SBOM document could not be written: {error.strerror}") from error


def _read(path: pathlib.Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DocumentUnusable("SBOM document not found") from error
    except OSError as error:
        raise DocumentUnusable() from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST:
            raise DocumentUnusable()
        return b"".join(iter(lambda: os.read(descriptor, 1 << 20), b""))
    finally:
        os.close(descriptor)


def _delete(path: pathlib.Path) -> None:
    """A document and the folders it leaves empty."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
    for folder in (path.parent, path.parent.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()
