"""Schemathesis over our own OpenAPI document: with an admin key, a viewer key, and as nobody.

A short run belongs to `make test`; `make fuzz` sets DRYDOCK_FUZZ_EXAMPLES for at least 20,000 cases. Endless streams
are left out: they would hold a case for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from contract.served import Served, served, user
from drydock.api.application import schema
from fuzz.sent import SENT
from samples import container

EXAMPLES = int(os.environ.get("DRYDOCK_FUZZ_EXAMPLES", "4"))
STREAMS = r"(/stream|/events/ui)$"
KEYS = {name: f"dd_{name:a<10}_{'k' * 43}" for name in ("admin", "viewer")}
SCOPES = {"admin": "admin", "viewer": "read"}


class Running:
    """A server in a thread of its own, so that synchronous cases can call it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.url = ""

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        environ = dict(user("someone"), DD_SERVER_RATELIMIT_MAX="1000000000")
        for name, token in KEYS.items():
            environ[f"DD_AUTH_APIKEY_{name.upper()}_HASH"] = hashlib.sha256(token.encode()).hexdigest()
            environ[f"DD_AUTH_APIKEY_{name.upper()}_SCOPES"] = SCOPES[name]
        async with served(self._folder, **environ) as made:
            await self._fill(made)
            self.url = made.url
            self._ready.set()
            await self._stop.wait()

    async def _fill(self, made: Served) -> None:
        await made.seed(*(container(number, update="1.1.0") for number in range(3)))


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder, Running(Path(folder)) as made:
        yield made


def _operations() -> dict[str, APIOperation[Any, Any, Any, Any]]:
    """Every operation of the document by name, without the endless streams."""
    found = schemathesis.openapi.from_dict(msgspec.json.decode(msgspec.json.encode(schema("9.9.9"))))
    results = found.exclude(path_regex=STREAMS).get_all_operations()
    return {operation.label: operation for operation in (result.ok() for result in results)}


OPERATIONS = _operations()
LEFT_OUT = [
    positive_data_acceptance,  # a well-formed request may be refused for what it asks (400, 404, 409)
    negative_data_rejection,  # query strings and unknown fields are read leniently by contract
    ignored_auth,  # the caller is chosen by the test
]


@pytest.mark.parametrize("who", ["admin", "viewer", "nobody"])
@pytest.mark.parametrize("label", list(OPERATIONS))
def test_operation(running: Running, label: str, who: str) -> None:
    """No 5xx, no undocumented status, no answer that its schema does not describe."""
    headers = {"Authorization": f"Bearer {KEYS[who]}"} if who in KEYS else {}

    @given(case=OPERATIONS[label].as_strategy())
    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    def check(case: Case) -> None:
        SENT.append(label)
        answer = case.call(base_url=running.url, headers=headers)
        switched_off = [not_a_server_error] if answer.status_code == 503 else []
        case.validate_response(answer, excluded_checks=[*LEFT_OUT, *switched_off])

    check()
