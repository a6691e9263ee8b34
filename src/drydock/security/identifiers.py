"""Identifiers of scan cycles: UUID version 7, ordered by time (RFC 9562)."""

from __future__ import annotations

import secrets
import uuid


def uuid7(now_ms: int) -> str:
    """A new one for this moment."""
    value = (now_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=value))
