"""Dependencies: who needs whom, waves, cycles, other hosts (updates.md §12)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drydock.core import compose_labels
from drydock.core import dependencies as deps
from drydock.core.model import Container
from kit.containers import container


def one(number: int, name: str, *needs: str, **more: Any) -> Container:
    return container(number, name, depends_on=list(needs) or None, depends_on_source="label", **more)


def named(whole: deps.Graph, waves: list[list[str]]) -> list[list[str]]:
    return [[whole.nodes[id].name for id in wave] for wave in waves]


def test_waves_put_dependencies_first() -> None:
    whole = deps.graph([one(1, "web", "api", "cache"), one(2, "api", "db"), one(3, "db"), one(4, "cache")])
    assert named(whole, deps.waves(whole, list(whole.nodes))) == [["cache", "db"], ["api"], ["web"]]


def test_a_cycle_is_one_wave_and_what_needs_it_comes_later() -> None:
    whole = deps.graph([one(1, "a", "b"), one(2, "b", "a"), one(3, "c", "a"), one(4, "d")])
    assert named(whole, deps.waves(whole, list(whole.nodes))) == [["d"], ["a", "b"], ["c"]]
    assert named(whole, deps.cycles(whole)) == [["a", "b"]]


def test_unresolved_and_other_hosts_are_told_not_failed() -> None:
    whole = deps.graph([one(1, "web", "gone", "far"), one(2, "far", agent="edge"), one(3, "self", "self")])
    web, far = whole.nodes[container(1).id], whole.nodes[container(2).id]
    assert whole.unresolved == [(web.id, "gone")]
    assert whole.cross_host == [(web.id, far.id)]
    assert whole.edges == []


def test_compose_names_mean_services_of_the_same_project() -> None:
    def service(number: int, project: str, name: str, *needs: str) -> Container:
        labels = {compose_labels.PROJECT: project, compose_labels.SERVICE: name}
        return container(
            number, f"{project}-{name}-1", labels=labels, depends_on=list(needs), depends_on_source="compose"
        )

    whole = deps.graph([service(1, "a", "web", "db"), service(2, "a", "db"), service(3, "b", "db")])
    assert [(edge.from_id, edge.to_id, edge.source) for edge in whole.edges] == [
        (container(1).id, container(2).id, "compose"),
    ]


def test_a_compose_project_of_the_same_name_on_another_host_is_another_one() -> None:
    def service(number: int, name: str, watcher: str, *needs: str) -> Container:
        labels = {compose_labels.PROJECT: "shop", compose_labels.SERVICE: name}
        more = {"labels": labels, "depends_on": list(needs), "depends_on_source": "compose", "watcher": watcher}
        return container(number, f"shop-{name}-1", **more)

    whole = deps.graph([service(1, "web", "nas", "db"), service(2, "db", "pi")])
    assert whole.edges == []
    assert whole.cross_host == [(container(1).id, container(2).id)]


def test_groups_and_dependents() -> None:
    whole = deps.graph([one(1, "web", "api"), one(2, "api", "db"), one(3, "db"), one(4, "alone")])
    ids = {whole.nodes[id].name: id for id in whole.nodes}
    assert deps.component(whole, ids["api"]) == {ids["web"], ids["api"], ids["db"]}
    assert deps.dependents(whole, [ids["db"]]) == {ids["api"], ids["web"]}
    assert deps.component(whole, ids["alone"]) == {ids["alone"]}


def test_a_chain_of_thousands() -> None:
    whole = deps.graph([one(n, f"c{n}", f"c{n - 1}") for n in range(1, 2000)])
    assert len(deps.waves(whole, list(whole.nodes))) == 1999


@given(st.dictionaries(st.integers(1, 8), st.sets(st.integers(1, 8)), max_size=8))
def test_every_container_is_in_one_wave_and_never_before_what_it_needs(links: dict[int, set[int]]) -> None:
    whole = deps.graph([one(n, f"c{n}", *(f"c{m}" for m in needs)) for n, needs in links.items()])
    waves = deps.waves(whole, list(whole.nodes))
    place = {id: number for number, wave in enumerate(waves) for id in wave}
    assert sorted(place) == sorted(whole.nodes)
    together = [set(cycle) for cycle in deps.cycles(whole)]
    for edge in whole.edges:
        same_cycle = any({edge.from_id, edge.to_id} <= cycle for cycle in together)
        assert place[edge.to_id] < place[edge.from_id] or same_cycle
