"""What was asked of which host: per pass and per repository, and the process-wide counters (registries.md §10).

Plain numbers; exporting them is the work of others. A request counts when its head went out on a connection, so silent
repetitions by the HTTP library are counted as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from drydock.core.reference import DOCKER_HUB
from drydock.core.trace import HostRequests

Observer = Callable[[str, str, float], None]
"""Called with type, name and seconds of every registry API request, failed ones too (`dd_registry_response`)."""
Label = tuple[str, str]
"""Host and repository a request was made for."""


@dataclass
class Metrics:
    """Counters and gauges of one registry service since its start."""

    digest_hits: int = 0
    digest_misses: int = 0
    requests: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """By type, name, kind (token tags head manifest blob metadata) and status (`error` when there was no answer)."""
    retries: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By host and reason."""
    remaining: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """Pull quota by host: how many are left, of how many (`limits`)."""


class Ledger:
    """Requests and cached answers of one pass, by the repository they were made for."""

    def __init__(self) -> None:
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

    def served(self, label: Label) -> None:
        """One question of `label` was answered without a request."""
        self._cached[label][label[0]] += 1

    def by_host(self, remaining: dict[str, int], label: Label | None = None) -> list[HostRequests]:
        """Totals per host, of everything or of one repository, hosts in alphabetical order."""
        requests = _total(self._requests, label)
        cached = _total(self._cached, label)
        return [
            HostRequests(host=host, requests=requests[host], cached=cached[host], quota_left=remaining.get(host))
            for host in sorted(requests.keys() | cached.keys())
        ]


def _total(counters: defaultdict[Label, Counter[str]], label: Label | None) -> Counter[str]:
    if label is not None:
        return counters.get(label, Counter())
    total: Counter[str] = Counter()
    for counter in counters.values():
        total.update(counter)
    return total
