"""What a random request of the document cannot know: good bodies, who may succeed, and what the contract leaves lenient.

Each entry that takes something out of a check says why; the lists only get shorter.
"""

from __future__ import annotations

from typing import Any, Final

GOOD: Final[dict[str, dict[str, Any]]] = {
    "POST /auth/login": {"body": {"username": "someone", "password": "PASSWORD"}},
    "POST /auth/remember": {"body": {"remember": True}},
    "POST /api/v1/auth/tokens": {"body": {"name": "NEW", "scopes": ["read"]}},
    "POST /api/v1/auth/tokens/{id}/rotate": {"body": {"graceMinutes": 5}},
    "PUT /api/v1/settings": {"body": {"updateMode": "manual"}},
    "PATCH /api/v1/settings": {"body": {"internetlessMode": False}},
    "PATCH /api/v1/preferences": {"body": {"apiVersion": 1, "schemaVersion": 1, "preferences": {"theme": "dark"}}},
    "POST /api/v1/containers/watch": {"body": {"containerIds": ["ID"]}},
    "PATCH /api/v1/containers/{container_id}/update-policy": {"body": {"action": "snooze", "days": 7}},
    "POST /api/v1/containers/update": {"body": {"containerIds": ["ID"]}},
    "POST /api/v1/containers/{container_id}/update": {},
    "POST /api/v1/triggers/{type}/{name}": {"body": {"id": "ID"}},
    "POST /api/v1/containers/scan-all": {"body": {}},
    "GET /api/v1/audit/export": {"query": {"format": "csv"}},
    "POST /api/v1/events/ui/self-update/{operation_id}/ack": {"body": {"clientId": "a", "clientToken": "b"}},
}
"""A request that must succeed; `ID`, `NEW` and `PASSWORD` are filled in. Operations not named need no body."""

PEOPLE: Final = (
    "POST /auth/logout",
    "GET /api/v1/auth/tokens",
    "POST /api/v1/auth/tokens",
    "POST /api/v1/auth/tokens/{id}/rotate",
    "DELETE /api/v1/auth/tokens/{id}",
    "DELETE /api/v1/auth/sessions/{id}",
    "GET /api/v1/preferences",
    "PATCH /api/v1/preferences",
)
"""For people who signed in; an API key is refused."""

NEVER: Final = {
    "GET /auth/oidc/{name}/redirect": "needs an identity provider; tests/contract/test_auth_oidc.py has a real one",
    "GET /auth/oidc/{name}/cb": "answers a provider; tests/contract/test_auth_oidc.py",
    "GET /api/v1/containers/{container_id}/logs/stream": "426: a WebSocket is needed",
    "GET /api/v1/containers/stats": "410: moved",
    "GET /api/v1/update-operations": "400: an operation without its id",
    "GET /api/v1/watchers/{type}/{name}/{agent}": "no agents in this version",
    "POST /api/v1/watchers/{type}/{name}/{agent}/watch": "no agents in this version",
    "GET /api/v1/self-update/{operation_id}/status": "needs a server in a container; tests/contract/test_self_update.py",
    "POST /api/v1/internal/self-update/finalize": "takes a helper's secret; tests/contract/test_self_update.py",
    "GET /api/v1/registries/{type}/{name}/{agent}": "no agents in this version",
    "GET /api/v1/triggers/{type}/{name}/{agent}": "no agents in this version",
    "POST /api/v1/triggers/{type}/{name}/{agent}": "no agents in this version",
    "POST /api/v1/containers/{container_id}/triggers/{type}/{name}/{agent}": "no agents in this version",
    "GET /api/v1/authentications/{type}/{name}/{agent}": "authentications have no agent",
    "GET /api/v1/containers/{container_id}/release-notes": "asks GitHub; tests/contract/test_release_notes.py",
    "GET /api/v1/containers/{container_id}/intermediate-release-notes": "asks GitHub; test_release_notes.py",
}
"""Operations that cannot succeed in this world."""

LENIENT: Final = {
    "POST /auth/remember": "anything but the literal `true` means false (platform-api.md §3.6)",
    "PATCH /api/v1/containers/{container_id}/update-policy": "fields that an action does not use are not read (§5.6)",
    "POST /auth/login": "`remember` that is no boolean is no wish; wrong credentials are 401 (platform-api.md §3.3)",
}
"""Bodies that break their schema and are accepted all the same, by contract.

Query strings are never judged: repeated, misspelt and out-of-range values have defined readings (container-api.md
§1.11, §1.12). Unknown fields of bodies are ignored unless the schema forbids them.
"""
