"""Which part of a log is wanted, and how the query words are read (container-api.md §9.1, §9.3). Pure."""

from __future__ import annotations

import re

import msgspec

from drydock.core import times
from drydock.docker.logs import STDERR, STDOUT

DOWNLOAD_TAIL = 1000
STREAM_TAIL = 100
LONGEST_TAIL = 10_000
LATEST_S = 253_402_300_799
"""The last second of the year 9999: whatever lies beyond was not meant as seconds."""

_DIGITS = re.compile(r"[0-9]{1,18}")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The last `tail` lines of the chosen streams that are not older than `since` (Unix seconds, 0 = all)."""

    stdout: bool = True
    stderr: bool = True
    tail: int = DOWNLOAD_TAIL
    since: int = 0

    @property
    def empty(self) -> bool:
        """Neither stream is wanted."""
        return not (self.stdout or self.stderr)

    @property
    def both(self) -> bool:
        """Both streams are wanted."""
        return self.stdout and self.stderr

    @property
    def streams(self) -> frozenset[int]:
        """Numbers of the wanted streams in the Engine's frames."""
        wanted = ((STDOUT, self.stdout), (STDERR, self.stderr))
        return frozenset(number for number, chosen in wanted if chosen)


def since_seconds(text: str | None) -> int:
    """Digits are Unix seconds, else ISO 8601 (UTC without offset) down to the second; anything else is 0."""
    if not text:
        return 0
    if _DIGITS.fullmatch(text):
        seconds = int(text)
    else:
        instant = times.from_iso(text)
        seconds = instant // 1000 if instant is not None else 0
    return seconds if 0 <= seconds <= LATEST_S else 0


def download_tail(asked: int) -> int:
    """Lines of a download: 0…10000."""
    return min(max(asked, 0), LONGEST_TAIL)


def stream_tail(asked: int) -> int:
    """Lines a stream begins with: at most 10000; a negative number is none."""
    return STREAM_TAIL if asked < 0 else min(asked, LONGEST_TAIL)


def file_name(container_name: str) -> str:
    """Name of the downloaded file: safe in a header and on every file system."""
    return (re.sub(r"[^A-Za-z0-9._-]", "_", container_name) or "container") + "-logs.txt"
