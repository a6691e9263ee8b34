"""What the fleet keeps, inherits and tells (watching.md §9, §13)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.http_app import HttpApp, build_app
from drydock.core.errors import NotFound
from drydock.core.model import CheckError, Container, Details, EnvEntry, HostKey, Result, UpdatePolicy, identity_key
from drydock.core.times import DAY_MS, to_iso
from drydock.core.trace import Step, Trace
from drydock.events import Bus, ContainerAdded, ContainerRemoved, ContainerUpdated, HealthChanged
from drydock.fleet.counters import Counters
from drydock.fleet.fleet import Fleet
from drydock.fleet.selection import Wanted, select
from kit.clock import ManualClock
from kit.containers import container, container_id, image

ONE, TWO = container_id(1), container_id(2)
MINUTE = 60_000
TRACE = Trace(steps=[Step(stage="kind", outcome="pass", reason="minor")])


def kinds(http_app: HttpApp) -> list[str]:
    return [type(event).__name__ for event in http_app.events]


async def test_put_get_remove(http_app: HttpApp) -> None:
    stored = await http_app.fleet.put(container(1, "web", update="1.1.0"), TRACE)
    assert stored.update_detected_at == stored.first_seen_at == to_iso(http_app.clock.now_ms())
    assert http_app.fleet.get(ONE) == http_app.fleet.need(ONE) == stored
    assert http_app.fleet.trace(ONE) == TRACE
    assert http_app.fleet.by_identity("::local::web") == http_app.fleet.by_audit_key("::local::web") == [stored]
    assert http_app.fleet.by_host(HostKey(None, "local")) == [stored]
    assert http_app.fleet.by_host(HostKey("edge", "local")) == []
    assert await http_app.fleet.remove(ONE) == stored
    assert await http_app.fleet.remove(ONE) is None
    assert (http_app.fleet.all(), len(http_app.fleet), http_app.fleet.by_identity("::local::web")) == ([], 0, [])
    with pytest.raises(NotFound, match="Container not found"):
        http_app.fleet.need(ONE)
    assert kinds(http_app) == ["ContainerAdded", "ContainerRemoved"]


async def test_a_put_without_trace_keeps_the_known_one(http_app: HttpApp) -> None:
    await http_app.fleet.put(container(1), TRACE)
    await http_app.fleet.put(container(1, status="exited"))
    assert http_app.fleet.trace(ONE) == TRACE
    again = await reopened(http_app)
    assert again.fleet.trace(ONE) == TRACE
    await again.store.close()


async def reopened(http_app: HttpApp) -> HttpApp:
    """The same store in a new process."""
    location = http_app.store.database.location
    assert location is not None
    await http_app.store.close()
    made = await build_app(location.directory.parent)
    made.clock.advance((http_app.clock.now_ms() - made.clock.now_ms()) / 1000)
    return made


# events


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": "exited"}, True),
        ({"update": "1.1.0"}, True),
        ({"error": CheckError(message="401")}, True),
        ({"tag": "2.0.0"}, True),
        ({"security": {"scan": {}}}, True),
        ({"update_policy_overrides": UpdatePolicy(skip_tags=["9"])}, True),
        ({"health": "healthy"}, True),
        ({"display_name": "other"}, False),
        ({"labels": {"a": "b"}}, False),
        ({}, False),
    ],
)
async def test_only_meaningful_changes_are_told(http_app: HttpApp, changes: dict[str, Any], told: bool) -> None:
    await http_app.seed(container(1))
    http_app.events.clear()
    await http_app.seed(container(1, **changes))
    assert kinds(http_app) == (["ContainerUpdated"] if told else [])
    if told:
        event = http_app.events[0]
        assert isinstance(event, ContainerUpdated)
        assert event.previous == container(1)


async def test_health_transitions(http_app: HttpApp) -> None:
    def healthy(health: str | None, started: str = "a") -> Container:
        return container(1, health=health, details=Details(ports=[], volumes=[], env=[], started_at=started))

    steps = [
        (None, "a"),
        ("unhealthy", "a"),
        ("healthy", "a"),
        ("unhealthy", "a"),
        ("unhealthy", "a"),
        ("unhealthy", "b"),
    ]
    told = []
    for health, started in steps:
        http_app.events.clear()
        await http_app.seed(healthy(health, started))
        told.append(any(isinstance(event, HealthChanged) for event in http_app.events))
    assert told == [False, False, False, True, False, True]


async def test_rollback_leftovers_come_and_go_unseen(http_app: HttpApp) -> None:
    await http_app.seed(container(1, "web"))
    await http_app.seed(container(1, "web-old-1700000000000"))
    assert [type(event) for event in http_app.events] == [ContainerAdded, ContainerRemoved]
    removed = http_app.events[1]
    assert isinstance(removed, ContainerRemoved)
    assert (removed.container.name, removed.replacement_expected) == ("web", True)
    await http_app.fleet.remove(ONE)
    assert len(http_app.events) == 2
    await http_app.seed(container(1, "web"))
    assert isinstance(http_app.events[2], ContainerAdded)


# recreation


async def recreate(http_app: HttpApp, wait_ms: int, *, expected: bool = True, **changes: Any) -> Container:
    await http_app.seed(container(1, "web", update="1.1.0", update_policy_overrides=UpdatePolicy(skip_tags=["9"])))
    http_app.clock.advance(1)
    await http_app.fleet.remove(ONE, replacement_expected=expected)
    http_app.clock.advance(wait_ms / 1000)
    return await http_app.fleet.put(container(2, "web", **{"update": "1.1.0", **changes}))


async def test_clocks_and_policy_survive_recreation(http_app: HttpApp) -> None:
    began = to_iso(http_app.clock.now_ms())
    new = await recreate(http_app, 29 * MINUTE)
    assert (new.update_detected_at, new.first_seen_at) == (began, began)
    assert new.update_policy_overrides == UpdatePolicy(skip_tags=["9"])


async def test_they_survive_a_restart_too(http_app: HttpApp) -> None:
    began = to_iso(http_app.clock.now_ms())
    await http_app.seed(container(1, "web", update="1.1.0", update_policy_overrides=UpdatePolicy(skip_tags=["9"])))
    await http_app.fleet.remove(ONE, replacement_expected=True)
    again = await reopened(http_app)
    again.clock.advance(MINUTE / 1000)
    new = await again.fleet.put(container(2, "web", update="1.1.0"))
    assert (new.update_detected_at, new.update_policy_overrides) == (began, UpdatePolicy(skip_tags=["9"]))
    assert await again.store.retention.load(0) == []
    await again.store.close()


async def test_clocks_expire_before_policies(http_app: HttpApp) -> None:
    new = await recreate(http_app, 30 * MINUTE)
    assert new.update_detected_at == to_iso(http_app.clock.now_ms())
    assert new.update_policy_overrides == UpdatePolicy(skip_tags=["9"])


async def test_policies_expire_after_a_week(http_app: HttpApp) -> None:
    assert (await recreate(http_app, 7 * DAY_MS)).update_policy_overrides is None


async def test_another_candidate_starts_a_new_clock(http_app: HttpApp) -> None:
    new = await recreate(http_app, MINUTE, update="1.2.0")
    assert new.update_detected_at == to_iso(http_app.clock.now_ms())


async def test_own_policy_wins_over_the_inherited_one(http_app: HttpApp) -> None:
    mine = UpdatePolicy(snooze_until="2030-01-01T00:00:00.000Z")
    assert (await recreate(http_app, MINUTE, update_policy_overrides=mine)).update_policy_overrides == mine


async def test_a_deleted_container_that_is_found_again_keeps_its_policy(http_app: HttpApp) -> None:
    new = await recreate(http_app, MINUTE, expected=False)
    assert new.update_policy_overrides == UpdatePolicy(skip_tags=["9"])
    assert new.update_detected_at == to_iso(http_app.clock.now_ms())


async def test_a_successor_may_come_before_the_old_one_leaves(http_app: HttpApp) -> None:
    began = to_iso(http_app.clock.now_ms())
    await http_app.seed(container(1, "web", update="1.1.0", update_policy_overrides=UpdatePolicy(skip_tags=["9"])))
    http_app.clock.advance(MINUTE / 1000)
    new = await http_app.fleet.put(container(2, "web", update="1.1.0"))
    assert (new.update_detected_at, new.update_policy_overrides) == (began, UpdatePolicy(skip_tags=["9"]))


async def test_the_same_name_elsewhere_inherits_nothing(http_app: HttpApp) -> None:
    await recreate(http_app, MINUTE, watcher="other")
    found = http_app.fleet.need(TWO)
    assert (found.update_policy_overrides, found.update_detected_at) == (None, to_iso(http_app.clock.now_ms()))


@pytest.mark.parametrize(
    ("wait_ms", "image_id", "kept"), [(14 * MINUTE, "a", True), (15 * MINUTE, "a", False), (MINUTE, "b", False)]
)
async def test_scans_survive_while_they_describe_the_image(
    http_app: HttpApp, wait_ms: int, image_id: str, kept: bool
) -> None:
    scan = {"scan": {"status": "passed"}}
    await http_app.seed(container(1, "web", security=scan))
    await http_app.fleet.remove(ONE, replacement_expected=True)
    http_app.clock.advance(wait_ms / 1000)
    new = await http_app.fleet.put(container(2, "web", image=image(id="sha256:" + image_id * 64)))
    assert new.security == (scan if kept else None)


# marks and secrets


async def test_a_check_from_before_an_update_does_not_bring_it_back(http_app: HttpApp) -> None:
    started = http_app.clock.now_ms()
    http_app.clock.advance(1)
    http_app.fleet.mark_updated("::local::web")
    late = await http_app.fleet.put(container(1, "web", update="1.1.0"), check_started_ms=started)
    assert (late.result, late.update_detected_at) == (None, None)
    fresh = await http_app.fleet.put(container(1, "web", update="1.2.0"), check_started_ms=started + 1001)
    assert fresh.result == Result(tag="1.2.0")
    again = await http_app.fleet.put(container(1, "web", update="1.3.0"), check_started_ms=started)
    assert again.result == Result(tag="1.3.0")


async def test_a_redacted_copy_never_overwrites_a_secret(http_app: HttpApp) -> None:
    await http_app.seed(container(1))
    view = http_app.fleet.view(ONE)
    assert view.details is not None
    env = [*view.details.env, EnvEntry(key="STARS", value="***")]
    await http_app.fleet.put(container(1, details=msgspec.structs.replace(view.details, env=env)))
    details = http_app.fleet.need(ONE).details
    assert details is not None
    assert [entry.value for entry in details.env] == ["UTC", "s3cret", "***"]


# writing together


async def test_changes_of_one_container_lose_nothing(http_app: HttpApp) -> None:
    await http_app.seed(container(1, labels={}))

    async def add(number: int) -> None:
        await http_app.fleet.change(
            ONE, lambda old: msgspec.structs.replace(old, labels={**old.labels, str(number): "x"})
        )

    await asyncio.gather(*(add(number) for number in range(30)))
    assert len(http_app.fleet.need(ONE).labels) == 30


async def test_concurrent_puts_share_transactions_and_keep_their_order(http_app: HttpApp) -> None:
    writes = []
    put = http_app.store.containers.put

    async def counted(records: Any) -> None:
        writes.append(len(records))
        await put(records)

    http_app.store.containers.put = counted  # type: ignore[method-assign]  # counts transactions
    jobs = [http_app.fleet.put(container(n % 50 + 1, status="running" if n < 50 else "exited")) for n in range(100)]
    await asyncio.gather(*jobs)
    assert sum(writes) == 100
    assert len(writes) < 10
    assert {one.status for one in http_app.fleet.all()} == {"exited"}


async def test_a_check_does_not_bring_back_a_container_that_left(http_app: HttpApp) -> None:
    def take(stored: Container, incoming: Container) -> Container:
        return msgspec.structs.replace(stored, result=incoming.result)

    await http_app.seed(container(1, labels={"kept": "x"}))
    changes = [(container(1, update="1.1.0"), take, None), (container(2), take, None)]
    stored = await http_app.fleet.merge_many(changes, insert=False)
    assert [one.id for one in stored] == [one.id for one in http_app.fleet.all()] == [ONE]
    assert (stored[0].labels, stored[0].result) == ({"kept": "x"}, Result(tag="1.1.0"))
    assert len(await http_app.fleet.merge_many(changes)) == 2


async def test_one_bad_record_fails_alone(http_app: HttpApp) -> None:
    bad = container(1, labels={"a": object()})
    results = await asyncio.gather(
        *(http_app.fleet.put(one) for one in (container(2), bad, container(3))), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert [one.id for one in http_app.fleet.all()] == [TWO, container_id(3)]


async def test_a_failed_write_changes_nothing_and_tells_nothing(http_app: HttpApp) -> None:
    await http_app.seed(container(1))
    http_app.events.clear()
    version = http_app.fleet.version

    async def full(_: Any) -> None:
        raise OSError("disk full")

    http_app.store.containers.put = full  # type: ignore[method-assign]  # a disk that is full
    with pytest.raises(OSError, match="disk full"):
        await http_app.fleet.put(container(1, status="exited"))
    assert (http_app.fleet.need(ONE).status, http_app.events, http_app.fleet.version) == ("running", [], version)


async def test_a_cancelled_put_is_forgotten(http_app: HttpApp) -> None:
    async with http_app.fleet._turn:
        waiting = asyncio.create_task(http_app.fleet.put(container(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await http_app.seed(container(2))
    assert [one.id for one in http_app.fleet.all()] == [TWO]


# counters and order


async def test_touch_shows_what_changed_outside(http_app: HttpApp) -> None:
    at = to_iso(http_app.clock.now_ms() - 10 * DAY_MS)
    await http_app.seed(container(1, update="1.1.0", update_detected_at=at))
    assert http_app.fleet.select(Wanted(maturity="mature"))
    http_app.mature_after(20)
    http_app.fleet.touch()
    assert http_app.fleet.select(Wanted(maturity="hot"))


async def test_a_clock_that_is_set_back(http_app: HttpApp) -> None:
    await http_app.seed(container(1, update="1.1.0"))
    http_app.clock.advance((2 * DAY_MS) / 1000)
    assert http_app.fleet.summary().mature_updates == 1
    http_app.clock.advance((-2 * DAY_MS + 1000) / 1000)
    assert http_app.fleet.summary().hot_updates == 1


async def test_the_heap_of_deadlines_stays_small(http_app: HttpApp) -> None:
    for number in range(300):
        await http_app.seed(container(1, update=f"1.{number}.0"))
        http_app.clock.advance(10 / 1000)
    assert len(http_app.fleet._counters._due) < 80


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "wait", "snooze"]),
        st.integers(1, 5),
        st.sampled_from(["running", "exited"]),
        st.sampled_from([None, "1.1.0", "2.0.0"]),
        st.sampled_from([1, 3_600_000, DAY_MS, 8 * DAY_MS]),
    ),
    max_size=25,
)


class Nowhere:
    """Keeps no records: counting needs none."""

    async def all(self) -> list[Any]:
        return []

    async def put(self, *_: Any) -> None:
        return None

    async def remove(self, *_: Any) -> None:
        return None

    async def load(self, _: int) -> list[Any]:
        return []


@settings(deadline=None)
@given(OPERATIONS)
def test_counters_always_equal_a_recount(steps: list[Any]) -> None:
    async def run() -> None:
        clock = ManualClock()
        fleet = Fleet(Nowhere(), Nowhere(), Bus(), clock)
        for step in steps:
            await _step(fleet, clock, *step)
            _assert_counted(fleet)

    asyncio.run(run())


async def _step(
    fleet: Fleet, clock: ManualClock, what: str, number: int, status: str, update: str | None, wait_ms: int
) -> None:
    if what == "wait":
        clock.advance(wait_ms / 1000)
    elif what == "remove":
        await fleet.remove(container_id(number))
    elif what == "put":
        await fleet.put(container(number, status=status, update=update))
    elif fleet.get(container_id(number)):
        until = UpdatePolicy(snooze_until=to_iso(clock.now_ms() + wait_ms))
        await fleet.change_policy(container_id(number), lambda _: until)


def _assert_counted(fleet: Fleet) -> None:
    counted = fleet.summary()
    views = [fleet.view(one.id) for one in fleet.all()]
    ages = [view.update_age for view in views if view.update_age is not None]
    assert counted.containers.total == len(views)
    assert counted.containers.running == sum(view.status == "running" for view in views)
    assert counted.containers.updates_available == sum(view.update_available for view in views)
    assert counted.hot_updates == sum(age < DAY_MS for age in ages)
    assert counted.mature_updates == sum(DAY_MS <= age <= 7 * DAY_MS for age in ages)
    assert [view.update_available for view in fleet.views()] == [view.update_available for view in views]


def test_counters_start_at_zero() -> None:
    assert msgspec.to_builtins(Counters().summary())["hotUpdates"] == 0


async def test_name_order(http_app: HttpApp) -> None:
    names = ["b", "B", "a", "A10", "a2", "_x", "C"]
    await http_app.seed(*(container(n, name) for n, name in enumerate(names, 1)))
    await http_app.seed(container(20, "a", watcher="aaa"), container(19, "a", watcher="aaa"))
    found = [(view.name, view.watcher) for view in http_app.fleet.views()]
    assert found == [("_x", "local"), ("a", "aaa"), ("a", "aaa"), ("a", "local"), ("A10", "local"), ("a2", "local"),
                     ("b", "local"), ("B", "local"), ("C", "local")]  # fmt: skip
    first, second = (view.id for view in http_app.fleet.views()[1:3])
    assert first < second
    entries = http_app.fleet._index.in_order()
    for sort in ("name", "status", "age", "created"):
        up = select(entries, Wanted(sort=sort), http_app.clock.now_ms())
        assert select(entries, Wanted(sort=sort, descending=True), http_app.clock.now_ms()) == up[::-1]


async def test_explain_uses_the_stored_trace(http_app: HttpApp) -> None:
    await http_app.fleet.put(container(1, "web", update="1.1.0"), TRACE)
    found = http_app.fleet.explain(ONE, "2030-01-01T00:00:00.000Z")
    assert found.next_check_at == "2030-01-01T00:00:00.000Z"
    assert TRACE.steps[0] in found.steps
    assert identity_key(http_app.fleet.need(ONE)) == "::local::web"
