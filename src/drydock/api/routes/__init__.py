"""One module per resource; `ROUTES` is the list of all of them.

Each handler declares its scope (`opt=READ` …, see `api.access`) and describes its refusals (`api.openapi.problems`).
Fixed words below `/containers` win over an id by themselves.
"""

from __future__ import annotations

from litestar import Router

from drydock.api.routes import (
    actions,
    audit,
    auth,
    authentications,
    backups,
    container,
    debug,
    dependencies,
    events,
    fleet,
    icons,
    keys,
    log,
    logs,
    metrics,
    operations,
    probes,
    registries,
    release_notes,
    security,
    self_update,
    settings,
    stats,
    system,
    triggers,
    watchers,
)

ROUTES: tuple[Router, ...] = (
    probes.router,
    metrics.router,
    auth.router,
    keys.router,
    system.router,
    settings.router,
    debug.router,
    fleet.router,
    container.router,
    logs.router,
    stats.router,
    watchers.router,
    registries.router,
    triggers.router,
    triggers.of_containers,
    authentications.router,
    audit.router,
    actions.router,
    operations.history,
    operations.router,
    backups.router,
    dependencies.router,
    security.router,
    release_notes.router,
    log.router,
    events.router,
    self_update.router,
    icons.router,
)
