"""A product in a thread of its own that synchronous cases can call, and real values for what a document cannot know."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar

import requests

from contract.full_product import FullProduct, full_product
from contract.product import PASSWORD, user
from drydock.core.model import Container
from fuzz.known import GOOD
from kit.clock import ShiftedClock

T = TypeVar("T")
SCOPES = {"admin": "admin", "viewer": "read"}
KEYS = {name: f"dd_{name:a<10}_{'k' * 43}" for name in SCOPES}
CALLERS = ("admin", "viewer", "person", "nobody")
"""Two API keys, a browser that is signed in with every right, and nobody."""

COMPONENTS = {"watchers": ("docker", "local"), "registries": ("custom", "lab"), "authentications": ("basic", "someone")}
PATIENCE_S = 60


class Running:
    """The product behind a URL; `ask` runs a coroutine where it lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._failure: Exception | None = None
        self._numbers = itertools.count(1)
        self.clock = ShiftedClock()
        self.http = requests.Session()
        self.http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # each case says who it is
        self.cookie = ""
        self.whole: FullProduct
        self.url = ""

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), "the product did not start"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the product's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as failure:  # told where the product was asked for
            self._failure = failure
            self._ready.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        environ = {**user("someone"), "DD_SERVER_RATELIMIT_MAX": "1000000000"}
        for name, token in KEYS.items():
            environ[f"DD_AUTH_APIKEY_{name.upper()}_HASH"] = hashlib.sha256(token.encode()).hexdigest()
            environ[f"DD_AUTH_APIKEY_{name.upper()}_SCOPES"] = SCOPES[name]
        async with full_product(self._folder, clock=self.clock, **environ) as self.whole:
            self.url = self.whole.server.url
            await self.whole.container("stats")  # a name that is a route's word too
            await self._past()
            self._ready.set()
            await self._stop.wait()

    async def _past(self) -> None:
        """One update that is over: a backup and an operation."""
        updates = self.whole.server.services.updates
        operation = await updates.admission.request(self.whole.ids()[0])
        async with asyncio.timeout(PATIENCE_S):
            while (await updates.operation(operation.id)).active:  # noqa: ASYNC110  # a row offers no event
                await asyncio.sleep(0.02)

    # ── callers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def headers(self, who: str) -> dict[str, str]:
        """What a caller sends with every request."""
        if who in KEYS:
            return {"Authorization": f"Bearer {KEYS[who]}"}
        return {"Cookie": f"drydock.sid={self.ask(self._session())}"} if who == "person" else {}

    async def _session(self) -> str:
        sessions = self.whole.server.services.auth.sessions
        if await sessions.find(self.cookie) is None:
            self.cookie = (await self._sign_in())[1]
        return self.cookie

    async def _sign_in(self) -> tuple[Any, str]:
        auth = self.whole.server.services.auth
        found: tuple[Any, str] = await auth.sessions.establish(auth.passwords.users[0], remember=False, replaces=None)
        return found

    # ── real values ─────────────────────────────────────────────────────────────────────────────────────────────────

    def parameters(self, label: str, names: list[str]) -> dict[str, Any]:
        """A real value for every path parameter of an operation; agents are not known."""
        return self.ask(self._parameters(label, names))

    async def _parameters(self, label: str, names: list[str]) -> dict[str, Any]:
        kind, name = next((COMPONENTS[part] for part in label.split("/") if part in COMPONENTS), ("mock", "one"))
        makers: dict[str, Callable[[str], Awaitable[Any]]] = {
            "container_id": self._container,
            "root_id": self._container,
            "reference": self._container,
            "operation_id": self._operation,
            "cycle_id": self._cycle,
            "id": self._session_id if "sessions" in label else self._key_id,
        }
        plain: dict[str, Any] = {
            "type": kind,
            "name": name,
            "agent": "edge",
            "number": 1,
            "provider": "selfhst",
            "slug": "drydock",
        }
        return {each: await makers[each](label) if each in makers else plain[each] for each in names}

    async def _container(self, label: str) -> str:
        """A container; for updates one that has an update waiting."""
        containers = self.whole.server.application.fleet.all()
        wanted = [one for one in containers if _fits(one, label) and not self._busy(one)]
        if wanted:
            return wanted[0].id
        return await self.whole.container(f"more{next(self._numbers)}")

    def _busy(self, container: Container) -> bool:
        return self.whole.server.services.updates.queue.active(container) is not None

    async def _operation(self, label: str) -> str:
        """An operation that is over; to cancel, one that pulls for a while."""
        updates = self.whole.server.services.updates
        if label.endswith("/cancel"):
            id = await self.whole.container(f"slow{next(self._numbers)}", "slow")
            return str((await updates.admission.request(id)).id)
        for one in self.whole.server.application.fleet.all():
            for row in await updates.history(one.id):
                return str(row.id)
        raise AssertionError("no operation is left")

    async def _cycle(self, label: str) -> str:
        service = self.whole.server.services.security.service
        return str(service.scan_many(service.check_ids(None), "all").id)

    async def _key_id(self, label: str) -> str:
        key, _ = await self.whole.server.services.auth.keys.create(f"key{next(self._numbers)}", ["read"], "someone")
        return str(key.id)

    async def _session_id(self, label: str) -> str:
        session, _ = await self._sign_in()
        return str(session.key[:16])

    def good(self, label: str) -> dict[str, Any]:
        """The parts of a request that must succeed."""
        id = self.ask(self._container(label))
        words = {"ID": id, "NEW": f"new{next(self._numbers)}", "PASSWORD": PASSWORD}
        return {part: _filled(value, words) for part, value in GOOD.get(label, {}).items()}

    def settle(self) -> None:
        """Between two cases: time passes, and what a case took away comes back."""
        self.clock.advance(10)
        if len(self.whole.ids()) < 3 or len(self.whole.ids()) > 12:
            self.ask(self._tidy())

    def rest(self) -> None:
        """Before a request that must succeed: earlier updates are over, so no container is replaced under its id."""
        self.ask(self._idle())

    async def _idle(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.whole.server.services.updates.queue.idle():
                self.clock.advance(10)
                await asyncio.sleep(0.01)

    async def _tidy(self) -> None:
        await self.whole.watcher.watcher.look_again(check=False)
        for one in list(self.whole.server.application.fleet.all()):
            if one.name.startswith(("more", "slow")) and not self._busy(one) and one.id in self.whole.engine.containers:
                await self.whole.engine.remove_container(one.id, force=True)
        await self.whole.watcher.watcher.look_again(check=False)


def _fits(container: Container, label: str) -> bool:
    if container.name.startswith("slow"):
        return False
    wants_update = label.endswith(("/update", "/preview", "/triggers/{type}/{name}"))
    return not wants_update or (container.result is not None and container.result.tag != container.image.tag.value)


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, words) for item in value]
    return words.get(value, value) if isinstance(value, str) else value
