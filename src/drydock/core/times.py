"""Instants as the API shows them: ISO 8601 UTC with milliseconds; inside, whole milliseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

_RFC3339 = re.compile(
    r"^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?\s*(Z|z|[+-]\d\d:?\d\d)?$",
)


def to_iso(ms: int) -> str:
    """Render epoch milliseconds as `2026-02-03T04:05:06.789Z`."""
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def from_iso(text: str | None) -> int | None:
    """Read an RFC 3339 instant of any precision as epoch milliseconds (truncated); None if it is none.

    A text without offset counts as UTC. Dates alone (`2026-02-03`) are accepted.
    """
    if not text:
        return None
    if len(text) == 10:
        text += "T00:00:00Z"
    match = _RFC3339.match(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        base = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    millis = int((match[7] or "0")[:3].ljust(3, "0"))
    zone, offset = match[8] or "Z", 0
    if zone not in ("Z", "z"):
        offset = (int(zone[1:3]) * 60 + int(zone[-2:])) * (-60_000 if zone[0] == "-" else 60_000)
    return int(base.timestamp()) * 1000 + millis - offset
