"""What the services of this room are told; `config.sections.security` declares the variables behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drydock.security.model import SbomFormat


@dataclass(frozen=True)
class Policy:
    """What stops an update. `block` is the list of severities in force, empty = advisory only."""

    block: tuple[str, ...] = ("CRITICAL", "HIGH")
    availability: Literal["block", "warn"] = "block"
    gate_on: bool = True
    relative: bool = False
    prune: bool = True


@dataclass(frozen=True)
class ScanSettings:
    """How scans run. Times in ms."""

    policy: Policy = Policy()
    sbom_enabled: bool = False
    sbom_formats: tuple[SbomFormat, ...] = ("spdx-json",)
    cron: str | None = None
    jitter_ms: int = 60_000
    concurrency: int = 4
    batch_timeout_ms: int = 1_800_000
    notify_scheduled: bool = False
    cache_entries: int = 500
