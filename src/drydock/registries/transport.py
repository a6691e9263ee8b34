"""Requests with manners: pace per host, retries, pauses, quotas and accounting (registries.md §6.1–6.4).

One `Ask` in, one final `Answer` out (any status that is not worth retrying), or an error of the tree. Signing in and
redirects are `client.py`, the exchange itself is `wire.py`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog
from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import DrydockError, RegistryError, RegistryNotFound
from drydock.registries import faults
from drydock.registries.accounting import Label, Ledger, Metrics, Observer
from drydock.registries.headers import advised_wait, parse_quota
from drydock.registries.hosts import authority
from drydock.registries.instances import Instance
from drydock.registries.limiter import LONG_PAUSE_S, HostLimiter, HostPaused
from drydock.registries.spec import HOST_PACE, PUBLIC, Pace
from drydock.registries.tls import TlsContexts, TlsSettings
from drydock.registries.wire import Answer, Hop, NoAnswer, Wire

log = structlog.get_logger("registries")

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
STATUS_RETRIES = 3
NETWORK_RETRIES = 2
LONGEST_BACKOFF_S = 60.0
LOOKUP_S = 120.0
"""Time that the exchanges and back-offs of one request may take together; waiting for a permit does not count."""
REFILL_S = 30.0
"""Waits below a second hint at a shared bucket: asked again for so long, however often."""


@dataclass(frozen=True)
class Call:
    """On whose behalf: the instance, the repository, the lane and ledger of the pass, and when the pass began.

    `batches`: the repositories that the pass will visit, by instance id and host, for shared tokens (§5.5).
    """

    instance: Instance
    label: Label
    lane: int
    ledger: Ledger
    began: float
    own_host: str
    batches: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """One request: what, how large its answer may be, which kind it is in the metrics, and whether only a public
    address will do."""

    method: str
    url: URL
    headers: Mapping[str, str]
    cap: int
    kind: str
    guarded: bool = False
    body: bytes | None = None


class _Tries:
    """How often and how long one request has been tried."""

    def __init__(self, base_s: float) -> None:
        self._base = base_s
        self.status = 0
        self.network = 0
        self.refilling_since: float | None = None
        self.spent = 0.0

    def backoff(self) -> float:
        """Full jitter on 1, 2, 4 … seconds."""
        exponent = max(0, self.status + self.network - 1)
        return random.uniform(0, min(LONGEST_BACKOFF_S, self._base * 2**exponent))

    def again_after_status(self) -> bool:
        self.status += 1
        return self.status <= STATUS_RETRIES and self.spent < LOOKUP_S

    def again_after_refill(self, now: float) -> bool:
        """`now` in the clock's monotonic seconds; waiting for the limiter counts too."""
        if self.refilling_since is None:
            self.refilling_since = now
        return now - self.refilling_since < REFILL_S

    def again_after_failure(self) -> bool:
        self.network += 1
        return self.network <= NETWORK_RETRIES and self.spent < LOOKUP_S


class Transport:
    """Sends requests for all instances; owns the limiters."""

    def __init__(
        self,
        wire: Wire,
        contexts: TlsContexts,
        clock: Clock,
        metrics: Metrics,
        *,
        paces: Mapping[str, Pace],
        concurrency: int | None = None,
        observer: Observer | None = None,
        backoff_s: float = 1.0,
    ) -> None:
        self._wire = wire
        self._contexts = contexts
        self._clock = clock
        self._metrics = metrics
        self._paces = paces
        self._concurrency = concurrency
        self.observer = observer
        self._backoff_s = backoff_s
        self._warned: dict[str, float] = {}
        self.limiters: dict[str, HostLimiter] = {}

    def close(self) -> None:
        """Stop the timers of the limiters."""
        for limiter in self.limiters.values():
            limiter.close()

    def limiter(self, host: str, call: Call) -> HostLimiter:
        """The limiter of a canonical host; the first instance that asks there sets its start values."""
        if host not in self.limiters:
            self.limiters[host] = HostLimiter(self._clock, self._pace(host, call))
        return self.limiters[host]

    def _pace(self, host: str, call: Call) -> Pace:
        own = call.instance.pace if host == call.own_host else None
        pace = self._paces.get(host) or own or HOST_PACE.get(host) or PUBLIC
        if self._concurrency is None or pace.concurrency != PUBLIC.concurrency or call.instance.get("concurrency"):
            return pace
        return replace(pace, concurrency=self._concurrency)

    async def send(self, ask: Ask, call: Call) -> Answer:
        """Ask until there is an answer worth having. Raises `RegistryNetworkError`, `RegistryRateLimited`,
        `RegistryNotFound` (a private host that no instance names)."""
        host = authority(ask.url)
        limiter = self.limiter(host, call)
        tries = _Tries(self._backoff_s)
        while True:
            try:
                answer = await self._attempt(ask, call, host, limiter, tries)
            except NoAnswer as failure:
                wait = self._after_failure(failure, ask, call, host, tries)
            else:
                if answer.status not in RETRIED or ask.method == "POST":
                    return answer
                again = self._after_status(answer, call, host, limiter, tries)
                if again is None:
                    return answer
                wait = again
            tries.spent += wait
            if wait:
                await self._clock.sleep(wait)

    async def _attempt(self, ask: Ask, call: Call, host: str, limiter: HostLimiter, tries: _Tries) -> Answer:
        hop = self._hop(ask, call, host)
        try:
            async with limiter.permit(call.lane):
                began = self._clock.monotonic()
                try:
                    answer = await self._wire.send(hop)
                except NoAnswer:
                    self._observe(ask, call, began, "error", tries)
                    raise
                self._observe(ask, call, began, str(answer.status), tries)
        except HostPaused as paused:
            raise self._paused(host, paused.until) from None
        self._learn(answer, host, limiter)
        return answer

    def _hop(self, ask: Ask, call: Call, host: str) -> Hop:
        settings = TlsSettings.of(call.instance)
        if settings.insecure and ask.url.scheme == "https":
            self._warn_insecure(call.instance.id)
        own = host == call.own_host
        ports = {80, 443}
        if call.instance.id == "auto.public" and own:
            ports.add(ask.url.port or 443)
        return Hop(
            ask.method,
            ask.url,
            ask.headers,
            ask.cap,
            self._contexts.get(settings if own else settings.without_client()),
            guarded=ask.guarded,
            ports=frozenset(ports),
            body=ask.body,
            sent=lambda: call.ledger.sent(call.label, host, ask.kind),
        )

    def _warn_insecure(self, id_: str) -> None:
        """Once per instance and hour."""
        now = self._clock.monotonic()
        if now - self._warned.get(id_, float("-inf")) >= 3600:
            self._warned[id_] = now
            log.warning("registries.insecure", registry=id_, reason="certificates are not verified (INSECURE=true)")

    def _observe(self, ask: Ask, call: Call, began: float, status: str, tries: _Tries) -> None:
        seconds = self._clock.monotonic() - began
        tries.spent += seconds
        type_, name = call.instance.type, call.instance.name
        self._metrics.requests[type_, name, ask.kind, status] += 1
        if self.observer is not None and ask.kind not in ("token", "metadata"):
            self.observer(type_, name, seconds)
        shown = f"{ask.url.scheme}://{ask.url.host_port_subcomponent}{ask.url.path}"
        log.debug(
            "registry.request", registry=call.instance.id, method=ask.method, url=faults.clean(shown), status=status
        )

    def _learn(self, answer: Answer, host: str, limiter: HostLimiter) -> None:
        if answer.status != 429:
            limiter.went_well()
        quota = parse_quota(answer.headers)
        if quota is not None and quota.remaining is not None:
            self._metrics.remaining[host] = quota.remaining
        if quota is not None and quota.limit is not None:
            self._metrics.limits[host] = quota.limit

    def _after_status(self, answer: Answer, call: Call, host: str, limiter: HostLimiter, tries: _Tries) -> float | None:
        """Seconds to wait before the next try; None when this answer is final."""
        limited = answer.status == 429
        advised = advised_wait(answer.headers, answer.body, self._clock.now_ms())
        refill = limited and advised is not None and advised < 1
        again = tries.again_after_refill(self._clock.monotonic()) if refill else tries.again_after_status()
        wait = advised if advised is not None else tries.backoff()
        if limited or wait > LONG_PAUSE_S:
            limiter.slow_down(wait)
        if wait > LONG_PAUSE_S or (limited and not again):
            raise self._paused(host, limiter.paused_until)
        if not again:
            return None
        self._metrics.retries[host, str(answer.status)] += 1
        call.ledger.retries += 1
        return 0.0 if limited else wait

    def _after_failure(self, failure: NoAnswer, ask: Ask, call: Call, host: str, tries: _Tries) -> float:
        if ask.method == "POST" or not failure.transient or not tries.again_after_failure():
            raise self._error(failure, call, host) from None
        self._metrics.retries[host, failure.reason] += 1
        call.ledger.retries += 1
        return tries.backoff()

    def _error(self, failure: NoAnswer, call: Call, host: str) -> DrydockError:
        if failure.reason == "size":
            return RegistryError(f"{host}: {failure.text}")
        if failure.reason == "address" and call.instance.id == "auto.public" and host == call.own_host:
            return RegistryNotFound(
                f"No registry is configured for {host}, and hosts with private addresses are never asked unasked",
                hint=f"declare it with DD_REGISTRY_CUSTOM_<NAME>_URL=https://{host}",
            )
        return faults.network(host, failure.text, hint=_HINTS.get(failure.reason))

    def _paused(self, host: str, until: float) -> DrydockError:
        left_ms = max(0, round((until - self._clock.monotonic()) * 1000))
        return faults.rate_limited(host, self._clock.now_ms() + left_ms)


_HINTS: Mapping[str, str] = {
    "tls": "trust the registry's certificate authority with DD_REGISTRY_<TYPE>_<NAME>_CAFILE",
    "address": "private addresses are refused here; DD_REGISTRIES_ALLOW_PRIVATE_REALMS=true lifts the rule",
    "refused": "check that the registry runs and that host and port are right",
    "dns": "check the host name and the resolver",
}
