"""Schemathesis over our own OpenAPI document: with an admin key, a viewer key, a signed-in browser, and as nobody.

No 5xx, no undocumented status, no answer that its schema does not describe; broken bodies are refused. Most cases name
containers, operations and components that exist, so that the handlers are reached; every operation must succeed once.
A short run belongs to `make test`; `make fuzz` sends at least 20,000 cases. Endless streams are left out: they would
hold a case for ever.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from drydock.api.application import schema
from drydock.compat.application import ROUTES
from fuzz.known import LENIENT, NEVER, PEOPLE
from fuzz.running import CALLERS, Running
from fuzz.tally import PROPERTY

EXAMPLES = int(os.environ.get("DRYDOCK_FUZZ_EXAMPLES", "3"))
STREAMS = re.compile(r"(/stream|/events/ui)$")
LEFT_OUT: list[Callable[..., Any]] = [
    positive_data_acceptance,  # a well-formed request may be refused for what it asks (400, 404, 409)
    ignored_auth,  # the caller is chosen by the test
]
Operation = APIOperation[Any, Any, Any, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder, Running(Path(folder)) as made:
        yield made


def _operations() -> dict[str, Operation]:
    """Every operation of the document by name, without the endless streams."""
    found = schemathesis.openapi.from_dict(msgspec.json.decode(msgspec.json.encode(schema("9.9.9", ROUTES))))
    operations = [result.ok() for result in found.get_all_operations()]
    return {one.label: one for one in operations if not STREAMS.search(one.path) or one.path.endswith("logs/stream")}


OPERATIONS = _operations()
ODD_HEADERS: dict[str, list[str]] = {
    "Accept": ["*/*", "text/html", "text/event-stream", "application/spdx+json", "\xff", "a" * 4000],
    "Accept-Encoding": ["gzip", "gzip;q=0", "br", "gzip;q=x", "*"],
    "Origin": ["null", "https://evil.example", "http://[", "http://a:99999"],
    "Referer": ["https://evil.example/x", "::"],
    "Sec-Fetch-Site": ["cross-site", "same-origin", "odd"],
    "X-Forwarded-For": ["10.0.0.1", "x" * 300, ","],
    "X-Forwarded-Proto": ["https", "ftp"],
    "X-HTTP-Method-Override": ["DELETE"],
    "X-DD-Confirm-Action": ["container-delete", "CONTAINER-ROLLBACK", "\xe9"],
    "Range": ["bytes=0-1"],
    "If-None-Match": ["*"],
    "Cookie": ["drydock.sid=a.b", 'drydock.sid="', ";;=;"],
    "Authorization": ["Basic", "Basic !", "Basic Og==", "Bearer", "Bearer a.b.c", "Digest x"],
    "User-Agent": ["\xe9" * 300, ""],
}
odd_headers = st.dictionaries(st.sampled_from(sorted(ODD_HEADERS)), st.integers(0, 5), max_size=3)


def _cases(operation: Operation) -> st.SearchStrategy[Case]:
    """Requests that obey the document and, where a body can break it, some that do not."""
    obeying = operation.as_strategy()
    if not operation.body:
        return obeying
    return st.one_of(obeying, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


def _only_the_body_is_wrong(case: Case) -> bool:
    if case.meta is None:
        return False
    wrong = {place for place, info in case.meta.components.items() if info.mode.is_negative}
    return wrong == {ParameterLocation.BODY} and case.operation.label not in LENIENT


def _headers(chosen: dict[str, int], who: dict[str, str]) -> dict[str, str]:
    odd = {name: ODD_HEADERS[name][number % len(ODD_HEADERS[name])] for name, number in chosen.items()}
    return {**odd, **who}


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("label", list(OPERATIONS))
def test_operation(running: Running, label: str, who: str, record_property: Callable[[str, object], None]) -> None:
    """One operation as one caller: a request that must succeed, then random ones."""
    operation, statuses = OPERATIONS[label], Counter[str]()
    names = [parameter.name for parameter in operation.path_parameters]
    _succeeds(running, operation, who, statuses)

    @given(case=_cases(operation), real=st.integers(0, 9), odd=odd_headers)
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # the report names the request; making it smaller would take minutes
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Case, real: int, odd: dict[str, int]) -> None:
        running.settle()
        if real < 8 and names:
            case.path_parameters = running.parameters(label, names)
        case.headers = {**case.headers, **_headers(odd, running.headers(who))}
        answer = case.call(base_url=running.url, session=running.http, timeout=60)
        statuses[str(answer.status_code)] += 1
        strict = _only_the_body_is_wrong(case)
        case.validate_response(answer, excluded_checks=LEFT_OUT if strict else [*LEFT_OUT, negative_data_rejection])

    try:
        check()
    finally:
        record_property(PROPERTY, {"label": label, "who": who, "statuses": dict(statuses)})


def _succeeds(running: Running, operation: Operation, who: str, statuses: Counter[str]) -> None:
    """The caller with the fewest rights that may do it gets it done; nobody gets in."""
    label = operation.label
    able = "person" if label in PEOPLE else "admin"
    if who != able or label in NEVER:
        return
    running.settle()
    running.rest()
    names = [parameter.name for parameter in operation.path_parameters]
    headers = {
        parameter.name: parameter.definition["schema"]["enum"][0]
        for parameter in operation.headers
        if parameter.is_required
    }
    good = running.good(label)
    case = operation.Case(
        path_parameters=running.parameters(label, names),
        headers={**headers, **running.headers(who)},
        media_type="application/json" if "body" in good else None,
        **good,
    )
    answer = case.call(base_url=running.url, session=running.http, timeout=60)
    statuses[str(answer.status_code)] += 1
    assert answer.status_code // 100 in (2, 3), (label, answer.status_code, answer.text[:500])
    case.validate_response(answer, excluded_checks=[*LEFT_OUT, negative_data_rejection])


def test_what_is_left_out_exists() -> None:
    """An entry for an operation that is gone goes too."""
    assert set(NEVER) | set(PEOPLE) | set(LENIENT) <= set(OPERATIONS)
