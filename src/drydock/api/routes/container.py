"""One container: read, explain, watch, update policy, delete, reveal (container-api.md §5.1, §5.3, §5.6, §7.6, §7.7)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath

from drydock.api.access import ADMIN, READ, UPDATE, WATCH, admit_scope, confirmed, limited
from drydock.api.fast_path import Encoded
from drydock.api.openapi import (
    NUMBER,
    TEXT,
    confirmation,
    document,
    fields,
    one_of,
    parameter,
    problems,
    reads,
)
from drydock.api.request import ApiRequest
from drydock.api.settings import ServerSettings
from drydock.core.errors import DrydockError, Forbidden
from drydock.core.explain import Explanation
from drydock.core.model import Container, ContainerView, EnvEntry
from drydock.core.policy.layers import effective
from drydock.fleet import policy_actions

POLICY_FIELDS = ("skip_tags", "skip_digests", "snooze_until", "maturity_mode", "maturity_min_age_days")
_SETTING = frozenset({"skip-current", "snooze", "set-maturity-policy"})


class Environment(msgspec.Struct):
    """Environment variables with their real values."""

    env: list[EnvEntry]


CONTAINER = document(ContainerView, "The container")


def _answer(request: ApiRequest, id: str) -> Encoded:
    return Encoded(msgspec.json.encode(request.services.fleet.view(id)))


@get("/", opt=READ, responses=problems(404, _200=CONTAINER))
async def read(request: ApiRequest, container_id: FromPath[str]) -> Encoded:
    """One container in full."""
    return _answer(request, container_id)


@get(
    "/explain",
    opt=READ,
    operation_class=reads(parameter("fresh", "Check the container first", enum=["true", "false"])),
    responses=problems(404, _200=document(Explanation, "The decision and its reasons")),
)
async def explain(request: ApiRequest, container_id: FromPath[str]) -> Encoded:
    """Why this container is where it is. Asks no registry unless `fresh=true`."""
    services = request.services
    if request.params.flag("fresh"):
        admit_scope(request.caller, "watch")
        services.fleet.need(container_id)
        container_id = (await services.watching.watch_one(container_id)).id
    container = services.fleet.need(container_id)
    explanation = services.fleet.explain(container_id, services.watching.next_check_at(container))
    return Encoded(msgspec.json.encode(explanation))


@post("/watch", opt=WATCH, status_code=200, responses=problems(404, 413, 415, _200=CONTAINER))
async def watch(request: ApiRequest, container_id: FromPath[str]) -> Encoded:
    """Refresh this container from its host and check its registry."""
    request.services.fleet.need(container_id)
    checked = await request.services.watching.watch_one(container_id)
    return _answer(request, checked.id)


POLICY_BODY = fields(
    "action",
    action=one_of(
        "skip-current",
        "remove-skip",
        "clear-skips",
        "snooze",
        "unsnooze",
        "clear",
        "set-maturity-policy",
        "clear-maturity-policy",
        "revert-to-declarative",
    ),
    kind=one_of("tag", "digest"),
    value=TEXT,
    snoozeUntil=TEXT,
    days=NUMBER,
    mode=one_of("all", "mature"),
    minAgeDays=NUMBER,
    field=one_of("maturityMode", "maturityMinAgeDays", "skipTags", "skipDigests"),
)


@patch(
    "/update-policy",
    opt=UPDATE,
    operation_class=reads(body=POLICY_BODY),
    responses=problems(400, 404, 413, 415, _200=CONTAINER),
)
async def update_policy(request: ApiRequest, container_id: FromPath[str]) -> Encoded:
    """Skip, snooze or hold updates of this container: `{"action": …}`."""
    services = request.services
    before = services.fleet.need(container_id)
    body = await request.document()
    now_ms = services.clock.now_ms()
    after = await services.fleet.change_policy(container_id, lambda known: policy_actions.apply(body, known, now_ms))
    if after.update_policy_overrides != before.update_policy_overrides:
        action = "set" if body.get("action") in _SETTING else "cleared"
        details = _policy_details(str(body["action"]), after)
        await request.note(f"update-policy-override-{action}", "success", after, details=details)
    return _answer(request, container_id)


def _policy_details(operation: str, container: Container) -> str:
    found = effective(container)
    declared, overrides = container.update_policy_declarative, container.update_policy_overrides
    layers: dict[str, Any] = {
        "env": declared.env if declared else None,
        "label": declared.label if declared else None,
        "override": overrides,
        "effective": found.policy,
    }
    fields = {
        field: {layer: getattr(policy, field) if policy else None for layer, policy in layers.items()}
        for field in POLICY_FIELDS
    }
    return msgspec.json.encode({"operation": operation, "fields": fields, "sources": found.sources}).decode()


@delete(
    "/",
    opt=ADMIN,
    guards=[confirmed("container-delete")],
    operation_class=reads(confirmation("container-delete")),
    responses=problems(404, 428),
)
async def remove(request: ApiRequest, container_id: FromPath[str]) -> None:
    """Forget this container. It keeps running, and the next watch may find it again."""
    services = request.services
    if not services.settings[ServerSettings].delete:
        raise Forbidden("Container deletion is disabled", hint="Set DD_SERVER_FEATURE_DELETE=true to allow it.")
    container = services.fleet.need(container_id)
    if container.agent is not None:
        raise DrydockError(f"Agent {container.agent} is not known")
    await services.fleet.remove(container_id)
    await request.note("container-delete", "success", container)


@post(
    "/env/reveal",
    opt=ADMIN,
    status_code=200,
    guards=[limited("env-reveal", 10)],
    responses=problems(404, 413, 415, _200=document(Environment, "Unredacted variables")),
)
async def reveal(request: ApiRequest, container_id: FromPath[str]) -> Environment:
    """The real values of the environment variables. Every success is audited, never the values."""
    container = request.services.fleet.need(container_id)
    env = container.details.env if container.details else []
    shown = sum(entry.sensitive for entry in env)
    await request.note("env-reveal", "info", container, details=f"{shown} sensitive environment variables were shown")
    return Environment(env)


router = Router(
    "/api/v1/containers/{container_id:str}",
    route_handlers=[read, explain, watch, update_policy, remove, reveal],
    tags=["Containers"],
)
