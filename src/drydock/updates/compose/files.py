"""Writing a Compose file so that neither a crash nor a second writer can break it (updates.md §11.5).

Blocking work, done in a thread: lock file beside it, backup if wanted, temporary file with the same owner and mode,
fsync, rename, fsync of the folder. A file that cannot be replaced (bind-mounted alone) is written in place.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from drydock.core.operation import FileEdit
from drydock.updates.effects import StepFailed

LOCK_WAIT_S = 10.0
LOCK_STALE_S = 120.0
_RETRIES = 5


class FileChanged(StepFailed):
    """Somebody else edited the file since the update was prepared."""

    code = "compose-file-changed"


class FileNotWritten(StepFailed):
    """The file cannot be written."""

    code = "compose-file-not-written"
    rollback_code = "compose_write_failed"


def sha256(text: str) -> str:
    """Fingerprint of a text as it stands in a file."""
    return hashlib.sha256(text.encode()).hexdigest()


async def write_edit(edit: FileEdit) -> None:
    """Apply one edit. Nothing if it is done already; `FileChanged`, `FileNotWritten` with what to do."""
    await asyncio.to_thread(_write_edit, edit)


def read_text(path: Path) -> str:
    """The text of a file byte for byte: no translation of line ends."""
    with path.open(encoding="utf-8", newline="") as handle:
        return handle.read()


def _write_edit(edit: FileEdit) -> None:
    path = Path(edit.path).resolve()
    try:
        with _locked(path):
            found = sha256(read_text(path))
            if found == edit.sha_after:
                return
            if found != edit.sha_before:
                raise FileChanged(f"{path} was edited during the update: set the image of the service by hand")
            if edit.backup:
                shutil.copy2(path, f"{path}.back")
            _replace(path, edit.after.encode())
    except OSError as error:
        raise FileNotWritten(f"{path} could not be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = Path(f"{path}.drydock.lock")
    deadline = time.monotonic() + LOCK_WAIT_S
    while not _take(lock):
        if time.monotonic() > deadline:
            raise FileNotWritten(f"{path} is locked by {lock.name}; remove it if no Drydock is running")
        time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _take(lock: Path) -> bool:
    try:
        with lock.open("x") as handle:
            handle.write(f"{os.getpid()}:{time.time_ns() // 1_000_000}")
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime > LOCK_STALE_S:
                lock.unlink()
        return False
    return True


def _replace(path: Path, data: bytes) -> None:
    facts = path.stat()
    fresh = path.with_name(f".{path.name}.drydock-{os.getpid()}")
    try:
        with fresh.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        fresh.chmod(facts.st_mode & 0o7777)
        with contextlib.suppress(PermissionError):
            os.chown(fresh, facts.st_uid, facts.st_gid)
        if not _renamed(fresh, path):
            _in_place(path, data)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _renamed(fresh: Path, path: Path) -> bool:
    """False for a file that is a mount point of its own: it can only be written in place."""
    for _ in range(_RETRIES):
        try:
            os.replace(fresh, path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            time.sleep(0.2)
        else:
            return True
    return False


def _in_place(path: Path, data: bytes) -> None:
    with path.open("r+b") as handle:
        handle.write(data)
        handle.truncate()
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
