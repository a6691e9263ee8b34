"""Secrets are planted wherever one can stand, and looked for wherever something comes out (platform.md §1, §7).

Only two answers may show one: revealed variables, and the making of an API key. The store itself is not searched: it
keeps the real variables of containers, readable by its owner only.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import trustme
from aiohttp import web

from contract.full_product import FullProduct, full_product
from contract.product import HASH, PASSWORD, user
from drydock import log_setup
from drydock.sse import Channel
from kit.wait import until

OIDC = "DD_AUTH_OIDC_CORP_"
VARIABLES = {
    "DD_SESSION_SECRET": "canary-session-secret",
    "DD_SERVER_METRICS_TOKEN": "canary-metrics-token",
    f"{OIDC}CLIENTSECRET": "canary-oidc-secret",
    "DD_REGISTRY_HUB_PRIVATE_PASSWORD": "canary-hub-password",
    "DD_REGISTRY_GHCR_PRIVATE_TOKEN": "canary-ghcr-token",
    "DD_RELEASE_NOTES_GITHUB_TOKEN": "canary-github-token",
    "DD_WATCHER_AWAY_AUTH_PASSWORD": "canary-engine-password",
    "DD_NOTIFICATION_NTFY_PHONE_AUTH_TOKEN": "canary-ntfy-token",
    "DD_NOTIFICATION_HTTP_BASIC_AUTH_PASSWORD": "canary-http-password",
    "DD_NOTIFICATION_HTTP_BEARER_AUTH_BEARER": "canary-http-bearer",
    "DD_ACTION_COMMAND_RUN_CMD": "true canary-command-line",
    "HTTPS_PROXY": "http://canary-proxy-user:canary-proxy-password@127.0.0.1:1",
}
"""Secrets by variable; the rest of what these components need is below."""

SURROUNDINGS = {
    "DD_PUBLIC_URL": "https://drydock.test",
    f"{OIDC}DISCOVERY": "https://127.0.0.1:1/.well-known/openid-configuration",
    f"{OIDC}CLIENTID": "drydock",
    "DD_REGISTRY_HUB_PRIVATE_LOGIN": "somebody",
    "DD_WATCHER_AWAY_HOST": "127.0.0.1",
    "DD_WATCHER_AWAY_PORT": "1",
    "DD_WATCHER_AWAY_PROTOCOL": "http",
    "DD_WATCHER_AWAY_AUTH_TYPE": "basic",
    "DD_WATCHER_AWAY_AUTH_USER": "somebody",
    "DD_WATCHER_AWAY_AUTH_INSECURE": "true",
    "DD_NOTIFICATION_NTFY_PHONE_TOPIC": "hosts",
    "DD_NOTIFICATION_HTTP_BASIC_AUTH_TYPE": "basic",
    "DD_NOTIFICATION_HTTP_BASIC_AUTH_USER": "somebody",
    "DD_NOTIFICATION_HTTP_BEARER_AUTH_TYPE": "bearer",
    "DD_HOOKS_ENABLED": "true",
}
LOGIN = ("somebody", "canary-registry-password")
ENVIRONMENT = ["DB_PASSWORD=canary-env-password", "API_TOKEN=canary-env-token", "PGPASS=x", "MY_PASS=canary-env-pass"]
TYPED = ["canary-typed-password", "canary-code-12345", "canary-state-12345"]
SKIPPED = re.compile(r"(/stream|/events/ui|/cb)$")
"""Endless answers; the event stream is listened to apart."""


class Heard:
    """Everything that came out, by where."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, place: str, text: str) -> None:
        self.texts.append((place, text))

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
        answer = await client.request(method, path, timeout=60, **options)
        self.add(f"{method} {path}", f"{answer.status_code} {answer.headers} {answer.text}")
        return answer

    def search(self, secrets: list[str]) -> list[str]:
        return [
            f"{secret} in {place}: …{text[max(0, text.find(secret) - 120) : text.find(secret) + 40]}…"
            for place, text in self.texts
            for secret in secrets
            if secret in text
        ]


async def listen(channel: Channel, heard: Heard) -> None:
    """A client of the event stream."""
    while (item := await channel.get()) is not None:
        heard.add("event", item.decode())


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[str]]]:
    """Where notifications go: its address, and the bodies that came."""
    bodies: list[str] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.text())
        return web.Response(status=500 if "broken" in request.path else 200, text=str(request.headers))

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", bodies
    await runner.cleanup()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Secrets that come from files, and a private key."""
    found = {}
    for name, value in {"DD_NOTIFICATION_NTFY_FILED_AUTH_TOKEN": "canary-filed-token"}.items():
        path = tmp_path / name
        path.write_text(value)
        path.chmod(0o600)
        found[f"{name}__FILE"] = str(path)
    key = tmp_path / "key.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(key))
    return {**found, "DD_SERVER_TLS_KEY": str(key)}


def compose(folder: Path) -> dict[str, str]:
    """A Compose project with secrets in its file and beside it; the labels that lead there."""
    folder.mkdir()
    text = "services:\n  app:\n    image: ${IMAGE}\n    environment:\n      DB_PASSWORD: canary-compose-password\n"
    (folder / "compose.yml").write_text(text)
    (folder / ".env").write_text("IMAGE=app:1.0.0\nTOKEN=canary-dotenv-token\n")
    return {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "app",
        "com.docker.compose.project.working_dir": str(folder),
        "com.docker.compose.project.config_files": str(folder / "compose.yml"),
    }


async def test_canary_secrets_appear_nowhere(
    tmp_path: Path,
    receiver: tuple[str, list[str]],
    files: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard, place = Heard(), receiver[0]
    environ = {
        **VARIABLES,
        **SURROUNDINGS,
        **files,
        **user("admin"),
        "DD_NOTIFICATION_NTFY_PHONE_URL": f"http://{place}",
        "DD_NOTIFICATION_NTFY_FILED_URL": f"http://{place}/broken",
        "DD_NOTIFICATION_NTFY_FILED_TOPIC": "hosts",
        "DD_NOTIFICATION_HTTP_BASIC_URL": f"http://{place}/broken?key=canary-url-query",
        "DD_NOTIFICATION_HTTP_BEARER_URL": f"http://canary-url-user:canary-url-password@{place}/broken",
    }
    monkeypatch.setenv("HTTPS_PROXY", VARIABLES["HTTPS_PROXY"])
    made = ""
    async with full_product(tmp_path / "w", login=LOGIN, **environ) as product:
        buffer = product.server.services.log
        log_setup.configure("debug", "json", extra=[buffer.processor])
        await product.container("shop-app", Env=ENVIRONMENT, Labels=compose(tmp_path / "shop"))
        client, _ = product.server.services.live.events.join("x", None, None)
        client.taken = True
        listener = asyncio.create_task(listen(client.channel, heard))
        made = await _use(product, heard)
        await _attack(product, heard, made)
        await _read(product, heard)
        heard.add("scanner", json.dumps([call["argv"] for call in product.scanner.calls]))
        heard.add("processes", _arguments())
        client.channel.close()
        await listener
    structlog.reset_defaults()
    captured = capfd.readouterr()
    heard.add("stdout", captured.out)
    heard.add("stderr", captured.err)
    heard.add("delivered", "\n".join(receiver[1]))
    values = [value.removeprefix("true ") for value in VARIABLES.values() if "://" not in value]
    secrets = [*values, *TYPED, PASSWORD, HASH, made, LOGIN[1], "canary-", "PRIVATE KEY"]
    secrets += [base64.b64encode(f"somebody:{word}".encode()).decode() for word in ("canary-http-password", LOGIN[1])]
    assert len(heard.texts) > 100
    assert len(receiver[1]) >= 3, "the notifications were sent"
    assert not heard.search(secrets)


async def _use(product: FullProduct, heard: Heard) -> str:
    """What an operator does: an API key, checks, scans, previews, an update, every trigger; gives the key."""
    client = await product.server.signed_in()
    made = await client.post("/api/v1/auth/tokens", json={"name": "k", "scopes": ["read"]})
    token: str = made.json()["token"]
    revealed = ""
    for id in product.ids():
        revealed += (await client.post(f"/api/v1/containers/{id}/env/reveal")).text
        for verb in ("watch", "scan", "preview", "update-chain-preview", "restart"):
            await heard.ask(client, "POST", f"/api/v1/containers/{id}/{verb}")
        policy = {"action": "snooze", "days": 1}
        await heard.ask(client, "PATCH", f"/api/v1/containers/{id}/update-policy", json=policy)
        await heard.ask(client, "PATCH", f"/api/v1/containers/{id}/update-policy", json={"action": "clear"})
        for trigger in (await client.get("/api/v1/triggers")).json()["data"]:
            path = f"/api/v1/containers/{id}/triggers/{trigger['type']}/{trigger['name']}"
            await heard.ask(client, "POST", path)
    assert "canary-env-password" in revealed, "one of the two places that may show it"
    await _updates_end(product)
    return token


async def _updates_end(product: FullProduct) -> None:
    queue = product.server.services.updates.queue
    fleet = product.server.application.fleet
    await until(lambda: not any(queue.active(one) for one in fleet.all()), "the end of every update", 60)


async def _attack(product: FullProduct, heard: Heard, token: str) -> None:
    """What strangers send: it may be counted and told, never repeated."""
    server = product.server
    typed = TYPED[0]
    await heard.ask(server.client(auth=("admin", typed)), "GET", "/auth/user")
    await heard.ask(server.client(), "POST", "/auth/login", json={"username": "admin", "password": typed})
    for wrong in (f"{token}x", token[:-1] + "!", f"canary-bearer-{typed}"):
        await heard.ask(server.client(headers={"Authorization": f"Bearer {wrong}"}), "GET", "/api/v1/containers")
    await heard.ask(server.client(), "GET", "/auth/oidc/corp/redirect")
    await heard.ask(server.client(), "GET", f"/auth/oidc/corp/cb?code={TYPED[1]}&state={TYPED[2]}")
    client = await server.signed_in()
    for bad in (b'{"password": "canary-typed-password"', b'{"name": "canary-body", "scopes": ["canary"]}'):
        headers = {"Content-Type": "application/json"}
        await heard.ask(client, "POST", "/api/v1/auth/tokens", content=bad, headers=headers)


async def _read(product: FullProduct, heard: Heard) -> None:
    """Every GET route, with every container, component and operation that there is."""
    client = await product.server.signed_in()
    operations = [
        row.id
        for one in product.server.application.fleet.all()
        for row in await product.server.services.updates.history(one.id)
    ]
    components = [
        (kind, one["type"], one["name"])
        for kind in ("watchers", "registries", "triggers", "authentications")
        for one in (await client.get(f"/api/v1/{kind}")).json()["data"]
    ]
    for path, methods in (await client.get("/api/v1/openapi.json")).json()["paths"].items():
        if "get" not in methods or SKIPPED.search(path):
            continue
        for real in _real(path, product.ids(), operations, components):
            with suppress(httpx.ReadTimeout):
                await heard.ask(client, "GET", f"{real}?tail=1000&from=1.0.0" if "log" in real else real)
    bearer = {"Authorization": f"Bearer {VARIABLES['DD_SERVER_METRICS_TOKEN']}"}
    await heard.ask(product.server.client(headers=bearer), "GET", "/metrics")
    await heard.ask(client, "GET", "/api/v1/log/entries?tail=1000&level=debug")
    await product.server.application.bus.drain()


def _real(path: str, containers: list[str], operations: list[str], components: list[tuple[str, str, str]]) -> list[str]:
    """The path once for everything that its parameters can name."""
    if "{container_id}" in path or "{reference}" in path:
        return [re.sub(r"\{(container_id|reference)\}", id, path) for id in containers]
    if "{operation_id}" in path:
        return [path.replace("{operation_id}", id) for id in operations]
    if path.endswith("{type}/{name}"):
        kind = path.split("/")[3]
        return [path.format(type=type, name=name) for where, type, name in components if where == kind]
    return [path.format(number=1) if "{number}" in path else re.sub(r"\{\w+\}", "x", path)]


def _arguments() -> str:
    """The arguments of this process and everything it started."""
    mine, found = {os.getpid()}, []
    for folder in sorted((one for one in Path("/proc").iterdir() if one.name.isdigit()), key=lambda one: int(one.name)):
        with suppress(OSError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in mine or int(folder.name) in mine:
                mine.add(int(folder.name))
                found.append((folder / "cmdline").read_text(errors="replace"))
    return "\n".join(found)


def test_the_search_finds_what_is_there() -> None:
    """A canary that is shown is found: the test above can fail."""
    heard = Heard()
    heard.add("log", "before canary-x after")
    assert heard.search(["canary-x"])
