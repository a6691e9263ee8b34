"""Several scanners as one: they run side by side, their findings are merged (security.md §3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from drydock.core.errors import ScanFailed
from drydock.security.findings import Found, collect, merge
from drydock.security.scanners.base import Target
from drydock.security.scanners.program import ScannerProgram


class Both:
    """All of `members`; one that fails becomes an error text, the findings of the others stay."""

    name = "both"

    def __init__(self, members: Sequence[ScannerProgram[Any]]) -> None:
        self.members = members

    async def scan(self, target: Target) -> Found:
        """The merged findings. Raises `ScanFailed` only when every member failed."""

        async def attempt(member: ScannerProgram[Any]) -> Found | ScanFailed:
            try:
                return await member.scan(target)
            except ScanFailed as error:
                return ScanFailed(f"{member.title}: {error.message}", transient=error.transient)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(attempt(member)) for member in self.members]
        answers = [task.result() for task in tasks]
        good = [found for found in answers if isinstance(found, Found)]
        bad = [failed for failed in answers if isinstance(failed, ScanFailed)]
        errors = [failed.message for failed in bad]
        if not good:
            raise ScanFailed("; ".join(errors), transient=any(failed.transient for failed in bad))
        return collect(
            self.name,
            merge((found.scanner, found.findings) for found in good),
            digests=sorted({digest for found in good for digest in found.digests}),
            end_of_life=any(found.end_of_life for found in good),
            errors=errors,
        )

    async def prepare(self) -> None:
        """All members, one after the other."""
        for member in self.members:
            await member.prepare()

    async def database(self) -> str | None:
        """Every member's database time, so that a change of any one counts."""
        times = await asyncio.gather(*(member.database() for member in self.members))
        return "+".join(time or "unknown" for time in times)

    async def version(self) -> str | None:
        versions = await asyncio.gather(*(member.version() for member in self.members))
        return None if None in versions else ", ".join(version or "" for version in versions)
