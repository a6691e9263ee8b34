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
class _Matter:
    """What one logical request is about: the first request, for whom, which repository, and the host's facts."""

    ask: Ask
    call: Call
    name: str
    facts: HostFacts


@dataclass(frozen=True)
class _Signed:
    """The header to send, and the token in it."""

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
        matter = _Matter(ask, call, name, self.facts(call.instance, authority(ask.url)))
        if matter.facts.login is None:
            async with matter.facts.contact:
                if matter.facts.login is None:
                    return await self._first_contact(matter)
        return await self._signed(matter)

    async def _first_contact(self, matter: _Matter) -> Answer:
        """The first request to a host goes alone: its challenge tells how all the others sign in."""
        answer = await self._follow(matter, None)
        if answer.status != 401:
            matter.facts.login = NONE if answer.status < 500 else None
            return answer
        ways = _ways(answer, matter)
        if not ways:
            return answer
        matter.facts.login = ways[0]
        return await self._signed(matter)

    async def _signed(self, matter: _Matter) -> Answer:
        """Sign, send, and after a refusal try at most two other ways."""
        tried = [matter.facts.login or NONE]
        while True:
            signed = await self._sign(tried[-1], matter)
            answer = await self._follow(matter, signed.header)
            if answer.status not in (401, 403) or len(tried) > 2:
                return answer
            following = self._after_refusal(answer, signed, tried, matter)
            if following is None:
                return answer
            tried.append(following)

    def _after_refusal(self, answer: Answer, signed: _Signed, tried: list[Login], matter: _Matter) -> Login | None:
        """The way to try next; None when the refusal is final."""
        if signed.token is not None and signed.want is not None:
            self._broker.drop(signed.want, signed.token)
            if signed.token.wide and tried[-1] != ECR_PUBLIC:
                self._stop_sharing(signed.token, matter)
                return tried[-1]
            if not signed.fresh:
                return tried[-1]
        if answer.status != 401 and not _insufficient(answer):
            return None
        servers = [login.server for login in tried]
        following = next((way for way in _ways(answer, matter) if way.server not in servers), None)
        if following is not None:
            matter.facts.login = following
        return following

    def _stop_sharing(self, token: Token, matter: _Matter) -> None:
        matter.facts.alone.add(matter.name)
        if not token.shared:
            matter.facts.no_batch_until = self._clock.monotonic() + FACT_LIFE_S

    # signing

    async def _sign(self, login: Login, matter: _Matter) -> _Signed:
        instance = matter.call.instance
        if login.scheme == "none":
            return _Signed()
        if login.scheme == "ecr":
            return _Signed(await self._ecr_token(instance, authority(matter.ask.url), matter.call))
        if login.scheme == "basic":
            credentials = instance.credentials()
            return _Signed(credentials.basic() if credentials else None)
        want = self._want(login, matter)
        token, fresh = await self._broker.get(want, matter.call)
        return _Signed(f"Bearer {token.value.reveal()}", token, want, fresh)

    def _want(self, login: Login, matter: _Matter) -> Want:
        assert login.realm is not None, "a bearer login has a realm"
        instance = matter.call.instance
        trust = judge(login.realm, matter.ask.url, instance)
        alone = matter.name in matter.facts.alone
        return Want(
            login.realm,
            login.service,
            login.scope_of(matter.name),
            self._scopes(login, matter),
            shared=login.shared and not alone,
            exact=alone,
            credentials=instance.credentials() if trust.credentials and login != ECR_PUBLIC else None,
            guarded=trust.guarded and not self._allow_private,
        )

    def _scopes(self, login: Login, matter: _Matter) -> tuple[str, ...]:
        """What to ask a token for: the repository, with the others of its group where the server grants several."""
        scope = login.scope_of(matter.name)
        if scope is None or login.scope is None:
            return ()
        facts = matter.facts
        batching = "{name}" in login.scope and not login.shared and facts.no_batch_until <= self._clock.monotonic()
        if not batching or matter.name in facts.alone:
            return (scope,)
        names = matter.call.batches.get((matter.call.instance.id, authority(matter.ask.url)), ())
        return batch([other for other in names if other not in facts.alone], login.scope, matter.name)

    # redirects

    async def _follow(self, matter: _Matter, authorization: str | None) -> Answer:
        """Send and follow redirects. Once another server was met, the credentials stay at home for good."""
        first, ask, call = matter.ask.url, matter.ask, matter.call
        left = False
        for _ in range(MOST_HOPS + 1):
            answer = await self._hop(ask, call, authorization)
            if answer.status == 401 and left:
                answer = await self._as_stranger(answer, ask, matter)
            target = _target(answer, ask.url)
            if answer.status not in REDIRECTS or target is None:
                return answer
            _check_downgrade(target, first)
            left = left or _foreign(target, first, call)
            if left:
                authorization = await self._strangers_header(target, matter)
            guarded = not self._allow_private and (call.instance == AUTO_INSTANCE or left)
            ask = replace(ask, url=target, guarded=guarded)
        raise RegistryError(f"{authority(first)}: more than {MOST_HOPS} redirects")

    async def _hop(self, ask: Ask, call: Call, authorization: str | None) -> Answer:
        headers = {**ask.headers, **({"Authorization": authorization} if authorization else {})}
        guarded = ask.guarded or (call.instance == AUTO_INSTANCE and not self._allow_private)
        return await self._transport.send(replace(ask, headers=headers, guarded=guarded), call)

    async def _as_stranger(self, answer: Answer, ask: Ask, matter: _Matter) -> Answer:
        """A 401 from another host is answered once, anonymously, with that host's own realm."""
        name = repository_of(ask.url, matter.name)
        ways = learn(parse_challenges(answer.all("WWW-Authenticate")), ask.url, name, credentialed=False)
        if not ways:
            return answer
        self.facts(AUTO_INSTANCE, authority(ask.url)).login = ways[0]
        return await self._hop(ask, matter.call, await self._strangers_header(ask.url, matter))

    async def _strangers_header(self, url: URL, matter: _Matter) -> str | None:
        facts = self.facts(AUTO_INSTANCE, authority(url))
        if facts.login is None or facts.login.realm is None:
            return None
        stranger = replace(matter.call, instance=AUTO_INSTANCE, batches={})
        foreign = _Matter(Ask("GET", url, {}, 0, "token"), stranger, repository_of(url, matter.name), facts)
        return (await self._sign(facts.login, foreign)).header


def _ways(answer: Answer, matter: _Matter) -> list[Login]:
    """How the refusing server itself offers to sign in; another server's offers do not count."""
    if origin(answer.url) != origin(matter.ask.url):
        return []
    challenges = parse_challenges(answer.all("WWW-Authenticate"))
    credentialed = matter.call.instance.credentials() is not None
    return learn(challenges, matter.ask.url, matter.name, credentialed=credentialed)


def _insufficient(answer: Answer) -> bool:
    challenges = parse_challenges(answer.all("WWW-Authenticate"))
    return any(challenge.params.get("error") == "insufficient_scope" for challenge in challenges)


def _foreign(url: URL, first: URL, call: Call) -> bool:
    """Whether a redirect leaves the server that the credentials belong to."""
    if origin(url) == origin(first):
        return False
    relatives = call.instance.provider.relatives
    return url.scheme != first.scheme or not {authority(url), authority(first)} <= relatives


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
