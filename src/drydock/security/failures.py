"""What goes wrong with a scanner program, as errors with texts for people; scrubbing of what such programs print."""

from __future__ import annotations

import re
from collections.abc import Iterable

from drydock.core.errors import ScanFailed

LONGEST = 2_000
"""Characters of a program's message that reach a record."""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_HEADER = re.compile(r"(?i)(authorization\"?\s*[:=]\s*\"?)(?:(?:basic|bearer)\s+)?[^\s\",;]+")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@")
_TRANSIENT = re.compile(
    r"(?i)timed? ?out|deadline exceeded|connection (?:reset|refused)|no such host|temporary failure in name resolution"
    r"|i/o timeout|TLS handshake|(?:database|\bDB\b).*(?:download|update|lock)|(?:download|update|lock).*(?:database|\bDB\b)|cache may be in use"
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Without the secrets, Authorization values, credentials in URLs and colour codes."""
    for secret in sorted((found for found in secrets if found), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _HEADER.sub(r"\1***", _ANSI.sub("", text))
    return _USERINFO.sub(r"\1***@", text)


def is_transient(text: str) -> bool:
    """Worth one more try: time-outs, the network, a database that is being replaced (security.md §3.1)."""
    return _TRANSIENT.search(text) is not None


def explain(stderr: str) -> str:
    """What a scanner printed, its most useful line first: Trivy lists one error per source, `remote error:` counts."""
    lines = [line.strip(" \t*") for line in stderr.splitlines() if line.strip()]
    if not lines:
        return "no message"
    best = next((line for line in lines if "remote error:" in line), lines[-1])
    rest = [line for line in lines if line is not best]
    return "; ".join([best, *rest])[:LONGEST]


def failure(message: str, *, transient: bool | None = None) -> ScanFailed:
    """An error from a text; whether it is transient is read from the text unless told."""
    return ScanFailed(message, transient=is_transient(message) if transient is None else transient)
