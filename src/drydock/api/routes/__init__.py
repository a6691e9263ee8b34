"""One module per resource; `ROUTES` is the list of all of them, in the order of platform-api.md §2.

Each handler declares its scope (`opt=READ` …, see `api.access`) and describes its refusals (`api.openapi.problems`).
"""

from __future__ import annotations

from litestar import Router

from drydock.api.routes import probes, system

ROUTES: tuple[Router, ...] = (
    probes.router,
    system.router,
)
