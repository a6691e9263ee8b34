"""Requests with manners: pace per host, retries, pauses, quotas and accounting (registries.md §6.1–6.4, §10).

One `RegistryRequest` in, one final `Answer` out (any status that is not worth retrying), or an error of the tree. Signing
in and redirects are `client.py`, the exchange itself is `drydock.http`.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import NamedTuple

import structlog
from yarl import URL

from drydock.backoff import Backoff
from drydock.clock import Clock
from drydock.core.errors import DrydockError, RegistryError, RegistryNotFound
from drydock.core.reference import DOCKER_HUB
from drydock.core.trace import HostRequests
from drydock.http.addresses import PUBLIC_ONLY, AddressRule
from drydock.http.client import Answer, HttpClient, HttpRequest, TransportError
from drydock.http.tls import SYSTEM_ROOTS
from drydock.registries import errors
from drydock.registries.instances import AUTO_INSTANCE, Route, authority
from drydock.registries.limiter import LONG_PAUSE_S, HostLimiter, HostPaused
from drydock.registries.spec import HOST_PACE, PUBLIC, Pace

log = structlog.get_logger("registries")

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
STATUS_RETRIES = 3
NETWORK_RETRIES = 2
LONGEST_BACKOFF_S = 60.0
LOOKUP_S = 120.0
"""Time that the exchanges and back-offs of one request may take together; waiting for a permit does not count."""
REFILL_S = 30.0
"""Waits below a second hint at a shared bucket: asked again for so long, however often."""
INSECURE_TOLD_S = 3600.0
GUARDED_PORTS = frozenset({80, 443})
FLOOR_S = 0.1
"""The shortest wait that is honoured; registries advise microseconds."""
EPOCH_FROM = 1_000_000_000
"""A whole number above this is an instant, not a wait."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|h|m|s)")
_UNIT = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LIMIT = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w\s*=\s*(\d{1,9}))?")
_BODY_WAIT = re.compile(r"retry-after:\s*([^,\s\"]+)", re.IGNORECASE)

Observer = Callable[[str, str, float], None]
"""Called with type, name and seconds of every registry API request, failed ones too (`dd_registry_response`)."""
Label = tuple[str, str]
"""Host and repository a request was made for."""


@dataclass
class Metrics:
    """Counters and gauges of one process since its start; plain numbers, exporting them is the work of others."""

    digest_hits: int = 0
    digest_misses: int = 0
    requests: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """By type, name, kind (token tags head manifest blob metadata) and status (`error` when there was no answer)."""
    retries: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By host and reason."""
    remaining: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """Pull quota by host: how many are left, of how many (`limits`)."""


class Account:
    """The account of one pass over containers: since when (monotonic seconds), in which priority, what was asked of whom.

    A request counts when its head went out on a connection, so silent repetitions by the HTTP library are counted as
    well. `batches`: the repositories that the pass will visit, by instance id and host, for shared tokens (§5.5).
    """

    def __init__(self, began: float, priority: int) -> None:
        self.began = began
        self.priority = priority
        self.batches: dict[tuple[str, str], tuple[str, ...]] = {}
        self._requests: defaultdict[Label, Counter[str]] = defaultdict(Counter)
        self._cached: defaultdict[Label, Counter[str]] = defaultdict(Counter)
        self.kinds: Counter[str] = Counter()
        self.retries = 0
        self.pulls = 0
        """Requests that count against a pull quota: manifests read at Docker Hub."""
        self.hits = 0
        self.misses = 0

    def sent(self, label: Label, host: str, kind: str) -> None:
        """One request left for `host` on behalf of `label`."""
        self._requests[label][host] += 1
        self.kinds[kind] += 1
        self.pulls += kind == "manifest" and label[0] == DOCKER_HUB

    def served(self, route: Route) -> None:
        """One question about an image was answered without a request."""
        self._cached[route.host, route.repository][route.host] += 1

    def by_host(self, remaining: Mapping[str, int], label: Label | None = None) -> list[HostRequests]:
        """Totals per host, of everything or of one repository, hosts in alphabetical order."""
        requests, cached = (
            sum(counters.values(), Counter[str]()) if label is None else counters.get(label, Counter[str]())
            for counters in (self._requests, self._cached)
        )
        return [
            HostRequests(host=host, requests=requests[host], cached=cached[host], quota_left=remaining.get(host))
            for host in sorted(requests.keys() | cached.keys())
        ]


@dataclass(frozen=True)
class RegistryRequest:
    """One request about the repository of a route, on behalf of a pass.

    `cap`: the largest accepted answer in bytes. `kind` as in `Metrics.requests`. `guarded`: only a public address on a
    usual port will do.
    """

    method: str
    url: URL
    headers: Mapping[str, str]
    cap: int
    kind: str
    route: Route
    account: Account
    guarded: bool = False
    body: bytes | None = None


class _Tries:
    """How often and how long one request has been tried."""

    def __init__(self, first_backoff_s: float) -> None:
        self._backoff = Backoff(first_backoff_s, LONGEST_BACKOFF_S)
        self._failures = 0
        self._refusals = 0
        self._refilling_since: float | None = None
        self.spent_s = 0.0

    def backoff_s(self) -> float:
        """Full jitter: clients that failed together do not come back together."""
        return random.uniform(0, self._backoff.next_s())

    def again_after_failure(self) -> bool:
        self._failures += 1
        return self._failures <= NETWORK_RETRIES and self.spent_s < LOOKUP_S

    def again_after_status(self) -> bool:
        self._refusals += 1
        return self._refusals <= STATUS_RETRIES and self.spent_s < LOOKUP_S

    def again_after_refill(self, now: float) -> bool:
        """`now` in the clock's monotonic seconds; waiting for the limiter counts too."""
        if self._refilling_since is None:
            self._refilling_since = now
        return now - self._refilling_since < REFILL_S


class Transport:
    """Sends requests for all instances; owns the limiters. `rule` is what `guarded` means."""

    def __init__(
        self,
        http: HttpClient,
        clock: Clock,
        paces: Mapping[str, Pace],
        concurrency: int | None = None,
        backoff_s: float = 1.0,
        rule: AddressRule = PUBLIC_ONLY,
    ) -> None:
        self._http = http
        self._clock = clock
        self._paces = paces
        self._concurrency = concurrency
        self._backoff_s = backoff_s
        self._rule = rule
        self._told_insecure: dict[str, float] = {}
        self.metrics = Metrics()
        self.observers: list[Observer] = []
        self.limiters: dict[str, HostLimiter] = {}

    def close(self) -> None:
        """Stop the timers of the limiters."""
        for limiter in self.limiters.values():
            limiter.close()

    async def send(self, request: RegistryRequest) -> Answer:
        """Ask until there is an answer worth having. Raises `RegistryNetworkError`, `RegistryRateLimited`,
        `RegistryNotFound` (a private host that no instance names)."""
        host, clock = authority(request.url), self._clock
        limiter = self._limiter(host, request)
        outgoing = self._http_request(request, host)
        tries = _Tries(self._backoff_s)
        while True:
            try:
                async with limiter.permit(request.account.priority):
                    began = clock.monotonic()
                    try:
                        outcome: Answer | TransportError = await self._http.exchange(outgoing)
                    except TransportError as failure:
                        outcome = failure
                    seconds = clock.monotonic() - began
            except HostPaused as paused:
                raise self._paused(host, paused.until) from None
            tries.spent_s += seconds
            self._note(request, host, outcome, seconds)

            repeatable = request.method != "POST"
            if isinstance(outcome, TransportError):
                if not repeatable or not outcome.transient or not tries.again_after_failure():
                    raise self._error(outcome, request, host) from None
                reason, wait_s = str(outcome.reason), tries.backoff_s()
            elif outcome.status not in RETRIED or not repeatable:
                return outcome
            else:
                limited = outcome.status == 429
                advised_s = advised_wait(outcome.headers, outcome.body, clock.now_ms())
                refill = limited and advised_s is not None and advised_s < 1
                again = tries.again_after_refill(clock.monotonic()) if refill else tries.again_after_status()
                wait_s = tries.backoff_s() if advised_s is None else advised_s
                if limited or wait_s > LONG_PAUSE_S:
                    limiter.slow_down(wait_s)
                if wait_s > LONG_PAUSE_S or (limited and not again):
                    raise self._paused(host, limiter.paused_until)
                if not again:
                    return outcome
                reason = str(outcome.status)
                if limited:
                    wait_s = 0.0  # the limiter waits, for every request to this host

            self.metrics.retries[host, reason] += 1
            request.account.retries += 1
            tries.spent_s += wait_s
            if wait_s:
                await clock.sleep(wait_s)

    def _limiter(self, host: str, request: RegistryRequest) -> HostLimiter:
        """The limiter of a canonical host; the first instance that asks there sets its start values."""
        if host not in self.limiters:
            instance = request.route.needed
            own = instance.pace if host == request.route.authority else None
            pace = self._paces.get(host) or own or HOST_PACE.get(host) or PUBLIC
            if self._concurrency and pace.concurrency == PUBLIC.concurrency and not instance.options.concurrency:
                pace = replace(pace, concurrency=self._concurrency)
            self.limiters[host] = HostLimiter(self._clock, pace)
        return self.limiters[host]

    def _http_request(self, request: RegistryRequest, host: str) -> HttpRequest:
        """TLS files go to every host that an instance leads to, its client certificate to its own host only."""
        instance, own = request.route.needed, host == request.route.authority
        tls = SYSTEM_ROOTS
        if request.url.scheme == "https":
            tls = instance.tls if own else instance.tls.without_client()
            now = self._clock.monotonic()
            if tls.insecure and now - self._told_insecure.get(instance.id, float("-inf")) >= INSECURE_TOLD_S:
                self._told_insecure[instance.id] = now
                reason = "certificates are not verified (INSECURE=true)"
                log.warning("registries.insecure", registry=instance.id, reason=reason)
        # the port of an image that no instance serves was chosen by the author of the reference
        ports = GUARDED_PORTS | {request.url.port} if instance is AUTO_INSTANCE and own else GUARDED_PORTS
        if request.guarded and request.url.port not in ports:
            raise errors.network(host, f"port {request.url.port} is not allowed here", hint=_HINTS["address"])
        return HttpRequest(
            request.method,
            request.url,
            request.headers,
            request.body,
            cap=request.cap,
            tls=tls,
            rule=self._rule if request.guarded else None,
            sent=partial(request.account.sent, (request.route.host, request.route.repository), host, request.kind),
        )

    def _note(self, request: RegistryRequest, host: str, outcome: Answer | TransportError, seconds: float) -> None:
        """Account for one exchange, and learn from the answer how the host is."""
        instance = request.route.needed
        status = "error" if isinstance(outcome, TransportError) else str(outcome.status)
        self.metrics.requests[instance.type, instance.name, request.kind, status] += 1
        if request.kind not in ("token", "metadata"):
            for observer in self.observers:
                observer(instance.type, instance.name, seconds)
        # without its query, where cursors and signatures of storage stand
        shown = f"{request.url.scheme}://{request.url.host_port_subcomponent}{request.url.raw_path}"
        log.debug("registry.request", registry=instance.id, method=request.method, url=shown, status=status)
        if isinstance(outcome, TransportError):
            return
        if outcome.status != 429:
            self.limiters[host].went_well()
        quota = parse_quota(outcome.headers)
        if quota is not None and quota.remaining is not None:
            self.metrics.remaining[host] = quota.remaining
        if quota is not None and quota.limit is not None:
            self.metrics.limits[host] = quota.limit

    def _error(self, failure: TransportError, request: RegistryRequest, host: str) -> DrydockError:
        route = request.route
        if failure.reason == "size":
            return RegistryError(f"{host}: {failure.text}")
        if failure.reason == "address" and route.needed is AUTO_INSTANCE and host == route.authority:
            return RegistryNotFound(
                f"No registry is configured for {host}, and hosts with private addresses are never asked unasked",
                hint=f"declare it with DD_REGISTRY_CUSTOM_<NAME>_URL=https://{host}",
            )
        text = f"certificate or TLS error: {failure.text}" if failure.reason == "tls" else failure.text
        return errors.network(host, text, hint=_HINTS.get(failure.reason))

    def _paused(self, host: str, until: float) -> DrydockError:
        left_ms = max(0, round((until - self._clock.monotonic()) * 1000))
        return errors.rate_limited(host, self._clock.now_ms() + left_ms)


_HINTS: Mapping[str, str] = {
    "tls": "trust the registry's certificate authority with DD_REGISTRY_<TYPE>_<NAME>_CAFILE",
    "address": "private addresses are refused here; DD_REGISTRIES_ALLOW_PRIVATE_REALMS=true lifts the rule",
    "refused": "check that the registry runs and that host and port are right",
    "dns": "check the host name and the resolver",
}


# what hosts say about waiting and quotas: hostile text, never an exception


def parse_wait(text: object, now_ms: int) -> float | None:
    """Seconds that a `Retry-After` asks for: number, HTTP date, Go duration or epoch seconds; None for junk."""
    if not isinstance(text, str) or not text.strip() or len(text) > 64:
        return None
    text = text.strip()
    number = _number(text)
    if number is not None:
        return max(0.0, number - now_ms / 1000) if number > EPOCH_FROM else max(0.0, number)
    if text[0].isdigit():
        parts = _DURATION.findall(text)
        whole = parts and "".join(f"{count}{unit}" for count, unit in parts) == text
        return sum(float(count) * _UNIT[unit] for count, unit in parts) if whole else None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ms / 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?", text) else None


def advised_wait(headers: Mapping[str, str], body: bytes, now_ms: int) -> float | None:
    """The wait a 429 or 503 advises, from any of the places registries use; at least `FLOOR_S`, None if it has none."""
    said = _BODY_WAIT.search(body[:4096].decode("utf-8", "replace"))
    texts = [headers.get("Retry-After"), headers.get("X-Retry-After"), said[1] if said else None]
    reset = headers.get("X-RateLimit-Reset")
    if reset and (_number(reset.strip()) or 0) > EPOCH_FROM:
        texts.append(reset)
    for text in texts:
        wait = parse_wait(text, now_ms)
        if wait is not None:
            return max(FLOOR_S, wait)
    return None


class Quota(NamedTuple):
    """A pull quota: how many per window of how many seconds, and how many are left."""

    limit: int | None
    remaining: int | None
    window_s: int | None


def parse_quota(headers: Mapping[str, str]) -> Quota | None:
    """Docker Hub's `ratelimit-limit: 100;w=21600` and `ratelimit-remaining`; None when the answer has neither."""
    limit, remaining = (_LIMIT.match(headers.get(f"ratelimit-{name}") or "") for name in ("limit", "remaining"))
    if limit is None and remaining is None:
        return None
    window = (limit and limit[2]) or (remaining and remaining[2])
    return Quota(
        int(limit[1]) if limit else None, int(remaining[1]) if remaining else None, int(window) if window else None
    )
