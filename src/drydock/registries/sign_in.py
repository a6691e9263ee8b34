"""Signing in: how a host wants it, which token server may see the credentials, tokens in memory (registries.md §5).

A token covers a set of scopes; a request that needs a covered scope gets the same one. Credentials that were rejected
are not tried again for a minute or for the rest of the pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import msgspec
from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import RegistryAuthFailed, RegistryError
from drydock.core.secret import Secret
from drydock.http.client import Answer
from drydock.registries import ecr, errors
from drydock.registries.instances import AUTO_INSTANCE, PUBLIC_ECR, Instance, authority
from drydock.registries.options import ANONYMOUS, Credentials
from drydock.registries.spec import PULL_SCOPE
from drydock.registries.transport import RegistryRequest, Transport
from drydock.single_flight import SingleFlight

TOKEN_CAP = 64 * 1024
SHORTEST_LIFE_S = 60.0
"""Docker's own default where a server names no life."""
LONGEST_LIFE_S = 3600.0
REJECTED_S = 60.0
MOST_SCOPES = 20
LONGEST_QUERY = 3500
"""Characters of scopes in one token request: servers refuse heads of 4 KiB and more."""

_CHALLENGE = re.compile(r'([A-Za-z0-9!#$%&\'*+.^_`|~-]+)(\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s,"]*)))?')
_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|tags|blobs)/")


class Challenge(NamedTuple):
    """One scheme a registry offers; `scheme` and parameter names in lower case."""

    scheme: str
    params: dict[str, str]


def parse_challenges(values: Iterable[object]) -> list[Challenge]:
    """All challenges of all `WWW-Authenticate` headers, in order."""
    found: list[Challenge] = []
    for value in values:
        for match in _CHALLENGE.finditer(value if isinstance(value, str) else ""):
            word, assigned, quoted, plain = match.groups()
            if assigned is None:
                found.append(Challenge(word.lower(), {}))
            elif found:
                text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else (plain or "")
                found[-1].params.setdefault(word.lower(), text)
    return found


@dataclass(frozen=True)
class Login:
    """One way to sign in. `scope` is a template with `{name}`, a fixed text, or None for no scope at all."""

    scheme: Literal["none", "basic", "bearer", "ecr"]
    realm: URL | None = None
    service: str | None = None
    scope: str | None = None
    shared: bool = False

    @property
    def server(self) -> tuple[str, URL | None, str | None]:
        """What makes two ways the same for a second try."""
        return self.scheme, self.realm, self.service

    def scope_of(self, name: str) -> str | None:
        """The scope for one repository."""
        return self.scope.replace("{name}", name) if self.scope is not None else None


NONE = Login("none")
BASIC = Login("basic")
ECR = Login("ecr")
ECR_PUBLIC = Login("bearer", URL("https://public.ecr.aws/token/"), shared=True)


def known_login(instance: Instance, host: str) -> Login | None:
    """What the type says about signing in; None when only a challenge can say."""
    row = instance.provider
    if instance.type == "ecr":
        return ECR_PUBLIC if host == PUBLIC_ECR else (ECR if instance.credentialed else None)
    if row.token_url and (row.token_for == "all" or instance.credentialed):
        realm = URL(row.token_url.format(authurl=instance.authurl, host=host))
        service = row.service.format(host=host) if row.service else None
        return Login("bearer", realm, service, row.scope, shared=row.shared_token and not instance.credentialed)
    return BASIC if row.basic and instance.credentials else None


def learn(challenges: Sequence[Challenge], url: URL, name: str, *, credentialed: bool) -> list[Login]:
    """The ways a 401 offers, Bearer first; Basic only when there is something to send."""
    bearer, basic = [], []
    for challenge in challenges:
        if challenge.scheme == "bearer" and (login := _bearer(challenge, url, name)) is not None:
            bearer.append(login)
        elif challenge.scheme == "basic" and credentialed:
            basic = [BASIC]
    return bearer + basic


def _bearer(challenge: Challenge, url: URL, name: str) -> Login | None:
    text = challenge.params.get("realm", "").strip()
    try:
        realm = url.join(URL(text)) if text else URL()
    except ValueError:
        return None
    if realm.scheme not in ("http", "https") or not realm.host or realm.user is not None:
        return None
    # of the scope that is asked for only what reads: a token is never worth more than a pull
    words = []
    for word in challenge.params.get("scope", "").split():
        head, colon, actions = word.rpartition(":")
        kept = [action for action in actions.split(",") if action not in ("push", "delete")]
        if not colon or kept:
            words.append(f"{head}:{','.join(kept)}" if colon else word)
    template = " ".join(words).replace(f":{name}:", ":{name}:") if words else PULL_SCOPE
    return Login("bearer", realm.with_fragment(None), challenge.params.get("service") or None, template)


def repository_of(url: URL, fallback: str) -> str:
    """The repository name in an API path; a redirect may have led to another name."""
    match = _REPOSITORY.search(url.path)
    return match[1] if match else fallback


# trust


@dataclass(frozen=True)
class Trust:
    """`credentials`: may be sent. `guarded`: only public addresses may be connected to."""

    credentials: bool
    guarded: bool


def judge(realm: URL, request: URL, instance: Instance) -> Trust:
    """What a realm named by the server behind `request` may see (§5.4). Raises `RegistryAuthFailed` if it may not be
    asked."""
    auto = instance is AUTO_INSTANCE
    if realm.origin() == request.origin():
        return Trust(credentials=not auto, guarded=auto)
    if realm.scheme != "https" and request.scheme == "https":
        raise _untrusted(realm, instance, "it is not https while the registry is")
    if not auto and _named(realm, request, instance):
        return Trust(credentials=True, guarded=False)
    if realm.scheme != "https" and realm.host != request.host:
        raise _untrusted(realm, instance, "it is another host without https")
    if instance.credentialed and authority(request) != PUBLIC_ECR:
        raise _untrusted(realm, instance, "it is not the registry's own host, so it must not see the credentials")
    return Trust(credentials=False, guarded=auto or realm.host != request.host)


def _named(realm: URL, request: URL, instance: Instance) -> bool:
    """Whether the operator (AUTHURL) or the type's own list names this realm; exact, port included."""
    host = authority(realm)
    if instance.authurl and host == authority(URL(instance.authurl)):
        return True
    # the label before the provider's domain: `registry.cn-hangzhou.aliyuncs.com` → `cn-hangzhou`
    labels = (request.host or "").split(".")
    region = next((label for label in labels[1:] if "-" in label), labels[1] if len(labels) > 1 else "")
    patterns = (pattern.replace("{region}", re.escape(region)) for pattern in instance.provider.realms)
    return any(re.fullmatch(pattern, host) for pattern in patterns)


def _untrusted(realm: URL, instance: Instance, why: str) -> RegistryAuthFailed:
    variable = f"DD_REGISTRY_{instance.type}_{instance.name}_AUTHURL".upper()
    host = errors.clean(authority(realm))
    return RegistryAuthFailed(
        f"Token server {host} is not trusted for {instance.id}: {why}. {variable} would allow it.",
        hint=f"set {variable} if this token server is yours",
    )


# tokens

Server = tuple[str, str, str]
"""Realm, service and identity: what tokens are kept by."""


@dataclass(frozen=True)
class TokenRequest:
    """What a token is needed for. `scope`: the one that must be covered; `scopes`: what to ask for if there is none.

    `shared`: the server does not bind anonymous tokens to a repository. `exact`: only a token for this scope alone.
    """

    realm: URL
    service: str | None
    scope: str | None
    scopes: tuple[str, ...]
    shared: bool
    exact: bool
    credentials: Credentials | None
    guarded: bool

    @property
    def server(self) -> Server:
        return str(self.realm), self.service or "", self.credentials.id if self.credentials else ANONYMOUS

    def served_by(self, other: TokenRequest) -> bool:
        """Whether the token that `other` asks for does here too."""
        if self.exact:
            return other.scopes == (self.scope,) and not other.shared
        return other.shared or self.scope is None or self.scope in other.scopes


@dataclass(frozen=True)
class Token:
    """A token, what it was asked for, and until when it is used (monotonic seconds)."""

    value: Secret
    wanted: TokenRequest
    expires: float

    @property
    def wide(self) -> bool:
        """Whether it was meant for more than one scope."""
        return self.wanted.shared or len(self.wanted.scopes) > 1


class TokenBroker:
    """Gets and keeps tokens of token servers and of private ECR."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._tokens: dict[Server, list[Token]] = {}
        self._fetches: SingleFlight[Token] = SingleFlight()
        self._asked: dict[Server, list[TokenRequest]] = {}
        self._rejected: dict[Server, tuple[float, RegistryError]] = {}
        self._ecr: dict[ecr.Key, tuple[int, Secret]] = {}
        self._ecr_fetches: SingleFlight[Secret] = SingleFlight()

    async def close(self) -> None:
        """Cancel running token requests."""
        await self._fetches.close()
        await self._ecr_fetches.close()

    async def get(self, wanted: TokenRequest, request: RegistryRequest) -> tuple[Token, bool]:
        """A token, and whether it was asked for just now. Raises `RegistryError` and its children."""
        server, now = wanted.server, self._clock.monotonic()
        alive = [token for token in self._tokens.get(server, ()) if token.expires > now]
        self._tokens[server] = alive
        for token in alive:
            if wanted.served_by(token.wanted):
                return token, False
        when, rejection = self._rejected.get(server, (None, None))
        if when is not None and rejection is not None:
            if now < when + REJECTED_S or when >= request.account.began:
                raise RegistryAuthFailed(rejection.message)
            del self._rejected[server]
        # a request under way whose token will do is waited for
        asked = self._asked.setdefault(server, [])
        found = next(filter(wanted.served_by, asked), None)
        if found is None:
            asked.append(found := wanted)  # announced at once: the call itself starts later
        return await self._fetches.run(found, lambda: self._fetch(wanted, request)), True

    def drop(self, token: Token) -> None:
        """Forget a token that was refused."""
        tokens = self._tokens.get(token.wanted.server, [])
        if token in tokens:
            tokens.remove(token)

    async def _fetch(self, wanted: TokenRequest, request: RegistryRequest) -> Token:
        query: list[tuple[str, str]] = list(wanted.realm.query.items())
        if wanted.service:
            query.append(("service", wanted.service))
        query += [("scope", scope) for scope in wanted.scopes]
        headers = {"Accept": "application/json"}
        if wanted.scopes or wanted.service is not None:  # the public ECR gallery takes no parameters
            query.append(("client_id", "drydock"))
        if wanted.credentials is not None:
            headers["Authorization"] = wanted.credentials.basic()
            query.append(("account", wanted.credentials.username))
        url, route = wanted.realm.with_query(query), request.route
        asking = replace(
            request, method="GET", url=url, headers=headers, cap=TOKEN_CAP, kind="token", guarded=wanted.guarded
        )
        try:
            answer = await self._transport.send(asking)
        finally:
            self._asked[wanted.server].remove(wanted)

        host = authority(wanted.realm)
        if answer.status in (401, 403):
            if wanted.credentials is None:
                raise errors.refused(host, f"a token for {route.repository}", answer.status, answer.body)
            rejection = RegistryAuthFailed(
                f"Authentication failed for registry {route.instance_id} (HTTP {answer.status}): {route.host} "
                "credentials were rejected. Check the configured token/login/password and their scopes."
            )
            self._rejected[wanted.server] = self._clock.monotonic(), rejection
            raise rejection
        if answer.status != 200:
            raise errors.unexpected(host, "token", answer.status, answer.body)
        value, life_s = _read(answer, host)
        token = Token(Secret(value), wanted, self._clock.monotonic() + lifetime(life_s))
        self._tokens.setdefault(wanted.server, []).append(token)
        return token

    async def ecr_token(self, request: RegistryRequest) -> Secret:
        """The authorization token of a private ECR registry: base64 of user and password. Raises `RegistryError`."""
        key = ecr.key_of(request.route.needed)
        expires, token = self._ecr.get(key, (0, Secret("")))
        if token and self._clock.now_ms() < expires - ecr.MARGIN_MS:
            return token

        async def fetch() -> Secret:
            answer = await self._transport.send(ecr.request(key, request, self._clock.now_ms()))
            self._ecr[key] = found = ecr.read(answer, request.route.instance_id, self._clock.now_ms())
            return found[1]

        return await self._ecr_fetches.run(key, fetch)


def lifetime(expires_in_s: float) -> float:
    """Seconds a token is used: at most an hour, less a tenth or ten seconds, whichever is more.

    The margin pays for requests that wait for their permit with the token already chosen, and for clocks that differ.
    """
    life = min(max(expires_in_s, SHORTEST_LIFE_S), LONGEST_LIFE_S)
    return max(0.0, life - max(10.0, life / 10))


def _read(answer: Answer, host: str) -> tuple[str, float]:
    """Token and seconds of its life."""
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise RegistryError(f"{host}: invalid response of the token endpoint")
    life = document.get("expires_in")
    life_s = float(life) if isinstance(life, int | float) and not isinstance(life, bool) else SHORTEST_LIFE_S
    for name in ("token", "access_token"):
        value = document.get(name)
        if isinstance(value, str) and value.strip() and value.isascii() and value.isprintable():
            return value, life_s
    raise RegistryError(f"{host}: token endpoint response does not contain token")


def batch(names: Sequence[str], template: str, wanted: str) -> tuple[str, ...]:
    """The scopes to ask for together with that of `wanted`: its group among the sorted names (§5.5)."""
    ordered = sorted({*names, wanted})
    at = ordered.index(wanted) // MOST_SCOPES * MOST_SCOPES
    scopes: list[str] = [template.replace("{name}", wanted)]
    for name in ordered[at : at + MOST_SCOPES]:
        scope = template.replace("{name}", name)
        if scope not in scopes and sum(len(s) + 16 for s in scopes) + len(scope) < LONGEST_QUERY:
            scopes.append(scope)
    return tuple(sorted(scopes))
