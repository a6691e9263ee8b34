"""Where the store lives on disk: directory, file, lock and copies (platform.md §11.1).

Directory 0700, files 0600. A second process on the same file is refused by a lock file beside it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from drydock.core.errors import ConfigError
from drydock.store.settings import DEFAULT_FILE, StoreSettings

COPIES_KEPT = 3
_SQLITE = b"SQLite format 3\x00"


class StoreLocked(ConfigError):
    """Another process uses this store."""

    code = "store-locked"


class StoreCorrupt(ConfigError):
    """The store file cannot be read as a database."""

    code = "store-corrupt"


class Location:
    """The directory and the file of one store."""

    def __init__(self, settings: StoreSettings) -> None:
        if "\0" in settings.path or "\0" in settings.file:
            raise ConfigError("DD_STORE_PATH and DD_STORE_FILE must not contain null bytes")
        self.directory = Path(settings.path)
        self.file = Path(os.path.normpath(self.directory / settings.file))
        base = Path(os.path.normpath(self.directory))
        if Path(settings.file).is_absolute() or self.file == base or base not in self.file.parents:
            raise ConfigError(f"DD_STORE_FILE={settings.file!r} must be a relative file name inside DD_STORE_PATH")
        self._lock: IO[str] | None = None

    def prepare(self) -> None:
        """Make the directory, tighten modes, and step aside for a 1.x JSON file of the same name."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The store directory {self.directory} cannot be used: {error.strerror}",
                hint="Make it writable for the user of this process, or set DD_STORE_PATH.",
            ) from error
        if self.file.is_file():
            with self.file.open("rb") as handle:
                if handle.read(64).lstrip().startswith(b"{"):
                    self.file = self.directory / DEFAULT_FILE
        self.tighten()

    def tighten(self) -> None:
        """Files of the store are for their owner only."""
        for found in self.directory.glob(f"{self.file.name}*"):
            found.chmod(0o600)

    def lock(self) -> None:
        """Take the lock; `StoreLocked` when another process holds it."""
        handle = open(f"{self.file}.lock", "a", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115  # held until `unlock`
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise StoreLocked(
                f"The store {self.file} is in use by another Drydock process",
                hint="Stop the other process, or give this one its own DD_STORE_PATH.",
            ) from None
        self._lock = handle

    def unlock(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def check_header(self) -> None:
        """Refuse a file that is no SQLite database."""
        if self.file.exists() and self.file.stat().st_size:
            with self.file.open("rb") as handle:
                if handle.read(len(_SQLITE)) != _SQLITE:
                    raise self.corrupt("it is not a SQLite database")

    def corrupt(self, reason: str) -> StoreCorrupt:
        """The error for an unreadable file, with the way out."""
        copies = self.copies()
        advice = f"restore the newest copy {copies[-1]}" if copies else "start with an empty one"
        return StoreCorrupt(
            f"The store {self.file} is damaged: {reason}", hint=f"Move the file aside, then {advice} and start again."
        )

    def copies(self) -> list[Path]:
        """Copies made before migrations, oldest first."""
        return sorted(self.directory.glob(f"{self.file.name}.before-*"), key=lambda path: path.stat().st_mtime)

    def prune_copies(self) -> None:
        """Keep the newest copies only."""
        for old in self.copies()[:-COPIES_KEPT]:
            old.unlink()
