"""Bearer tokens: asking, keeping in memory, sharing (registries.md §5.3, §5.5).

A token covers a set of scopes; whoever needs a covered scope gets the same one. Credentials that were rejected are not
tried again for a minute or for the rest of the pass. Whether a realm may be asked at all was decided in `trust.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import RegistryAuthFailed, RegistryError
from drydock.core.secret import Secret
from drydock.registries import faults
from drydock.registries.credentials import ANONYMOUS, Credentials
from drydock.registries.hosts import authority
from drydock.registries.transport import Ask, Call, Transport
from drydock.registries.wire import Answer
from drydock.single_flight import SingleFlight

TOKEN_CAP = 64 * 1024
SHORTEST_LIFE_S = 60.0
LONGEST_LIFE_S = 3600.0
REJECTED_S = 60.0


@dataclass(frozen=True)
class Want:
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
    def server(self) -> tuple[str, str, str]:
        """Realm, service and identity: what tokens are kept by."""
        return str(self.realm), self.service or "", self.credentials.id if self.credentials else ANONYMOUS


@dataclass(frozen=True)
class Token:
    """A token and what it opens."""

    value: Secret
    scopes: frozenset[str]
    shared: bool
    expires: float

    @property
    def wide(self) -> bool:
        """Whether it was meant for more than one scope."""
        return self.shared or len(self.scopes) > 1

    def covers(self, want: Want) -> bool:
        """Whether it serves this need."""
        if want.exact:
            return not self.wide and want.scope in self.scopes
        return self.shared or want.scope is None or want.scope in self.scopes


class TokenBroker:
    """Gets and keeps tokens."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._tokens: dict[tuple[str, str, str], list[Token]] = {}
        self._flights: SingleFlight[Token] = SingleFlight()
        self._flying: dict[tuple[str, str, str], list[tuple[Want, tuple[object, ...]]]] = {}
        self._rejected: dict[tuple[str, str, str], tuple[float, RegistryError]] = {}

    async def close(self) -> None:
        """Cancel running token requests."""
        await self._flights.close()

    async def get(self, want: Want, call: Call) -> tuple[Token, bool]:
        """A token for the need, and whether it was asked for just now. Raises `RegistryError` and its children."""
        kept = self._kept(want)
        if kept is not None:
            return kept, False
        self._raise_if_rejected(want, call)
        key = self._flight_key(want)
        if key not in self._flights:  # announced at once: the task itself starts later
            self._flying.setdefault(want.server, []).append((want, key))
        return await self._flights.run(key, lambda: self._ask(want, call, key)), True

    def drop(self, want: Want, token: Token) -> None:
        """Forget a token that was refused."""
        tokens = self._tokens.get(want.server, [])
        if token in tokens:
            tokens.remove(token)

    def _kept(self, want: Want) -> Token | None:
        now = self._clock.monotonic()
        alive = [token for token in self._tokens.get(want.server, ()) if token.expires > now]
        if want.server in self._tokens:
            self._tokens[want.server] = alive
        return next((token for token in alive if token.covers(want)), None)

    def _flight_key(self, want: Want) -> tuple[object, ...]:
        """The key of a running request whose token will cover this need, else a new key."""
        for other, key in self._flying.get(want.server, ()):
            if _future_token(other).covers(want):
                return key
        return *want.server, want.scopes, want.shared, want.exact

    async def _ask(self, want: Want, call: Call, key: tuple[object, ...]) -> Token:
        try:
            answer = await self._transport.send(_request(want), call)
            token = self._read(answer, want, call)
        finally:
            self._flying[want.server].remove((want, key))
        self._tokens.setdefault(want.server, []).append(token)
        return token

    def _read(self, answer: Answer, want: Want, call: Call) -> Token:
        host = authority(want.realm)
        if answer.status in (401, 403):
            raise self._reject(answer, want, call)
        if answer.status != 200:
            raise faults.unexpected(host, "token", answer.status, answer.body)
        value, life = _decode(answer.body, host)
        expires = self._clock.monotonic() + lifetime(life)
        return Token(Secret(value), frozenset(want.scopes), want.shared, expires)

    def _reject(self, answer: Answer, want: Want, call: Call) -> RegistryError:
        if want.credentials is None:
            return faults.refused(authority(want.realm), f"a token for {call.label[1]}", answer.status, answer.body)
        error = RegistryAuthFailed(
            f"Authentication failed for registry {call.instance.id} (HTTP {answer.status}): "
            f"{call.label[0]} credentials were rejected. Check the configured token/login/password and their scopes."
        )
        self._rejected[want.server] = (self._clock.monotonic(), error)
        return error

    def _raise_if_rejected(self, want: Want, call: Call) -> None:
        when, error = self._rejected.get(want.server, (None, None))
        if when is None or error is None:
            return
        if self._clock.monotonic() < when + REJECTED_S or when >= call.began:
            raise RegistryAuthFailed(error.message)
        del self._rejected[want.server]


def lifetime(expires_in: float) -> float:
    """Seconds a token is used: at most an hour, less a tenth or ten seconds, whichever is more."""
    life = min(max(expires_in, SHORTEST_LIFE_S), LONGEST_LIFE_S)
    return max(0.0, life - max(10.0, life / 10))


def _future_token(want: Want) -> Token:
    return Token(Secret(""), frozenset(want.scopes), want.shared, 0.0)


def _request(want: Want) -> Ask:
    query: list[tuple[str, str]] = list(want.realm.query.items())
    if want.service:
        query.append(("service", want.service))
    query += [("scope", scope) for scope in want.scopes]
    headers = {"Accept": "application/json"}
    if not _parameterless(want):
        query.append(("client_id", "drydock"))
    if want.credentials is not None:
        headers["Authorization"] = want.credentials.basic()
        query.append(("account", want.credentials.username))
    return Ask("GET", want.realm.with_query(query), headers, TOKEN_CAP, "token", guarded=want.guarded)


def _parameterless(want: Want) -> bool:
    """The public ECR gallery takes no parameters."""
    return not want.scopes and want.service is None


def _decode(body: bytes, host: str) -> tuple[str, float]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise RegistryError(f"{host}: invalid response of the token endpoint")
    for name in ("token", "access_token"):
        value = document.get(name)
        if isinstance(value, str) and value.strip() and value.isascii() and value.isprintable():
            return value, _seconds(document.get("expires_in"))
    raise RegistryError(f"{host}: token endpoint response does not contain token")


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else SHORTEST_LIFE_S


def batch(names: Sequence[str], template: str, wanted: str, size: int = 20, longest: int = 3500) -> tuple[str, ...]:
    """The scopes to ask for together with that of `wanted`: its group among the sorted names, at most 20 and 4 KiB."""
    ordered = sorted({*names, wanted})
    at = ordered.index(wanted) // size * size
    scopes: list[str] = [template.replace("{name}", wanted)]
    for name in ordered[at : at + size]:
        scope = template.replace("{name}", name)
        if scope not in scopes and sum(len(s) + 16 for s in scopes) + len(scope) < longest:
            scopes.append(scope)
    return tuple(sorted(scopes))
