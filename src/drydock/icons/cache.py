"""Icons on disk: `<folder>/<provider>/<slug>.<extension>`, written atomically, old and surplus ones removed.

Everything here blocks for the time of a few file operations; the service calls it in a thread.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from drydock.clock import Clock
from drydock.icons.settings import IconSettings
from drydock.icons.sources import SOURCES, IconName


class Cached(NamedTuple):
    """What the disk has; `fresh` while it is younger than the time to live."""

    content: bytes
    fresh: bool


class IconCache:
    """One folder of icons."""

    def __init__(self, folder: Path, clock: Clock, settings: IconSettings) -> None:
        self._folder = folder
        self._clock = clock
        self._settings = settings
        self._enforced: float | None = None

    def read(self, name: IconName) -> Cached | None:
        """The icon, or None. Its age is that of the file."""
        path = self._path(name)
        try:
            written_ms = path.stat().st_mtime_ns // 1_000_000
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Cached(content, self._clock.now_ms() - written_ms < self._settings.cache_ttl_s * 1000)

    def write(self, name: IconName, content: bytes) -> None:
        """Keep an icon: readers see the old file or the whole new one. Then make room, if it is time to."""
        path = self._path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            now_ns = self._clock.now_ms() * 1_000_000
            os.utime(temporary, ns=(now_ns, now_ns))
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        now = self._clock.monotonic()
        if self._enforced is None or now - self._enforced >= self._settings.cache_enforcement_interval_s:
            self._enforced = now
            self._make_room(path)

    def clear(self) -> int:
        """Remove everything; how many icons there were."""
        removed = 0
        for path in self._files():
            path.unlink(missing_ok=True)
            removed += not path.name.startswith(".")
        return removed

    def _make_room(self, protected: Path) -> None:
        """Remove the oldest until both limits hold; what was written just now stays."""
        found = []
        for path in self._files():
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process, or a clearing at the same time
                continue
            found.append((stat.st_mtime_ns, stat.st_size, path))
        count, size = len(found), sum(one[1] for one in found)
        for _, length, path in sorted(one for one in found if one[2] != protected):
            if count <= self._settings.cache_max_files and size <= self._settings.cache_max_bytes:
                return
            path.unlink(missing_ok=True)
            count, size = count - 1, size - length

    def _files(self) -> Iterator[Path]:
        for source in SOURCES:
            folder = self._folder / source.name
            if folder.is_dir():
                yield from [path for path in folder.iterdir() if path.is_file()]

    def _path(self, name: IconName) -> Path:
        return self._folder / name.source.name / name.file
