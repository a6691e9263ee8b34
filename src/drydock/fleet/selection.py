"""Which containers a list shows and in which order (container-api.md §3). Pure: works on entries that are up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec

from drydock.core.labels import WATCH
from drydock.core.model import Container
from drydock.core.times import from_iso
from drydock.fleet.entry import Entry

SortKey = Literal["name", "status", "age", "created"]
SORTS = ("name", "-name", "status", "-status", "age", "-age", "created", "-created")
ORDERS = ("asc", "desc")
STATUSES = (
    "update-available",
    "up-to-date",
    "running",
    "stopped",
    "exited",
    "paused",
    "restarting",
    "dead",
    "created",
)
KINDS = ("major", "minor", "patch", "digest", "watched", "unwatched", "all")
MATURITIES = ("hot", "mature", "established")
EXACT = ("name", "agent", "id", "image.name", "image.tag.value", "image.registry.name")
"""Fields that may be matched exactly by a parameter of their name."""

Test = Callable[[Entry], bool]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The filters and the order of a list; values are valid members of the tuples above."""

    sort: SortKey = "name"
    descending: bool = False
    status: str | None = None
    kind: str | None = None
    watcher: str | None = None
    maturity: str | None = None
    ids: frozenset[str] | None = None
    within: Callable[[Container], bool] | None = None
    """What the caller may see at all."""
    exact: tuple[tuple[str, str], ...] = ()


def select(by_name: Sequence[Entry], wanted: Wanted, now_ms: int) -> list[Entry]:
    """The entries that match, in order. `by_name` is sorted by name already."""
    tests = list(_tests(wanted))
    found = [entry for entry in by_name if entry.visible and all(test(entry) for test in tests)]
    # the entries are in name order already and sorting is stable, so the name is the last tie-break

    def by_age(entry: Entry) -> tuple[bool, int, str]:
        container, age = entry.container, entry.age(now_ms)
        return age is not None, age or 0, f"{container.watcher}.{container.name}.{container.id}"

    def by_created(entry: Entry) -> tuple[bool, int]:
        created = from_iso(entry.container.image.created)
        return created is None, created or 0

    if wanted.sort == "status":
        found.sort(key=lambda entry: not entry.view.update_available)
    elif wanted.sort == "age":
        found.sort(key=by_age)
    elif wanted.sort == "created":
        found.sort(key=by_created)
    return found[::-1] if wanted.descending else found


def _tests(wanted: Wanted) -> Iterable[Test]:
    if wanted.within is not None:
        within = wanted.within
        yield lambda entry: within(entry.container)
    if wanted.ids is not None:
        ids = wanted.ids
        yield lambda entry: entry.container.id in ids
    if wanted.watcher is not None:
        yield lambda entry: entry.container.watcher == wanted.watcher
    if wanted.status is not None:
        yield _status_test(wanted.status)
    if wanted.kind not in (None, "all"):
        yield _kind_test(str(wanted.kind))
    if wanted.maturity is not None:
        yield lambda entry: entry.view.update_maturity_level == wanted.maturity
    for path, value in wanted.exact:
        yield _exact_test(path, value)


def _status_test(status: str) -> Test:
    if status == "update-available":
        return lambda entry: entry.view.update_available
    if status == "up-to-date":
        return lambda entry: not entry.view.update_available and entry.container.error is None
    if status == "stopped":
        return lambda entry: entry.container.status in ("stopped", "exited")
    return lambda entry: entry.container.status == status


def _kind_test(kind: str) -> Test:
    if kind == "digest":
        return lambda entry: entry.view.update_kind.kind == "digest"
    if kind in ("watched", "unwatched"):
        watched = kind == "watched"
        return lambda entry: (entry.container.labels.get(WATCH, "").lower() == "true") is watched
    return lambda entry: entry.view.update_kind.semver_diff == kind


def _exact_test(path: str, value: str) -> Test:
    names = path.split(".")

    def test(entry: Entry) -> bool:
        found: Any = entry.container
        for name in names:
            found = getattr(found, name)
        return bool(found == value)

    return test
