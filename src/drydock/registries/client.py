"""Signed requests: credentials per hop, challenges, redirects (registries.md §5.1, §6.5).

`Client.request` sends one logical request about a repository and returns its final answer. Credentials go only to the
host they belong to; a redirect to another origin goes without them. At most two extra requests for signing in.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from drydock.clock import Clock
from drydock.core.errors import RegistryError
from drydock.http.client import REDIRECTS, Answer, TransportError, redirect_target
from drydock.registries import errors
from drydock.registries.instances import AUTO_INSTANCE, Instance, authority
from drydock.registries.sign_in import (
    ECR_PUBLIC,
    NONE,
    Login,
    Token,
    TokenBroker,
    TokenRequest,
    batch,
    judge,
    known_login,
    learn,
    parse_challenges,
    repository_of,
)
from drydock.registries.transport import RegistryRequest, Transport

MOST_HOPS = 5
FACT_LIFE_S = 24 * 3600.0
"""What a host turned out not to be able to do is tried again after a day: it may have been updated."""


@dataclass
class HostFacts:
    """What was learnt about a host: how to sign in, and until when batches, HEADs or big pages are avoided."""

    login: Login | None = None
    no_batch_until: float = 0.0
    no_head_until: float = 0.0
    page_size: dict[str, int | None] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    """Repositories that a token for several was refused for."""
    contact: asyncio.Lock = field(default_factory=asyncio.Lock)


class Client:
    """Signs in, follows redirects."""

    def __init__(self, transport: Transport, tokens: TokenBroker, clock: Clock, *, allow_private: bool = False) -> None:
        self._transport = transport
        self._tokens = tokens
        self._clock = clock
        self._allow_private = allow_private
        self._facts: dict[tuple[str, str], HostFacts] = {}

    def facts(self, instance: Instance, host: str) -> HostFacts:
        """What is known about a host as this instance sees it."""
        key = instance.id, host
        if key not in self._facts:
            self._facts[key] = HostFacts(login=known_login(instance, host))
        return self._facts[key]

    async def request(self, request: RegistryRequest) -> Answer:
        """The final answer to a request; a 401 or 403 in it is the registry's last word.

        Raises `RegistryError` and its children for everything that is no answer.
        """
        facts = self.facts(request.route.needed, authority(request.url))
        if facts.login is None:
            # the first request to a host goes alone: its challenge says how all the others sign in
            async with facts.contact:
                if facts.login is None:
                    answer = await self._follow(request, None)
                    if answer.status != 401:
                        facts.login = NONE if answer.status < 500 else None
                        return answer
                    ways = _ways(answer, request)
                    if not ways:
                        return answer
                    facts.login = ways[0]
                    return await self._signed(request, facts)
        return await self._signed(request, facts)

    async def _signed(self, request: RegistryRequest, facts: HostFacts) -> Answer:
        """Sign, send, and after a refusal try at most two other ways."""
        tried = [facts.login or NONE]
        while True:
            authorization, token, fresh = await self._authorization(tried[-1], request, facts)
            answer = await self._follow(request, authorization)
            if answer.status not in (401, 403) or len(tried) > 2:
                return answer
            if token is not None:
                self._tokens.drop(token)
                refused_wide = token.wide and tried[-1] != ECR_PUBLIC
                if refused_wide:  # this repository gets its own token from now on
                    facts.alone.add(request.route.name)
                    if not token.wanted.shared:
                        facts.no_batch_until = self._clock.monotonic() + FACT_LIFE_S
                if refused_wide or not fresh:
                    tried.append(tried[-1])
                    continue
            challenges = parse_challenges(answer.all("WWW-Authenticate"))
            short = any(challenge.params.get("error") == "insufficient_scope" for challenge in challenges)
            servers = [login.server for login in tried]
            other = next((way for way in _ways(answer, request) if way.server not in servers), None)
            if other is None or (answer.status == 403 and not short):
                return answer
            facts.login = other
            tried.append(other)

    async def _authorization(
        self, login: Login, request: RegistryRequest, facts: HostFacts
    ) -> tuple[str | None, Token | None, bool]:
        """The header for a way to sign in, the token in it, and whether that was asked for just now."""
        route = request.route
        instance = route.needed
        if login.scheme == "ecr":
            return f"Basic {(await self._tokens.ecr_token(request)).reveal()}", None, False
        if login.scheme == "basic":
            credentials = instance.credentials
            return credentials.basic() if credentials else None, None, False
        if login.scheme == "none" or login.realm is None:
            return None, None, False

        trust = judge(login.realm, request.url, instance)
        alone = route.name in facts.alone
        scope = login.scope_of(route.name)
        scopes: tuple[str, ...] = (scope,) if scope is not None else ()
        # the repository together with the others of its group, where the server grants several
        several = login.scope is not None and "{name}" in login.scope and not login.shared and not alone
        if login.scope is not None and several and facts.no_batch_until <= self._clock.monotonic():
            names = request.account.batches.get((instance.id, authority(request.url)), ())
            scopes = batch([name for name in names if name not in facts.alone], login.scope, route.name)
        wanted = TokenRequest(
            login.realm,
            login.service,
            scope,
            scopes,
            shared=login.shared and not alone,
            exact=alone,
            credentials=instance.credentials if trust.credentials and login != ECR_PUBLIC else None,
            guarded=trust.guarded and not self._allow_private,
        )
        token, fresh = await self._tokens.get(wanted, request)
        return f"Bearer {token.value.reveal()}", token, fresh

    async def _follow(self, request: RegistryRequest, authorization: str | None) -> Answer:
        """Send and follow redirects. Once another server was met, the credentials stay at home for good."""
        first, instance = request.url, request.route.needed
        left = False
        for _ in range(MOST_HOPS + 1):
            guarded = (instance is AUTO_INSTANCE or left) and not self._allow_private
            headers = request.headers if authorization is None else {**request.headers, "Authorization": authorization}
            answer = await self._transport.send(replace(request, headers=headers, guarded=guarded))
            if answer.status == 401 and left:
                # answered once, anonymously, with that server's own realm
                name = repository_of(request.url, request.route.name)
                challenges = parse_challenges(answer.all("WWW-Authenticate"))
                ways = learn(challenges, request.url, name, credentialed=False)
                if ways:
                    self.facts(AUTO_INSTANCE, authority(request.url)).login = ways[0]
                    headers = {**request.headers, **await self._strangers_headers(request)}
                    answer = await self._transport.send(replace(request, headers=headers, guarded=guarded))
            if answer.status not in REDIRECTS:
                return answer
            try:
                target = redirect_target(answer)
            except TransportError as error:
                raise errors.network(authority(first), error.text) from None
            if target is None:
                return answer
            if target.origin() != first.origin():
                relatives = instance.provider.relatives  # hosts of one vendor that share their credentials
                related = target.scheme == first.scheme and {authority(target), authority(first)} <= relatives
                left = left or not related
            request = replace(request, url=target)
            if left:
                authorization = (await self._strangers_headers(request)).get("Authorization")
        raise RegistryError(f"{authority(first)}: more than {MOST_HOPS} redirects")

    async def _strangers_headers(self, request: RegistryRequest) -> dict[str, str]:
        """What is sent to a server that a redirect led to: an anonymous token, where it is known to want one."""
        facts = self.facts(AUTO_INSTANCE, authority(request.url))
        if facts.login is None or facts.login.realm is None:
            return {}
        name = repository_of(request.url, request.route.name)
        stranger = replace(request, route=replace(request.route, instance=AUTO_INSTANCE, name=name))
        authorization = (await self._authorization(facts.login, stranger, facts))[0]
        return {"Authorization": authorization} if authorization else {}


def _ways(answer: Answer, request: RegistryRequest) -> list[Login]:
    """How the refusing server itself offers to sign in; another server's offers do not count."""
    if answer.url.origin() != request.url.origin():
        return []
    challenges = parse_challenges(answer.all("WWW-Authenticate"))
    credentialed = request.route.needed.credentials is not None
    return learn(challenges, request.url, request.route.name, credentialed=credentialed)


def failed(answer: Answer, request: RegistryRequest, what: str) -> RegistryError:
    """The error for a final answer that is not the wanted one; `what` is what was asked about the repository."""
    route = request.route
    if answer.status in (401, 403):
        return errors.refused(route.host, route.repository, answer.status, answer.body)
    return errors.unexpected(route.host, f"{what} of {route.repository}", answer.status, answer.body)
