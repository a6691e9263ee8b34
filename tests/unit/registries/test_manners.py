"""Retries, 429 in all its forms, pauses, priorities and concurrency (registries.md §6.1–6.4)."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Awaitable, Callable, Mapping

import pytest

from drydock.core.errors import RegistryNetworkError, RegistryRateLimited
from drydock.registries.limiter import INTERACTIVE, LOWEST_RATE, SCHEDULED, HostLimiter, HostPaused
from drydock.registries.room import Registries
from drydock.registries.spec import Pace
from lab.proxy import Fault, Proxy
from lab.registry import RegistryServer

from .conftest import ImpatientClock

MakeService = Callable[..., Awaitable[Registries]]


async def tags(service: Registries, proxy: Proxy, repository: str = "demo/app") -> tuple[str, ...]:
    async with service.poll(not_before=float("inf")) as poll:
        return (await poll.tags(service.route(proxy.host, repository))).names


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_passing_faults_are_asked_again(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], status: int
) -> None:
    proxy.faults = [Fault("/tags/list", status=status, times=3)]
    assert len(await tags(service, proxy)) == 3
    assert proxy.count() == {"tags": 4}


async def test_lasting_faults_are_network_errors(service: Registries, proxy: Proxy) -> None:
    proxy.faults = [Fault("/tags/list", status=503)]
    with pytest.raises(RegistryNetworkError, match="HTTP 503"):
        await tags(service, proxy)
    assert proxy.count() == {"tags": 4}


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_final_answers_are_not_asked_again(service: Registries, proxy: Proxy, status: int) -> None:
    proxy.faults = [Fault("/tags/list", status=status)]
    with pytest.raises(Exception, match="tag list"):
        await tags(service, proxy)
    assert proxy.count() == {"tags": 1}


async def test_a_slow_registry_times_out(
    make_service: MakeService, proxy: Proxy, pushed: Mapping[str, str], clock: ImpatientClock
) -> None:
    service = await make_service({"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url}, http={"timeout_s": 0.05})
    proxy.faults = [Fault("/tags/list", delay=5.0)]
    with pytest.raises(RegistryNetworkError, match="timed out"):
        await tags(service, proxy)
    assert len(clock.slept) == 2, "asked three times, whether or not the requests got there in time"


FORMS = {
    "seconds": ("7", 7.0),
    "decimal": ("2.5", 2.5),
    "duration": ("1m30s", None),
    "microseconds": ("714.6µs", 0.1),
    "negative": ("-5", 0.1),
    "junk": ("soon", 0.0),
}


@pytest.mark.parametrize("form", FORMS)
async def test_429_pauses_as_advised(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], clock: ImpatientClock, form: str
) -> None:
    text, seconds = FORMS[form]
    proxy.faults = [Fault("/tags/list", status=429, times=1, headers={"Retry-After": text})]
    if seconds is None:
        with pytest.raises(RegistryRateLimited):
            await tags(service, proxy)
        return
    assert len(await tags(service, proxy)) == 3
    assert sum(clock.slept) >= seconds - 0.1, "what has passed since the answer is not waited for again"
    assert proxy.count() == {"tags": 2}


async def test_429_with_a_date_and_with_an_instant(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], clock: ImpatientClock
) -> None:
    for headers in (
        {"Retry-After": email.utils.formatdate(time.time() + 30, usegmt=True)},
        {"X-RateLimit-Reset": str(int(time.time() + clock.skipped + 60))},
    ):
        before = sum(clock.slept)
        proxy.faults = [Fault("/tags/list", status=429, times=1, headers=headers)]
        assert len(await tags(service, proxy)) == 3
        assert 20 < sum(clock.slept) - before < 62


async def test_a_long_pause_fails_at_once_and_isolates_the_host(
    make_service: MakeService,
    proxy: Proxy,
    proxies: Callable[..., Awaitable[Proxy]],
    registry: RegistryServer,
    pushed: Mapping[str, str],
    clock: ImpatientClock,
) -> None:
    other = await proxies(registry.url)
    service = await make_service({"DD_REGISTRY_CUSTOM_A_URL": proxy.url, "DD_REGISTRY_CUSTOM_B_URL": other.url})
    proxy.faults = [Fault("", status=429, headers={"Retry-After": "3600"}, times=1)]
    with pytest.raises(RegistryRateLimited, match=r"rate limit reached, next try after \d\d:\d\d UTC") as caught:
        await tags(service, proxy)
    assert caught.value.retry_at is not None
    assert 3_500_000 < caught.value.retry_at - clock.now_ms() < 3_700_000
    for repository in ("demo/app", "demo/multi"):
        with pytest.raises(RegistryRateLimited):
            await tags(service, proxy, repository)
    assert len(proxy.seen) == 1
    assert 3500 < service.paused()[proxy.host] <= 3600
    assert len(await tags(service, other)) == 3
    clock.advance(3601)
    assert len(await tags(service, proxy)) == 3


async def test_refill_hints_are_followed_for_half_a_minute(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], clock: ImpatientClock
) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 23.722\xc2\xb5s, allowed: 44000/minute"}]}'
    proxy.faults = [Fault("/tags/list", status=429, body=body, times=9)]
    assert len(await tags(service, proxy)) == 3
    assert proxy.count() == {"tags": 10}
    proxy.faults = [Fault("/tags/list", status=429, body=body)]
    began = clock.monotonic()
    with pytest.raises(RegistryRateLimited):
        await tags(service, proxy)
    assert 30 <= clock.monotonic() - began < 60


async def test_quota_is_reported(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    quota = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}
    proxy.faults = [Fault("/manifests/", headers=quota)]
    async with service.poll() as poll:
        await poll.head_digest(service.route(proxy.host, "demo/app"), "latest")
        assert poll.requests()[0].quota_left == 76


async def test_dates_are_skipped_when_the_quota_is_low(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    quota = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "9;w=21600"}
    proxy.faults = [Fault("/manifests/", headers=quota)]
    route = service.route(proxy.host, "demo/app")
    async with service.poll() as poll:
        digest = await poll.head_digest(route, "latest")
        assert await poll.published_at(route, "latest", digest) is None
    assert proxy.count() == {"head": 1}


async def test_concurrency_key(make_service: MakeService, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    proxy.faults = [Fault("", delay=0.02)]
    variables = {"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url, "DD_REGISTRY_CUSTOM_LAB_CONCURRENCY": "2"}
    service = await make_service(variables)
    async with service.poll() as poll:
        await poll.tags(service.route(proxy.host, "demo/app"))
        routes = [service.route(proxy.host, f"demo/x{number}") for number in range(12)]
        await asyncio.gather(*(poll.tags(route) for route in routes), return_exceptions=True)
    assert proxy.busiest == 2


# the limiter by itself


async def test_interactive_requests_overtake() -> None:
    limiter = HostLimiter(ImpatientClock(), Pace(100, 100, 1))
    order: list[str] = []

    async def take(name: str, priority: int) -> None:
        async with limiter.permit(priority):
            order.append(name)
            await asyncio.sleep(0)

    jobs = [("s1", SCHEDULED), ("s2", SCHEDULED), ("s3", SCHEDULED), ("i1", INTERACTIVE), ("i2", INTERACTIVE)]
    await asyncio.gather(*(take(name, priority) for name, priority in jobs))
    assert order == ["s1", "i1", "i2", "s2", "s3"]


async def test_pace_halves_and_recovers() -> None:
    clock = ImpatientClock()
    limiter = HostLimiter(clock, Pace(8, 10, 4))
    limiter.slow_down(1.0)
    assert (limiter.rate, limiter.concurrency) == (4, 1)
    for _ in range(10):
        limiter.slow_down(0.1)
    assert limiter.rate == LOWEST_RATE
    for _ in range(20 * 4):
        limiter.went_well()
    assert (limiter.rate, limiter.concurrency) == (8, 4)


async def test_rate_and_burst() -> None:
    clock = ImpatientClock()
    limiter = HostLimiter(clock, Pace(2, 10, 4))

    async def take() -> None:
        async with limiter.permit(SCHEDULED):
            pass

    await asyncio.gather(*(take() for _ in range(10)))
    assert clock.skipped == 0
    await asyncio.gather(*(take() for _ in range(10)))
    assert 4.5 < clock.skipped < 6


async def test_a_long_pause_fails_those_who_wait() -> None:
    limiter = HostLimiter(ImpatientClock(), Pace(10, 10, 1))

    async def take() -> None:
        async with limiter.permit(SCHEDULED):
            raise AssertionError("not while paused")

    async with limiter.permit(SCHEDULED):
        waiting = [asyncio.create_task(take()) for _ in range(3)]
        await asyncio.sleep(0)
        limiter.slow_down(600)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [HostPaused] * 3


async def test_a_cancelled_waiter_keeps_no_permit() -> None:
    limiter = HostLimiter(ImpatientClock(), Pace(10, 10, 1))

    async def take() -> None:
        async with limiter.permit(SCHEDULED):
            await asyncio.sleep(0)

    async with limiter.permit(SCHEDULED):
        waiter = asyncio.create_task(take())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    async with asyncio.timeout(5):
        await take()
