"""Which container needs which, and in what order a group is updated (updates.md §12; container-api.md §11.2, §11.3).

Edges go from a dependent to what it depends on. Everything is iterative: chains of ten thousand are no problem, cycles
never a deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from drydock.core.compose_labels import PROJECT, SERVICE
from drydock.core.model import Container


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """`from_id` depends on `to_id`."""

    from_id: str
    to_id: str
    action: Literal["update", "restart"]
    source: Literal["label", "compose"]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Containers by id, resolved edges, and what could not be resolved: (dependent, name) and (dependent, other host)."""

    nodes: dict[str, Container]
    edges: list[Edge]
    unresolved: list[tuple[str, str]]
    cross_host: list[tuple[str, str]]

    def needs(self) -> dict[str, set[str]]:
        """Dependent → what it depends on."""
        found: dict[str, set[str]] = {one: set() for one in self.nodes}
        for edge in self.edges:
            found[edge.from_id].add(edge.to_id)
        return found


def graph(containers: Iterable[Container]) -> Graph:
    """The dependencies of these containers among each other."""
    nodes = {container.id: container for container in sorted(containers, key=lambda one: one.id)}
    places: defaultdict[tuple[str, ...], list[Container]] = defaultdict(list)
    for container in nodes.values():
        places["name", container.watcher, container.name].append(container)
        project, service = container.labels.get(PROJECT), container.labels.get(SERVICE)
        if project and service:
            places["service", project, service].append(container)
    edges: list[Edge] = []
    unresolved: list[tuple[str, str]] = []
    cross_host: list[tuple[str, str]] = []
    for container in nodes.values():
        compose = container.depends_on_source == "compose"
        place = ("service", container.labels.get(PROJECT, "")) if compose else ("name", container.watcher)
        for name in dict.fromkeys(container.depends_on or []):
            found = places.get((*place, name), [])
            here = [one for one in found if one.host == container.host]
            if not found:
                unresolved.append((container.id, name))
            elif not here:
                cross_host.append((container.id, found[0].id))
            elif here[0].id != container.id:
                edges.append(
                    Edge(
                        from_id=container.id,
                        to_id=here[0].id,
                        action=container.depends_on_action or "update",
                        source=container.depends_on_source or "label",
                    )
                )
    return Graph(nodes=nodes, edges=edges, unresolved=unresolved, cross_host=cross_host)


def component(whole: Graph, root: str) -> set[str]:
    """Everything connected with `root` in either direction, itself included."""
    near: defaultdict[str, set[str]] = defaultdict(set)
    for edge in whole.edges:
        near[edge.from_id].add(edge.to_id)
        near[edge.to_id].add(edge.from_id)
    return _reach({root}, near)


def dependents(whole: Graph, ids: Collection[str]) -> set[str]:
    """Everything that depends on one of `ids`, directly or not; not they themselves."""
    above: defaultdict[str, set[str]] = defaultdict(set)
    for edge in whole.edges:
        above[edge.to_id].add(edge.from_id)
    return _reach(set(ids), above) - set(ids)


def _reach(start: set[str], near: Mapping[str, set[str]]) -> set[str]:
    seen, frontier = set(start), list(start)
    while frontier:
        for following in near.get(frontier.pop(), ()):
            if following not in seen:
                seen.add(following)
                frontier.append(following)
    return seen


def cycles(whole: Graph) -> list[list[str]]:
    """Groups that depend on each other, each sorted by name."""
    groups = [group for group in _components(whole.needs()) if len(group) > 1]
    return [_sorted(whole, group) for group in groups]


def waves(whole: Graph, ids: Collection[str]) -> list[list[str]]:
    """`ids` in the order of their update: dependencies first, each wave sorted by name; a cycle is one wave."""
    needs = {one: found & set(ids) for one, found in whole.needs().items() if one in ids}
    done: list[list[str]] = []
    ready = [one for one, found in needs.items() if not found]
    while ready:
        done.append(_sorted(whole, ready))
        for one in ready:
            del needs[one]
        gone = set(ready)
        for found in needs.values():
            found -= gone
        ready = [one for one, found in needs.items() if not found]
    return done + [_sorted(whole, group) for group in _components(needs)]


def _sorted(whole: Graph, ids: Iterable[str]) -> list[str]:
    return sorted(ids, key=lambda one: (whole.nodes[one].name, one))


def _components(needs: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components, dependencies first (Tarjan, with an explicit stack)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    work: list[tuple[str, Iterator[str]]] = []
    found: list[list[str]] = []

    def enter(one: str) -> None:
        order[one] = low[one] = len(order)
        stack.append(one)
        work.append((one, iter(sorted(needs[one]))))

    for root in sorted(needs):
        if root in order:
            continue
        enter(root)
        while work:
            one, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[one])
                if low[one] == order[one]:
                    position = stack.index(one)
                    found.append(stack[position:])
                    del stack[position:]
            elif following not in order:
                enter(following)
            elif following in stack:
                low[one] = min(low[one], order[following])
    return found
