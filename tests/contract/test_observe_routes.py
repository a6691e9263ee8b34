"""Metrics, dashboard, server log, settings, preferences, audit and the debug dump over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from contract.product import Product, serve_product, user
from kit.containers import container

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    async with serve_product(tmp_path, **user("admin"), **user("pat", role="viewer")) as made:
        yield made


async def exercised(server: Product) -> str:
    """`/metrics` of a server on which everything that is counted happened once."""
    await server.seed(container(1, update="1.1.0"), container(2))
    client = await server.signed_in()
    counters = server.services.metrics.counters
    counters.registry_answered("hub", "public", 0.1)
    counters.triggers.inc(type="docker", name="local", status="success")
    counters.actions.inc(action="container-start")
    counters.webhooks.inc(action="watch-all")
    counters.maintenance_skips.inc(type="docker", name="local")
    await server.application.bus.drain()
    return (await client.get("/metrics")).text


def expressions() -> Iterator[str]:
    """Every query of the dashboard, its variables and the alert rules."""
    dashboard = json.loads((ROOT / "grafana" / "overview.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]
    for group in YAML(typ="safe").load((ROOT / "grafana" / "alerts.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


_SELECTOR = re.compile(r"\b((?:dd|drydock|process)_\w+)(?:\{([^}]*)\})?")
_BY = re.compile(r"by \(([^)]*)\)")


async def test_every_query_of_the_dashboard_finds_what_it_asks_for(tmp_path: Path) -> None:
    series: dict[str, set[str]] = {}
    async with serve_product(tmp_path, **user("admin"), DD_WATCHER_LOCAL_SOCKET=str(tmp_path / "none.sock")) as server:
        text = await exercised(server)
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, labels = line.split(" ")[0].partition("{")
            series.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    asked = list(expressions())
    assert len(asked) > 25
    for expression in asked:
        found = _SELECTOR.findall(expression)
        assert found, expression
        for name, selector in found:
            assert name in series, (name, expression)
            wanted = set(re.findall(r"(\w+)\s*=~?", selector))
            wanted |= {label.strip() for part in _BY.findall(expression) for label in part.split(",")}
            wanted |= set(re.findall(r"label_values\(dd_containers, (\w+)\)", expression))
            optional = {"link"}  # only containers with a link template have it
            assert wanted <= series[name] | optional, (expression, wanted - series[name])


async def test_every_metric_is_documented_and_every_documented_one_exists(server: Product) -> None:
    rows = [line for line in (ROOT / "docs" / "metrics.md").read_text().splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert documented == set(server.services.metrics.registry.names())


async def test_metrics_are_well_formed(server: Product) -> None:
    text = await exercised(server)
    assert 'dd_containers{id="' in text
    assert list(text_string_to_metric_families(text))


async def test_metrics_token(tmp_path: Path) -> None:
    token = "a-token-of-16-chars"
    async with serve_product(tmp_path, DD_SERVER_METRICS_TOKEN=token, **user("admin")) as server:
        client = server.client()
        for scheme in ("Bearer", "bearer"):
            assert (await client.get("/metrics", headers={"Authorization": f"{scheme} {token}"})).status_code == 200
        for wrong in (f"Bearer {token}x", token, f"Basic {token}", "Bearer"):
            answer = await client.get("/metrics", headers={"Authorization": wrong})
            assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
        assert (await (await server.signed_in()).get("/metrics")).status_code == 401


async def test_metrics_may_be_open_or_off(tmp_path: Path) -> None:
    async with serve_product(
        tmp_path, DD_SERVER_METRICS_AUTH="false", DD_PROMETHEUS_ENABLED="false", **user("admin")
    ) as one:
        answer = await one.client().get("/metrics")
        assert (answer.status_code, answer.text) == (200, "")


async def test_log_entries(server: Product) -> None:
    buffer, client = server.services.log, await server.signed_in()
    for level in ("debug", "info", "warning", "error"):
        buffer.add(None, level, {"event": f"test.{level}", "component": f"part.{level}"})
    assert (await client.get("/api/v1/log")).json() == {"level": "info"}

    async def messages(query: str = "") -> list[str]:
        answer = await client.get(f"/api/v1/log/entries?component=part.{query}")
        assert answer.status_code == 200
        return [entry["msg"] for entry in answer.json()]

    assert await messages() == ["test.info", "test.warning", "test.error"]
    assert await messages("&level=WARN") == ["test.warning", "test.error"]
    assert await messages("&tail=1") == ["test.error"]
    assert await messages("&tail=0") == []
    assert len(await messages("&tail=x")) == 3
    assert await messages(f"&since={server.clock.now_ms() + 1}") == []
    assert {"part.info", "part.warning", "part.error"} <= set((await client.get("/api/v1/log/components")).json())
    for bad, word in (("level=loud", "level"), ("component=a%20b", "component")):
        answer = await client.get(f"/api/v1/log/entries?{bad}")
        assert (answer.status_code, answer.json()) == (400, {"error": f"Invalid {word} query parameter"})


async def test_log_stream(server: Product) -> None:
    client = await server.signed_in()
    buffer = server.services.log
    for number in range(3):
        buffer.add(None, "warning", {"event": f"old{number}", "component": "part"})
    url = server.url.replace("http", "ws") + "/api/v1/log/stream?component=part&tail=2"
    headers = {"Cookie": f"drydock.sid={client.cookies['drydock.sid']}"}
    async with websockets.connect(url, additional_headers=headers) as socket, asyncio.timeout(10):
        assert [json.loads(await socket.recv())["msg"] for _ in range(2)] == ["old1", "old2"]
        buffer.add(None, "error", {"event": "live", "component": "part"})
        entry = json.loads(await socket.recv())
        assert set(entry) == {"timestamp", "displayTimestamp", "level", "component", "msg"}
        assert entry["msg"] == "live"
        server.services.live.streams.close()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_settings(server: Product) -> None:
    client = await server.signed_in()
    assert (await client.get("/api/v1/settings")).json() == {"internetlessMode": False, "updateMode": "manual"}
    changed = await client.patch("/api/v1/settings", json={"internetlessMode": "true", "surprise": 1})
    assert changed.json() == {"internetlessMode": True, "updateMode": "manual"}
    put = await client.put("/api/v1/settings", json={"updateMode": "auto"})
    assert put.json() == {"internetlessMode": True, "updateMode": "auto"}
    assert put.headers["sunset"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    for bad in ({}, {"surprise": 1}, {"updateMode": "never"}, {"internetlessMode": 1}, {"internetlessMode": []}):
        assert (await client.patch("/api/v1/settings", json=bad)).status_code == 400
    entries = await server.audit("settings-changed")
    assert (len(entries), entries[0]["user"], entries[0]["ip"]) == (2, "admin", "127.0.0.1")


async def test_preferences(server: Product, tmp_path: Path) -> None:
    client, other = await server.signed_in(), await server.signed_in("pat")
    empty = {"apiVersion": 1, "schemaVersion": None, "preferences": None, "updatedAt": None}
    assert (await client.get("/api/v1/preferences")).json() == {**empty, "username": "admin"}
    body: dict[str, Any] = {"apiVersion": 1, "schemaVersion": 12, "preferences": {"theme": "dark"}}
    kept = (await client.patch("/api/v1/preferences", json=body)).json()
    assert kept["preferences"] == {"theme": "dark"}
    assert (await client.get("/api/v1/preferences")).json() == kept
    assert (await other.get("/api/v1/preferences")).json() == {**empty, "username": "pat"}
    mismatch = await client.patch("/api/v1/preferences", json={**body, "apiVersion": 2})
    assert mismatch.status_code == 409
    assert mismatch.json() == {"error": "PREFERENCES_API_VERSION_MISMATCH", "supportedApiVersion": 1}
    assert (await client.patch("/api/v1/preferences", json={**body, "preferences": []})).status_code == 400
    async with serve_product(tmp_path / "open", DD_ANONYMOUS_AUTH_CONFIRM="true") as anonymous:
        refused = await anonymous.client().patch("/api/v1/preferences", json={})
        assert refused.json() == {"error": "Sync is not available in anonymous mode"}
        assert refused.status_code == 403


async def test_debug_dump(server: Product) -> None:
    await server.seed(container(1))
    client = await server.signed_in()
    answer = await client.get("/api/v1/debug/dump?minutes=99999")
    assert answer.status_code == 200
    assert re.fullmatch(
        r'attachment; filename="drydock-debug-dump-\d{4}-\d\d-\d\d\.json"', answer.headers["content-disposition"]
    )
    assert answer.text.startswith('{\n  "metadata"')
    assert answer.json()["metadata"]["recentMinutes"] == 1440
    (entry,) = await server.audit("debug-dump")
    assert entry["user"] == "admin"
    assert (await (await server.signed_in("pat")).get("/api/v1/debug/dump")).status_code == 403
