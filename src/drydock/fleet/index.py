"""Entries by id, by identity, by place, and in name order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from drydock.core.model import Container, HostKey, audit_key, identity_key
from drydock.fleet.entry import Entry

K = TypeVar("K")


class Index:
    """All entries. Looking one up costs the same however many there are."""

    def __init__(self) -> None:
        self._by_id: dict[str, Entry] = {}
        self._by_identity: dict[str, dict[str, Entry]] = {}
        self._by_audit_key: dict[str, dict[str, Entry]] = {}
        self._by_host: dict[HostKey, dict[str, Entry]] = {}
        self._in_order: list[Entry] | None = None

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._by_id.values()))

    def get(self, id: str) -> Entry | None:
        return self._by_id.get(id)

    def add(self, entry: Entry) -> None:
        """Put an entry in place of the one with the same id."""
        before = self._by_id.get(entry.container.id)
        if before is not None:
            self._drop_keys(before.container)
        self._by_id[entry.container.id] = entry
        self._by_identity.setdefault(identity_key(entry.container), {})[entry.container.id] = entry
        self._by_audit_key.setdefault(audit_key(entry.container), {})[entry.container.id] = entry
        self._by_host.setdefault(entry.container.host, {})[entry.container.id] = entry
        if before is None or before.name_key != entry.name_key:
            self._in_order = None
        elif self._in_order is not None:
            self._in_order[self._in_order.index(before)] = entry

    def remove(self, id: str) -> Entry | None:
        """Take an entry out; None when there is none."""
        entry = self._by_id.pop(id, None)
        if entry is not None:
            self._drop_keys(entry.container)
            self._in_order = None
        return entry

    def by_identity(self, key: str) -> list[Entry]:
        """Entries that share an identity: one, or the replicas of a Compose service."""
        return list(self._by_identity.get(key, {}).values())

    def by_audit_key(self, key: str) -> list[Entry]:
        """Entries of one agent, watcher and name: one, or two while a container is being recreated."""
        return list(self._by_audit_key.get(key, {}).values())

    def by_host(self, host: HostKey) -> list[Entry]:
        """Entries of one host."""
        return list(self._by_host.get(host, {}).values())

    def in_order(self) -> list[Entry]:
        """All entries by name (container-api.md §3); sorted again only when a name has come or gone."""
        if self._in_order is None:
            self._in_order = sorted(self._by_id.values(), key=lambda entry: entry.name_key)
        return self._in_order

    def _drop_keys(self, container: Container) -> None:
        _drop(self._by_identity, identity_key(container), container.id)
        _drop(self._by_audit_key, audit_key(container), container.id)
        _drop(self._by_host, container.host, container.id)


def _drop(table: dict[K, dict[str, Entry]], key: K, id: str) -> None:
    found = table[key]
    found.pop(id, None)
    if not found:
        del table[key]


def containers(entries: Iterable[Entry]) -> list[Container]:
    """The records of entries."""
    return [entry.container for entry in entries]
