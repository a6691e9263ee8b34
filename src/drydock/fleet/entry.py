"""One container in the picture: its record, its view, when that view stops being true, and its encoded row.

A view is computed when the record changes and when one of its own deadlines passes (snooze ends, maturity gate opens,
an age crosses a line), not at every reading. Only `updateAge` moves with every millisecond: it is spliced into the
encoded row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from drydock.core.model import Container, ContainerView
from drydock.core.policy import maturity
from drydock.core.policy.layers import effective
from drydock.core.temporary import is_temporary
from drydock.core.times import DAY_MS, from_iso
from drydock.core.trace import Trace
from drydock.core.update import has_raw_update
from drydock.core.view import ViewContext, list_form, view

HOT_MS = DAY_MS
MATURE_MS = 7 * DAY_MS
ESTABLISHED_MS = 30 * DAY_MS
LONGEST_MS = 60_000
"""A view is evaluated again after once to twice this time, for what has no deadline (maintenance windows).

Spread by id, so that a large fleet is not evaluated all at once."""
NEVER = 1 << 62

_AGE = 8_007_199_254_740_881
"""Stands for the age while a row is encoded; no real age (in ms) is that long."""
_AGE_FIELD = b'"updateAge":'

encode = msgspec.json.Encoder().encode
NameKey = tuple[str, str, str, str]


class Flags(NamedTuple):
    """What one container adds to the counters of the summary."""

    total: int = 0
    running: int = 0
    available: int = 0
    unknown: int = 0
    issues: int = 0
    hot: int = 0
    mature: int = 0


NOTHING = Flags()


class Entry:
    """A container of the fleet."""

    __slots__ = (
        "_row",
        "clock",
        "computed_at",
        "container",
        "due",
        "flags",
        "longest",
        "name_key",
        "trace",
        "view",
        "visible",
    )

    view: ContainerView
    computed_at: int
    clock: int | None
    due: int
    flags: Flags

    def __init__(self, container: Container, trace: Trace | None) -> None:
        self.container = container
        self.trace = trace
        self.visible = not is_temporary(container.name)
        self.name_key: NameKey = (
            container.name.lower(),
            container.name.swapcase(),
            container.watcher,
            container.id,
        )
        self.longest = LONGEST_MS + hash(container.id) % LONGEST_MS
        self._row: tuple[bytes, bytes] | bytes | None = None

    def compute(self, now_ms: int, context: ViewContext) -> None:
        """Evaluate the view as of `now_ms`."""
        self.view = view(self.container, now_ms, context)
        self.computed_at = now_ms
        age = self.view.update_age
        self.clock = None if age is None else now_ms - age
        self.due = min((at for at in self._deadlines(now_ms, context) if at > now_ms), default=NEVER)
        self.flags = self._flags(now_ms) if self.visible else NOTHING
        self._row = None

    def worn(self, now_ms: int) -> bool:
        """The view is too old to be shown."""
        return not self.computed_at <= now_ms < min(self.due, self.computed_at + self.longest)

    def age(self, now_ms: int) -> int | None:
        """Age of the available update in ms."""
        return None if self.clock is None else max(0, now_ms - self.clock)

    def row(self, now_ms: int) -> bytes:
        """The list form, encoded; vulnerabilities are emptied."""
        if self._row is None and self.clock is None:
            self._row = encode(list_form(self.view, False))
        elif self._row is None:  # in two halves, between which the age of the moment goes
            text = encode(list_form(msgspec.structs.replace(self.view, update_age=_AGE), False))
            before, _, after = text.partition(_AGE_FIELD + str(_AGE).encode())
            self._row = before + _AGE_FIELD, after
        if isinstance(self._row, bytes):
            return self._row
        return b"%s%d%s" % (self._row[0], self.age(now_ms) or 0, self._row[1])

    def full_row(self, now_ms: int) -> bytes:
        """The list form with its vulnerabilities, encoded at every call: it is rarely requested."""
        return encode(list_form(self.aged(now_ms), True))

    def aged(self, now_ms: int) -> ContainerView:
        """The view with the age of this moment."""
        return msgspec.structs.replace(self.view, update_age=self.age(now_ms)) if self.clock is not None else self.view

    def _deadlines(self, now_ms: int, context: ViewContext) -> Iterator[int]:
        """Moments at which the view changes by time alone."""
        if self.clock is not None:
            lines = (HOT_MS, MATURE_MS + 1, context.maturity_threshold_days * DAY_MS, ESTABLISHED_MS + 1)
            yield from (self.clock + line for line in lines)
        if not has_raw_update(self.container):
            return
        policy, result = effective(self.container).policy, self.container.result
        texts = (policy.snooze_until, result.published_at if result else None)
        yield from (at for text in texts if (at := from_iso(text)) is not None)
        yield maturity.lift_time(self.container, policy, now_ms) or NEVER

    def _flags(self, now_ms: int) -> Flags:
        age = self.age(now_ms) if self.view.update_available else None
        return Flags(
            total=1,
            running=int(self.container.status.lower() == "running"),
            available=int(self.view.update_available),
            unknown=int(self.container.error is not None),
            issues=int(has_issue(self.container)),
            hot=int(age is not None and age < HOT_MS),
            mature=int(age is not None and HOT_MS <= age <= MATURE_MS),
        )


def has_issue(container: Container) -> bool:
    """The scan of the running image counts critical or high findings."""
    summary = ((container.security or {}).get("scan") or {}).get("summary") or {}
    return bool(summary.get("critical", 0) or summary.get("high", 0))
