"""One module per resource; `ROUTES` is the list of all of them.

Each handler declares its scope (`opt=READ` …, see `api.access`) and describes its refusals (`api.openapi.problems`).
Fixed words below `/containers` win over an id by themselves.
"""

from __future__ import annotations

from litestar import Router

from drydock.api.routes import (
    audit,
    container,
    dockhand,
    fleet,
    logs,
    probes,
    registries,
    release_notes,
    security,
    stats,
    system,
    watchers,
)

ROUTES: tuple[Router, ...] = (
    probes.router,
    system.router,
    fleet.router,
    container.router,
    logs.router,
    stats.router,
    dockhand.versioned,
    watchers.router,
    registries.router,
    audit.router,
    security.router,
    release_notes.router,
    dockhand.router,
)
