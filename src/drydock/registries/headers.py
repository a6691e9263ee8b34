"""What registries say in headers: challenges, links, waits, quotas, digests (registries.md §4.2, §4.3, §5.2, §6.3, §6.4).

Pure parsers of hostile text: each returns a value or None and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from drydock.core.reference import is_digest

FLOOR_S = 0.1
"""The shortest wait that is honoured; registries advise microseconds."""
EPOCH_FROM = 1_000_000_000
"""A whole number above this is an instant, not a wait."""

_CHALLENGE = re.compile(r'([A-Za-z0-9!#$%&\'*+.^_`|~-]+)(\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s,"]*)))?')
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r'(?:^|;)\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|h|m|s)")
_UNIT = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LIMIT = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w\s*=\s*(\d{1,9}))?")
_BODY_WAIT = re.compile(r"retry-after:\s*([^,\s\"]+)", re.IGNORECASE)


class Challenge(NamedTuple):
    """One scheme a registry offers; `scheme` and parameter names in lower case."""

    scheme: str
    params: dict[str, str]


class Quota(NamedTuple):
    """A pull quota: how many per window of how many seconds, and how many are left."""

    limit: int | None
    remaining: int | None
    window_s: int | None


def parse_challenges(values: Iterable[object]) -> list[Challenge]:
    """All challenges of all `WWW-Authenticate` headers, in order."""
    found: list[Challenge] = []
    for value in values:
        for match in _CHALLENGE.finditer(value if isinstance(value, str) else ""):
            word, assigned, quoted, plain = match.groups()
            if assigned is None:
                found.append(Challenge(word.lower(), {}))
            elif found:
                text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else (plain or "")
                found[-1].params.setdefault(word.lower(), text)
    return found


def next_link(values: Iterable[object]) -> str | None:
    """Target of the first link whose rel contains `next`; parameters in any order, several headers or elements."""
    for value in values:
        for match in _LINK.finditer(value if isinstance(value, str) else ""):
            rel = _REL.search(match[2])
            if rel and "next" in (rel[1] or rel[2] or "").lower().split():
                return match[1].strip()
    return None


def parse_wait(text: object, now_ms: int) -> float | None:
    """Seconds that a `Retry-After` asks for: number, HTTP date, Go duration or epoch seconds; None for junk."""
    if not isinstance(text, str) or not text.strip() or len(text) > 64:
        return None
    text = text.strip()
    number = _number(text)
    if number is not None:
        return max(0.0, number - now_ms / 1000) if number > EPOCH_FROM else max(0.0, number)
    if text[0].isdigit():
        parts = _DURATION.findall(text)
        whole = parts and "".join(f"{count}{unit}" for count, unit in parts) == text
        return sum(float(count) * _UNIT[unit] for count, unit in parts) if whole else None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ms / 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?", text) else None


def advised_wait(headers: Mapping[str, str], body: bytes, now_ms: int) -> float | None:
    """The wait a 429 or 503 advises, from any of the places registries use; at least `FLOOR_S`, None if it has none."""
    said = _BODY_WAIT.search(body[:4096].decode("utf-8", "replace"))
    texts = [headers.get("Retry-After"), headers.get("X-Retry-After"), said[1] if said else None]
    reset = headers.get("X-RateLimit-Reset")
    if reset and (_number(reset.strip()) or 0) > EPOCH_FROM:
        texts.append(reset)
    for text in texts:
        wait = parse_wait(text, now_ms)
        if wait is not None:
            return max(FLOOR_S, wait)
    return None


def parse_quota(headers: Mapping[str, str]) -> Quota | None:
    """Docker Hub's `ratelimit-limit: 100;w=21600` and `ratelimit-remaining`; None when the answer has neither."""
    limit, remaining = (_LIMIT.match(headers.get(f"ratelimit-{name}") or "") for name in ("limit", "remaining"))
    if limit is None and remaining is None:
        return None
    window = (limit and limit[2]) or (remaining and remaining[2])
    return Quota(
        int(limit[1]) if limit else None, int(remaining[1]) if remaining else None, int(window) if window else None
    )


def digest_of(headers: Mapping[str, str]) -> str | None:
    """The digest of a document from `Docker-Content-Digest`, else from an `ETag` of that form."""
    tag = (headers.get("ETag") or "").removeprefix("W/").strip('"')
    for text in ((headers.get("Docker-Content-Digest") or "").strip(), tag):
        if is_digest(text):
            return text
    return None
