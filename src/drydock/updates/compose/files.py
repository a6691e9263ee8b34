"""Compose files on disk, written so that neither a crash nor a second writer can break it (updates.md §11.5).

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
from drydock.updates.plan.effects import StepFailed

LOCK_WAIT_S = 10.0
LOCK_STALE_S = 120.0
_RETRIES = 5


class ComposeProblem(StepFailed):
    """The file cannot be edited safely; nothing was written."""

    code = "compose-edit-impossible"


class Interpolated(ComposeProblem):
    """The image of the service comes from a variable that cannot be changed for certain."""

    code = "compose-image-interpolated"


class Invalid(ComposeProblem):
    """The edited text would not be what was meant."""


class FileChanged(StepFailed):
    """The file was edited since the update was prepared."""

    code = "compose-file-changed"


class FileNotWritten(StepFailed):
    """The file cannot be written."""

    code = "compose-file-not-written"
    rollback_code = "compose_write_failed"


def sha256(text: str) -> str:
    """Fingerprint of a text as it stands in a file."""
    return hashlib.sha256(text.encode()).hexdigest()


async def write_edit(edit: FileEdit, patience_s: float = LOCK_WAIT_S) -> None:
    """Apply one edit. Nothing if it is done already; `FileChanged`, `FileNotWritten` with what to do.

    `patience_s`: how long to wait for another process's lock.
    """
    await asyncio.to_thread(_write_edit, edit, patience_s)


def read_text(path: Path) -> str:
    """The text of a file byte for byte: no translation of line ends."""
    with path.open(encoding="utf-8", newline="") as handle:
        return handle.read()


def unusable(file: str) -> str | None:
    """What is wrong with a file or folder that an operator named; None when it can be read."""
    path = Path(file)
    try:
        (os.listdir if path.is_dir() else read_text)(path)
    except FileNotFoundError:
        return "does not exist"
    except PermissionError:
        return "cannot be read: permission denied"
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    return None


def _write_edit(edit: FileEdit, patience_s: float) -> None:
    path = Path(edit.path).resolve()
    try:
        with _locked(path, patience_s) as abandoned:
            found = path.read_bytes()
            if found == edit.after.encode():
                return
            if found != edit.before.encode() and not (abandoned and _half_written(found, edit)):
                raise FileChanged(f"{path} was edited during the update: set the image of the service manually")
            if edit.backup:
                shutil.copy2(path, f"{path}.back")
            _replace(path, edit.after.encode())
    except OSError as error:
        raise FileNotWritten(f"{path} could not be written: {error.strerror or error}") from error


def _half_written(found: bytes, edit: FileEdit) -> bool:
    """Whether a crash left the file between both texts: written in place, its beginning is new and its end is old."""
    before, after = edit.before.encode(), edit.after.encode()
    new = next((n for n, (one, other) in enumerate(zip(found, after, strict=False)) if one != other), None)
    new = min(len(found), len(after)) if new is None else new
    return new > 0 and found[new:] == before[new:]


@contextlib.contextmanager
def _locked(path: Path, patience_s: float) -> Iterator[bool]:
    """Hold the lock file; gives whether a process died holding it, perhaps in the middle of a write."""
    lock = Path(f"{path}.drydock.lock")
    deadline = time.monotonic() + patience_s
    abandoned = False
    while True:
        try:
            with lock.open("x") as handle:
                handle.write(f"{os.getpid()}:{time.time_ns() // 1_000_000}")
            break
        except FileExistsError:
            pass
        if _is_abandoned(lock):
            abandoned = True
            lock.unlink(missing_ok=True)
        elif time.monotonic() > deadline:
            raise FileNotWritten(f"{path} is locked by {lock.name}; remove it if no Drydock is running")
        else:
            time.sleep(0.05)
    _HELD.add(lock)
    try:
        yield abandoned
    finally:
        _HELD.discard(lock)
        lock.unlink(missing_ok=True)


_HELD: set[Path] = set()
"""Lock files of this very process: another one with the same number may have left one behind."""


def _is_abandoned(lock: Path) -> bool:
    """Too old, or of a process that is gone."""
    try:
        age, owner = time.time() - lock.stat().st_mtime, lock.read_text().partition(":")[0]
    except FileNotFoundError:
        return False
    if age > LOCK_STALE_S:
        return True
    if not owner.isdecimal():
        return False
    ours = int(owner) == os.getpid()
    return lock not in _HELD if ours else not Path(f"/proc/{owner}").exists()


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
            with path.open("r+b") as handle:
                handle.write(data)
                handle.truncate()
                handle.flush()
                os.fsync(handle.fileno())
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _renamed(fresh: Path, path: Path) -> bool:
    """False for a file that is itself a mount point: it can only be written in place."""
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
