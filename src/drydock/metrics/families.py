"""Counters, gauges, histograms and summaries, and their text form (Prometheus exposition 0.0.4).

Written here because the names of the contract (`dd_trigger_count` beside `dd_trigger_count_total`, summaries with
quantiles) are not what the usual exporters produce (platform.md §10). Label values are texts; an absent label is left
out of the line.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from drydock.core.errors import DrydockError

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]
"""Name of the line, its labels in order, its value."""

QUANTILES = (0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 0.999)
WINDOW = 1024
"""Observations of a summary from which quantiles are computed."""


class UnknownLabel(DrydockError):
    """A metric was used with other labels than it declares."""

    code = "unknown-label"


class Family:
    """One metric name: help, type, label names, and a value per label set."""

    kind = "untyped"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)

    def samples(self) -> Iterator[Sample]:
        """All lines of this family."""
        raise NotImplementedError

    def _key(self, given: Mapping[str, str]) -> Labels:
        if set(given) != set(self.labels):
            raise UnknownLabel(f"{self.name} has the labels {', '.join(self.labels) or 'none'}")
        return tuple((label, given[label]) for label in self.labels)


class Counter(Family):
    """Only grows. A counter without labels begins at 0, so that it is visible from the start."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, help, labels)
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def inc(self, amount: float = 1.0, **labels: str) -> None:
        """Add `amount`; 0 makes the series visible."""
        key = self._key(labels)
        self._values[key] = self._values.get(key, 0.0) + amount

    def value(self, **labels: str) -> float:
        """The present value, for tests and summaries."""
        return self._values.get(self._key(labels), 0.0)

    def samples(self) -> Iterator[Sample]:
        yield from ((self.name, key, value) for key, value in self._values.items())


class Gauge(Counter):
    """Goes up and down."""

    kind = "gauge"

    def set(self, value: float, **labels: str) -> None:
        """Replace the value."""
        self._values[self._key(labels)] = value


class Histogram(Family):
    """Observations counted in buckets; `buckets` are upper bounds without +Inf."""

    kind = "histogram"

    def __init__(self, name: str, help: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        super().__init__(name, help, labels)
        self._bounds = tuple(buckets)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, **labels: str) -> None:
        """Count one observation."""
        key = self._key(labels)
        counts = self._counts.setdefault(key, [0] * (len(self._bounds) + 1))
        counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sums[key] = self._sums.get(key, 0.0) + value

    def samples(self) -> Iterator[Sample]:
        for key, counts in self._counts.items():
            total = 0
            for bound, count in zip((*map(_number, self._bounds), "+Inf"), counts, strict=True):
                total += count
                yield f"{self.name}_bucket", (*key, ("le", bound)), total
            yield f"{self.name}_sum", key, self._sums[key]
            yield f"{self.name}_count", key, total


class Summary(Family):
    """Observations with quantiles over the last `WINDOW` of them, and their sum and number since the start."""

    kind = "summary"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, help, labels)
        self._recent: dict[Labels, deque[float]] = {}
        self._totals: dict[Labels, tuple[float, int]] = {}

    def observe(self, value: float, **labels: str) -> None:
        """Count one observation."""
        key = self._key(labels)
        self._recent.setdefault(key, deque(maxlen=WINDOW)).append(value)
        total, count = self._totals.get(key, (0.0, 0))
        self._totals[key] = (total + value, count + 1)

    def samples(self) -> Iterator[Sample]:
        for key, recent in self._recent.items():
            ordered = sorted(recent)
            for quantile in QUANTILES:
                value = ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]
                yield self.name, (*key, ("quantile", _number(quantile))), value
            total, count = self._totals[key]
            yield f"{self.name}_sum", key, total
            yield f"{self.name}_count", key, count


class Computed(Family):
    """A family whose values are computed at each scrape."""

    def __init__(
        self, name: str, help: str, source: Callable[[], Iterable[tuple[Labels, float]]], kind: str = "gauge"
    ) -> None:
        super().__init__(name, help)
        self.kind = kind
        self._source = source

    def samples(self) -> Iterator[Sample]:
        yield from ((self.name, labels, value) for labels, value in self._source())


class Alias(Family):
    """The values of another family under a second name."""

    def __init__(self, name: str, of: Family) -> None:
        super().__init__(name, of.help, of.labels)
        self.kind = of.kind
        self._of = of

    def samples(self) -> Iterator[Sample]:
        yield from ((self.name + name[len(self._of.name) :], key, value) for name, key, value in self._of.samples())


class Registry:
    """All families, in order; a name may be used once."""

    def __init__(self, *families: Family) -> None:
        self._families: dict[str, Family] = {}
        for family in families:
            if family.name in self._families:
                raise UnknownLabel(f"{family.name} is registered twice")
            self._families[family.name] = family

    def names(self) -> list[str]:
        """Registered names, for documentation tests."""
        return list(self._families)

    def text(self) -> bytes:
        """The exposition of everything."""
        lines: list[str] = []
        for family in self._families.values():
            lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
            for name, labels, value in family.samples():
                inner = ",".join(f'{label}="{_quotable(text)}"' for label, text in labels)
                lines.append(f"{name}{{{inner}}} {_number(value)}" if inner else f"{name} {_number(value)}")
        return ("\n".join(lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quotable(text: str) -> str:
    """For a label value: help texts, which stand alone, keep their quotation marks."""
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
