"""Signed requests: credentials per hop, challenges, redirects (registries.md §5.1, §6.5).

`Client.request` sends one logical request about a repository and returns its final answer. Credentials go only to the
host they belong to; a redirect to another origin goes without them. At most two extra requests for signing in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import RegistryError
from drydock.registries import faults
from drydock.registries.headers import parse_challenges
from drydock.registries.hosts import authority, origin
from drydock.registries.instances import AUTO_INSTANCE, Instance
from drydock.registries.login import ECR_PUBLIC, NONE, Login, known_login, learn, repository_of
from drydock.registries.routing import Route
from drydock.registries.tokens import Token, TokenBroker, Want, batch
from drydock.registries.transport import Ask, Call, Transport
from drydock.registries.trust import judge
from drydock.registries.wire import Answer

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_HOPS = 5
FACT_LIFE_S = 24 * 3600.0

EcrToken = Callable[[Instance, str, Call], Awaitable[str]]


@dataclass
class HostFacts:
    """What was learnt about a host: how to sign in, and until when it is not asked for batches, HEADs or big pages."""

    login: Login | None = None
    no_batch_until: float = 0.0
    no_head_until: float = 0.0
    page_size: dict[str, int | None] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    contact: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class _Signed:
    """The header that was sent, and the token in it."""

    header: str | None = None
    token: Token | None = None
    want: Want | None = None
    fresh: bool = False


class Client:
    """Signs in, follows redirects."""

    def __init__(
        self,
        transport: Transport,
        broker: TokenBroker,
        clock: Clock,
        ecr_token: EcrToken,
        *,
        allow_private: bool = False,
    ) -> None:
        self._transport = transport
        self._broker = broker
        self._clock = clock
        self._ecr_token = ecr_token
        self._allow_private = allow_private
        self._facts: dict[tuple[str, str], HostFacts] = {}

    def facts(self, instance: Instance, host: str) -> HostFacts:
        """What is known about a host as this instance sees it."""
        key = instance.id, host
        if key not in self._facts:
            self._facts[key] = HostFacts(login=known_login(instance, host))
        return self._facts[key]

    async def request(self, ask: Ask, call: Call, name: str) -> Answer:
        """The final answer to a request about repository `name`; a 401 or 403 in it is the registry's last word.

        Raises `RegistryError` and its children for everything that is no answer.
        """
        facts = self.facts(call.instance, authority(ask.url))
        if facts.login is not None:
            return await self._signed(ask, call, name, facts)
        async with facts.contact:
            if facts.login is None:
                return await self._first_contact(ask, call, name, facts)
        return await self._signed(ask, call, name, facts)

    async def _first_contact(self, ask: Ask, call: Call, name: str, facts: HostFacts) -> Answer:
        """The first request to a host goes alone: its challenge tells how all the others sign in."""
        answer = await self._follow(ask, call, name, None)
        if answer.status != 401:
            facts.login = NONE if answer.status < 400 else None
            return answer
        ways = self._ways(answer, ask, call, name)
        if not ways:
            return answer
        facts.login = ways[0]
        return await self._signed(ask, call, name, facts)

    async def _signed(self, ask: Ask, call: Call, name: str, facts: HostFacts) -> Answer:
        login = facts.login or NONE
        tried = [login]
        for _ in range(2):
            signed = await self._sign(login, ask, call, name, facts)
            answer = await self._follow(ask, call, name, signed.header)
            if not _denied(answer):
                return answer
            following = self._after_refusal(answer, signed, login, tried, ask, call, name, facts)
            if following is None:
                return answer
            login = following
            tried.append(login)
        signed = await self._sign(login, ask, call, name, facts)
        return await self._follow(ask, call, name, signed.header)

    def _after_refusal(
        self,
        answer: Answer,
        signed: _Signed,
        login: Login,
        tried: list[Login],
        ask: Ask,
        call: Call,
        name: str,
        facts: HostFacts,
    ) -> Login | None:
        """The way to try next; None when the refusal is final."""
        if signed.token is not None and signed.want is not None:
            self._broker.drop(signed.want, signed.token)
            if signed.token.wide and login != ECR_PUBLIC:
                self._stop_sharing(signed.token, name, facts)
                return login
            if not signed.fresh:
                return login
        if answer.status != 401:
            return None
        for way in self._ways(answer, ask, call, name):
            if way not in tried and not (way.scheme == "bearer" and login.scheme == "bearer"):
                facts.login = way
                return way
        return None

    def _stop_sharing(self, token: Token, name: str, facts: HostFacts) -> None:
        facts.alone.add(name)
        if not token.shared:
            facts.no_batch_until = self._clock.monotonic() + FACT_LIFE_S

    def _ways(self, answer: Answer, ask: Ask, call: Call, name: str) -> list[Login]:
        if origin(answer.url) != origin(ask.url):
            return []
        challenges = parse_challenges(answer.all("WWW-Authenticate"))
        return learn(challenges, ask.url, name, credentialed=call.instance.credentials() is not None)

    # signing

    async def _sign(self, login: Login, ask: Ask, call: Call, name: str, facts: HostFacts) -> _Signed:
        if login.scheme == "none":
            return _Signed()
        if login.scheme == "ecr":
            return _Signed(await self._ecr_token(call.instance, authority(ask.url), call))
        if login.scheme == "basic":
            credentials = call.instance.credentials()
            return _Signed(credentials.basic() if credentials else None)
        want = self._want(login, ask, call, name, facts)
        token, fresh = await self._broker.get(want, call)
        return _Signed(f"Bearer {token.value.reveal()}", token, want, fresh)

    def _want(self, login: Login, ask: Ask, call: Call, name: str, facts: HostFacts) -> Want:
        assert login.realm is not None, "a bearer login has a realm"
        trust = judge(login.realm, ask.url, call.instance)
        credentials = call.instance.credentials() if trust.credentials and login != ECR_PUBLIC else None
        alone = name in facts.alone
        scope = login.scope_of(name)
        return Want(
            login.realm,
            login.service,
            scope,
            self._scopes(login, scope, ask, call, name, facts),
            shared=login.shared and not alone,
            exact=alone,
            credentials=credentials,
            guarded=trust.guarded and not self._allow_private,
        )

    def _scopes(
        self, login: Login, scope: str | None, ask: Ask, call: Call, name: str, facts: HostFacts
    ) -> tuple[str, ...]:
        if scope is None or login.scope is None:
            return ()
        batching = "{name}" in login.scope and not login.shared and facts.no_batch_until <= self._clock.monotonic()
        if not batching or name in facts.alone:
            return (scope,)
        names = call.batches.get((call.instance.id, authority(ask.url)), ())
        return batch([other for other in names if other not in facts.alone], login.scope, name)

    # redirects

    async def _follow(self, ask: Ask, call: Call, name: str, authorization: str | None) -> Answer:
        first = ask.url
        for _ in range(MOST_HOPS + 1):
            answer = await self._hop(ask, call, authorization)
            foreign = self._foreign(ask.url, first, call)
            if answer.status == 401 and foreign:
                answer = await self._as_stranger(answer, ask, call, name)
            target = _target(answer, ask.url)
            if answer.status not in REDIRECTS or target is None:
                return answer
            _check_downgrade(target, first)
            if self._foreign(target, first, call):
                authorization = await self._strangers_header(target, call, name)
            ask = replace(ask, url=target, guarded=self._guarded(target, first, call))
        raise RegistryError(f"{authority(first)}: more than {MOST_HOPS} redirects")

    async def _hop(self, ask: Ask, call: Call, authorization: str | None) -> Answer:
        headers = {**ask.headers, **({"Authorization": authorization} if authorization else {})}
        guarded = ask.guarded or (call.instance == AUTO_INSTANCE and not self._allow_private)
        return await self._transport.send(replace(ask, headers=headers, guarded=guarded), call)

    def _foreign(self, url: URL, first: URL, call: Call) -> bool:
        """Whether a redirect has left the server that the credentials belong to."""
        if origin(url) == origin(first):
            return False
        relatives = call.instance.provider.relatives
        return url.scheme != first.scheme or not {authority(url), authority(first)} <= relatives

    def _guarded(self, url: URL, first: URL, call: Call) -> bool:
        return not self._allow_private and (call.instance == AUTO_INSTANCE or self._foreign(url, first, call))

    async def _as_stranger(self, answer: Answer, ask: Ask, call: Call, name: str) -> Answer:
        """A 401 from another host is answered once, anonymously, with that host's own realm."""
        name = repository_of(ask.url, name)
        challenges = parse_challenges(answer.all("WWW-Authenticate"))
        ways = learn(challenges, ask.url, name, credentialed=False)
        if not ways:
            return answer
        self.facts(AUTO_INSTANCE, authority(ask.url)).login = ways[0]
        return await self._hop(ask, call, await self._strangers_header(ask.url, call, name))

    async def _strangers_header(self, url: URL, call: Call, name: str) -> str | None:
        facts = self.facts(AUTO_INSTANCE, authority(url))
        if facts.login is None or facts.login.realm is None:
            return None
        stranger = replace(call, instance=AUTO_INSTANCE, batches={})
        ask = Ask("GET", url, {}, 0, "token")
        signed = await self._sign(facts.login, ask, stranger, repository_of(url, name), facts)
        return signed.header


def _denied(answer: Answer) -> bool:
    return answer.status in (401, 403)


def _target(answer: Answer, url: URL) -> URL | None:
    text = answer.headers.get("Location")
    if not text:
        return None
    try:
        target = url.join(URL(text, encoded=True))
    except ValueError:
        raise RegistryError(f"{authority(url)}: redirect to an unusable address") from None
    if target.scheme not in ("http", "https") or not target.host or target.user is not None:
        raise RegistryError(f"{authority(url)}: redirect to an unusable address")
    return target


def _check_downgrade(target: URL, first: URL) -> None:
    if target.scheme == "http" and first.scheme == "https":
        raise faults.network(authority(first), f"refused a redirect from https to http ({authority(target)})")


def failed(answer: Answer, route: Route, what: str) -> RegistryError:
    """The error for a final answer that is not the wanted one; `what` is what was asked about the repository."""
    if answer.status in (401, 403):
        return faults.refused(route.host, route.repository, answer.status, answer.body)
    return faults.unexpected(route.host, f"{what} of {route.repository}", answer.status, answer.body)
