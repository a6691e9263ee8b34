"""Random requests made from our own OpenAPI document: no server error, no undocumented status, no foreign schema."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from contract.http_app import serve_app
from kit.containers import container, container_id

EXAMPLES = 15
OPERATIONS = (
    "/health",
    *(
        f"/api/v1/{rest}"
        for rest in (
            "app",
            "server",
            "store",
            "openapi.json",
            "audit",
            "containers",
            "containers/summary",
            "containers/recent-status",
            "containers/groups",
            "containers/watch",
            "containers/{container_id}",
            "containers/{container_id}/explain",
            "containers/{container_id}/watch",
            "containers/{container_id}/update-policy",
            "containers/{container_id}/env/reveal",
        )
    ),
)
"""Routes that need no other room than this http_app has; the components are added by their prefix."""
COMPONENTS = ("/api/v1/watchers", "/api/v1/registries")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a thread of its own: the generator of requests is synchronous."""
    ready, done, found = threading.Event(), threading.Event(), []
    folder: Path = tmp_path_factory.mktemp("fuzz")

    async def run() -> None:
        async with serve_app(folder, rate_limit_max=10**9) as http_app:
            await http_app.seed(container(1, update="1.1.0"), container(2))
            found.append(http_app.url)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    done.set()
    thread.join()


def test_random_requests(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json")
    checks = [
        schemathesis.checks.not_a_server_error,
        *schemathesis.checks.CHECKS.get_by_names(
            ["status_code_conformance", "content_type_conformance", "response_schema_conformance"]
        ),
    ]
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in OPERATIONS and not operation.path.startswith(COMPONENTS):
            continue

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy())
        def attempt(case: schemathesis.Case) -> None:
            case.path_parameters = {name: container_id(1) for name in case.path_parameters or {}}
            case.call_and_validate(checks=checks)

        attempt()
        count += 1
    assert count > len(OPERATIONS) + 4
