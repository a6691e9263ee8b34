"""One enumeration: selection, settling, aliases, Swarm labels, disappearance (watching.md §5.1–§5.8, B9, B10, B12)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drydock.core.model import HostKey
from drydock.events import ContainerRemoved
from drydock.watch.prune import _note_state, prune_same_source

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("watch_all", "by_default", "expected"),
    [
        (False, True, {"none", "yes"}),
        (False, False, {"yes"}),
        (True, True, {"none", "yes", "stopped", "stopped-yes"}),
        (True, False, {"yes", "stopped-yes"}),
    ],
)
async def test_selection(make_place: Any, watch_all: bool, by_default: bool, expected: set[str]) -> None:
    place = await make_place(watch_all=watch_all, watch_by_default=by_default)
    place.host.add("1" * 64, "none")
    place.host.add("2" * 64, "yes", Labels={"dd.watch": "TRUE"})
    place.host.add("3" * 64, "no", Labels={"dd.watch": "false"})
    place.host.add("4" * 64, "strange", Labels={"dd.watch": "maybe"})
    place.host.add("5" * 64, "stopped", State="exited")
    place.host.add("6" * 64, "stopped-yes", State="exited", Labels={"dd.watch": "true"})
    place.host.add("7" * 64, "stopped-no", State="exited", Labels={"dd.watch": "no"})
    place.host.add("8" * 64, "infra", Image="")
    await place.watcher.scan("api")
    assert set(place.names()) == expected
    assert place.watcher.watched == len(expected)


async def test_17_4_01_new_containers_settle(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "known")
    await place.watcher.scan("cron")
    assert place.names() == ["known"], "the first scan of an empty store holds nothing back"
    place.host.add(B, "new")
    await place.watcher.scan("cron")
    await place.clock.pass_time(29)
    await place.watcher.scan("api")
    assert place.names() == ["known"], "API scans obey the same rule"
    place.host.containers[B]["Names"] = ["/renamed"]
    await place.clock.pass_time(1)
    await place.watcher.scan("cron")
    assert place.names() == ["known", "renamed"]


async def test_17_4_01_a_passing_container_is_never_registered(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "known")
    await place.watcher.scan("cron")
    place.host.add(B, "passing")
    await place.watcher.scan("cron")
    del place.host.containers[B]
    await place.clock.pass_time(20)
    await place.watcher.scan("cron")
    place.host.add(B, "back")
    await place.clock.pass_time(20)
    await place.watcher.scan("cron")
    assert place.names() == ["known"], "it was forgotten meanwhile"


async def test_17_4_01_without_settling_it_is_there_at_once(make_place: Any) -> None:
    place = await make_place(discovery_settle_ms=0)
    place.host.add(A, "known")
    await place.watcher.scan("cron")
    place.host.add(B, "new")
    await place.watcher.scan("cron")
    assert place.names() == ["known", "new"]


async def test_a_held_container_is_looked_at_when_it_has_settled(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "known")
    await place.schedule()
    await place.clock.pass_time(2)
    place.host.add(B, "new")
    place.one.rescan.signal()
    await place.clock.pass_time(6)
    assert place.names() == ["known"]
    await place.clock.pass_time(31)
    assert place.names() == ["known", "new"]
    assert place.fleet.trace(B) is not None


async def test_17_4_02_a_stopped_container_stays(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    trace = place.fleet.trace(A)
    place.host.containers[A]["State"] = "exited"
    await place.watcher.scan("cron")
    assert place.get("web").status == "exited"
    assert place.fleet.trace(A) == trace, "not checked while it is stopped"
    assert place.watcher.watched == 0


async def test_17_4_03_a_removed_container_leaves_at_the_next_scan(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    del place.host.containers[A]
    await place.watcher.scan("cron")
    assert place.names() == []
    assert place.published(ContainerRemoved)[-1].replacement_expected


async def test_17_4_09_a_dead_daemon_leaves_everything_as_it_is(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    before = place.get("web")
    place.host.down = True
    await place.clock.pass_time(5)
    assert await place.watcher.scan("cron") == ()
    assert place.get("web") == before
    assert place.watcher.last_run_ms == place.clock.now_ms()


async def test_b10_only_a_clear_404_removes(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    del place.host.containers[A]
    place.host.broken.add(A)
    await place.watcher.scan("cron")
    assert place.names() == ["web"], "the Engine could not say that it is gone"
    place.host.broken.clear()
    await place.watcher.scan("cron")
    assert place.names() == []


@pytest.mark.parametrize("state", ["running", "exited"])
async def test_17_4_15_b10_containers_excluded_by_now_leave(make_place: Any, state: str) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    place.host.containers[A] |= {"Labels": {"dd.watch": "false"}, "State": state}
    await place.watcher.scan("cron")
    assert place.names() == []


async def test_a_stopped_container_costs_one_list_not_one_inspection_each(make_place: Any) -> None:
    place = await make_place()
    for number in range(20):
        place.host.add(f"{number:064d}", f"c{number}")
    await place.watcher.scan("cron")
    for entry in place.host.containers.values():
        entry["State"] = "exited"
    await place.watcher.look_again()
    place.host.calls.clear()
    await place.watcher.look_again()
    assert place.host.calls == {"list": 2}


async def test_a_light_look_asks_only_about_what_is_new(make_place: Any) -> None:
    place = await make_place(discovery_settle_ms=0)
    for number in range(20):
        place.host.add(f"{number:064d}", f"c{number}")
    await place.watcher.scan("cron")
    place.host.add(B, "new", "other:1.0.0")
    place.host.calls.clear()
    reports = await place.watcher.look_again()
    assert place.host.calls == {"list": 1, "inspect": 1, "image": 1}
    assert [report.container.name for report in reports] == ["new"]


async def test_an_alias_that_stays_is_one_container_for_ever(make_place: Any) -> None:
    place = await make_place(discovery_settle_ms=0)
    place.host.add(A, f"{A[:12]}_web")
    for _ in range(3):
        await place.watcher.scan("cron")
        assert place.names() == ["web"]


async def test_a_fresh_alias_is_skipped_until_it_has_its_name(make_place: Any) -> None:
    place = await make_place(discovery_settle_ms=0)
    place.host.add(A, "web", Labels={"com.docker.compose.project": "p", "com.docker.compose.service": "web"})
    await place.watcher.scan("cron")
    place.host.add(B, f"{B[:12]}_web", Created=place.clock.now_ms() / 1000)
    await place.watcher.look_again()
    assert [c.id for c in place.fleet.all()] == [A]
    del place.host.containers[A]
    place.host.containers[B]["Names"] = ["/web"]
    await place.watcher.look_again()
    assert [(c.id, c.name) for c in place.fleet.all()] == [(B, "web")]


async def test_one_unreadable_container_does_not_spoil_the_others(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "good")
    place.host.add(B, "bad", "bad:1", Labels={"dd.tag.include": 5})
    place.host.add("c" * 64, "lost", "lost:1")
    place.host.images.pop(place.host.containers["c" * 64]["ImageID"])
    await place.watcher.scan("cron")
    assert place.names() == ["good"]


async def test_17_4_16_swarm_labels_merge_from_service_to_container(make_place: Any) -> None:
    place = await make_place()
    spec = {"Labels": {"dd.tag.include": "service", "dd.group": "s"}}
    spec["TaskTemplate"] = {"ContainerSpec": {"Labels": {"dd.tag.include": "template", "dd.display.name": "T"}}}
    place.host.services["svc"] = {"Spec": spec}
    swarm = {"com.docker.swarm.service.id": "svc"}
    place.host.add(A, "one", Labels=swarm)
    place.host.add(B, "two", Labels={**swarm, "dd.tag.include": "container"})
    place.host.add("c" * 64, "three", Labels={"com.docker.swarm.service.id": "unknown"})
    await place.watcher.scan("cron")
    assert place.get("one").include_tags == "template"
    assert place.get("one").display_name == "T"
    assert place.get("one").labels["dd.group"] == "s"
    assert place.get("two").include_tags == "container"
    assert place.get("three").include_tags is None
    assert place.host.calls["service"] == 2, "each service is asked for once in a scan"


async def test_b9_swarm_labels_stay_when_an_event_refreshes(make_place: Any) -> None:
    place = await make_place()
    place.host.services["svc"] = {"Spec": {"Labels": {"dd.tag.include": "service"}}}
    place.host.add(A, "one", Labels={"com.docker.swarm.service.id": "svc"})
    await place.watcher.scan("cron")
    place.host.containers[A]["State"] = "paused"
    await place.one.events.handle({"Action": "pause", "id": A})
    assert (place.get("one").status, place.get("one").include_tags) == ("paused", "service")


async def test_another_watcher_of_the_same_engine_gives_up_stale_names(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    stale = msgspec.structs.replace(place.get("web"), id=B, watcher="other")
    elsewhere = msgspec.structs.replace(stale, id="c" * 64, name="db")
    await place.fleet.put_many([(stale, None), (elsewhere, None)])
    found = await place.watcher.discovery.enumerate(_Nothing(), settled=True)
    await prune_same_source(place.fleet, found, place.fleet.by_host(HostKey(None, "other")))
    assert sorted(c.id for c in place.fleet.all()) == [A, "c" * 64]


class _Nothing:
    def get(self, id: str) -> None:
        return None

    def has_name(self, name: str, besides: str) -> bool:
        return False


async def test_17_4_05_agents_keep_their_records(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    remote = msgspec.structs.replace(place.get("web"), id=B, agent="edge")
    await place.fleet.put(remote)
    del place.host.containers[A]
    await place.watcher.scan("cron")
    assert [(c.id, c.agent) for c in place.fleet.all()] == [(B, "edge")]


async def test_scans_do_not_overlap_and_requests_join(make_place: Any) -> None:
    import asyncio

    place = await make_place()
    place.host.add(A, "web")
    await asyncio.gather(*(place.watcher.scan("api") for _ in range(5)))
    assert place.host.calls["list"] == 1
    await place.watcher.scan("api")
    assert place.host.calls["list"] == 2


async def test_records_of_watchers_that_are_gone_leave_at_start(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    kept = place.get("web")
    await place.fleet.put_many(
        [
            (msgspec.structs.replace(kept, id=B, watcher="gone"), None),
            (msgspec.structs.replace(kept, id="c" * 64, watcher="LOCAL"), None),
            (msgspec.structs.replace(kept, id="d" * 64, watcher="gone", agent="edge"), None),
        ]
    )
    await place.service.forget_strangers()
    assert sorted(c.id for c in place.fleet.all()) == [A, "c" * 64, "d" * 64]


async def test_what_an_update_makes_for_a_while_is_not_seen(make_place: Any) -> None:
    place = await make_place(discovery_settle_ms=0)
    place.host.add(A, "web")
    await place.watcher.scan("cron")
    place.host.containers[A]["Names"] = ["/web-old-1760000000000"]
    place.host.add(B, "drydock-self-update-1760000000000", Labels={"dd.self-update.helper": "true", "dd.watch": "true"})
    await place.watcher.scan("cron")
    assert place.names() == ["web"], "the one being replaced keeps its name, the helper has none"


async def test_the_leftover_of_an_update_is_seen_when_nothing_stands_in_its_place(make_place: Any) -> None:
    place = await make_place(discovery_settle_ms=0)
    place.host.add(A, "web-old-1760000000000")
    await place.watcher.scan("cron")
    assert place.names() == ["web-old-1760000000000"]


async def test_a_container_removed_while_the_engine_is_asked_does_not_spoil_the_scan(make_place: Any) -> None:
    place = await make_place()
    place.host.add(A, "web")
    place.host.add(B, "db")
    await place.watcher.scan("cron")
    place.host.containers[A]["State"] = "exited"
    stopped = place.get("web")
    await place.fleet.remove(A)
    await _note_state(place.fleet, stopped, "exited")
    await place.watcher.scan("cron")
    assert "db" in place.names()
