"""Texts from outside before they are shown or logged: credentials out, control characters out, cut to a length.

Errors of registries, Engines and providers may repeat what was sent to them (platform.md §7, platform-api.md §12.4).
"""

from __future__ import annotations

import re

LONGEST = 200

_CREDENTIALS = re.compile(
    r"(?P<scheme>\b(?:bearer|basic|digest|negotiate)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|(?P<header>\b(?:proxy-)?authorization\b[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic|digest)\s+)?[^\s\"',;]+"
    r"|(?P<url>\b[a-z][a-z0-9+.-]*://)[^\s/@:]*:?[^\s/@]*@"
    r"|(?P<param>(?:\b(?:access_token|refresh_token|id_token|client_secret|password|passwd|api_?key|token|secret)"
    r"|[?&](?:code|code_verifier|code_challenge|nonce|state|client_id))=)[^\s&\"']+",
    re.IGNORECASE,
)
_TOKENS = re.compile(r"\bdd_[A-Za-z0-9]{10}_[A-Za-z0-9_-]{43}")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def scrub(text: str) -> str:
    """`text` without authorization values, credentials in URLs and secret query values; `***` stands there instead."""

    def masked(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        return f"{match[kind]}***" + ("@" if kind == "url" else "")

    return _TOKENS.sub("dd_***", _CREDENTIALS.sub(masked, text))


def printable(text: str, longest: int = LONGEST) -> str:
    """One line without control characters and terminal sequences, cut to `longest` characters."""
    plain = _ANSI.sub("", text)
    return "".join(ch if ch.isprintable() else " " for ch in plain)[:longest]
