"""Cron expressions by the rules of watching.md §1.5 and windows by §1.6.

Five fields, or six with leading seconds; lists, ranges, steps, names, `7` = Sunday, `?` = `*`, `@daily` and its kin.
Day of month and day of week are combined with AND (not Vixie's OR). The arithmetic is croniter's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import croniter

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = {
    name: str(i)
    for i, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
DAYS = {name: str(i) for i, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
NAMES: tuple[dict[str, str], ...] = ({}, {}, {}, {}, MONTHS, DAYS)
FIELDS = ("seconds", "minutes", "hours", "day of month", "month", "day of week")
LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
SEARCH_YEARS = 8
"""29 February may be eight years away; a schedule that does not match within that time never does."""

_ITEM = re.compile(r"(?:\*|(?P<low>\d+)(?:-(?P<high>\d+))?)(?:/(?P<step>\d+))?")


class CronError(ValueError):
    """The expression is none; the message says which field and why."""


@dataclass(frozen=True)
class Cron:
    """A parsed expression: the allowed values of each of the six fields (seconds first)."""

    text: str
    fields: tuple[frozenset[int], ...]
    six_fields: bool

    def matches_minute(self, local: datetime) -> bool:
        """Whether the minute of `local` (its seconds ignored) is in the schedule, second 0."""
        seconds, minutes, hours, days, months, weekdays = self.fields
        return (
            0 in seconds
            and local.minute in minutes
            and local.hour in hours
            and local.day in days
            and local.month in months
            and local.isoweekday() % 7 in weekdays
        )

    def next_after(self, instant_ms: int, zone: ZoneInfo) -> int | None:
        """The first match strictly after `instant_ms`, in epoch ms; None if there is none within eight years."""
        start = datetime.fromtimestamp(instant_ms / 1000, zone)
        spelled = []
        for values, (low, high) in zip(self.fields, LIMITS, strict=True):
            everything = set(range(low, min(high, 6 if high == 7 else high) + 1))
            spelled.append("*" if values >= everything else ",".join(map(str, sorted(values))))
        walk = croniter(
            " ".join(spelled), start, day_or=False, second_at_beginning=True, max_years_between_matches=SEARCH_YEARS
        )
        for _ in range(500):
            found: datetime = walk.get_next(datetime)
            local = found.astimezone(zone)
            # The library moves wall times that a DST gap swallows; those do not match.
            if local.second in self.fields[0] and self.with_any_second().matches_minute(local):
                return int(found.timestamp()) * 1000
        return None

    def with_any_second(self) -> Cron:
        """The same schedule with every second allowed."""
        return Cron(self.text, (frozenset(range(60)), *self.fields[1:]), six_fields=True)


@lru_cache(maxsize=128)
def parse_cron(text: str) -> Cron:
    """Parse `text`; raises CronError that names the field at fault."""
    parts = ALIASES.get(text.strip().lower(), text).split()
    if len(parts) not in (5, 6):
        raise CronError(f"a cron expression has 5 fields, or 6 with leading seconds; this one has {len(parts)}")
    six = len(parts) == 6
    padded = parts if six else ["0", *parts]
    fields = tuple(_field(index, part) for index, part in enumerate(padded))
    if all(min(fields[3]) > LONGEST_MONTH.get(month, 31) for month in fields[4]):
        raise CronError("day of month: no month of this schedule has such a day")
    return Cron(text.strip(), fields, six)


def _field(index: int, text: str) -> frozenset[int]:
    low, high = LIMITS[index]
    values: set[int] = set()
    for item in text.split(","):
        spelled = item.lower()
        for name, digit in NAMES[index].items():
            spelled = re.sub(rf"\b{name}\b", digit, spelled)
        spelled = "*" + spelled[1:] if spelled.startswith("?") else spelled
        match = _ITEM.fullmatch(spelled)
        if match is None:
            raise CronError(f"{FIELDS[index]}: {spelled!r} is not a value, range or step")
        step = int(match["step"] or 1)
        if step < 1:
            raise CronError(f"{FIELDS[index]}: a step is at least 1")
        first = low if match["low"] is None else int(match["low"])
        open_ended = match["low"] is None or (match["high"] is None and match["step"])
        last = (6 if index == 5 else high) if open_ended else int(match["high"] or first)
        if first < low or last > high:
            raise CronError(f"{FIELDS[index]}: {spelled!r} is outside {low}–{high}")
        if last < first:
            raise CronError(f"{FIELDS[index]}: the range {spelled!r} is reversed")
        values.update(range(first, last + 1, step))
    return frozenset(value % 7 for value in values) if index == 5 else frozenset(values)


@dataclass(frozen=True)
class Window:
    """A maintenance window: open in every minute that matches the expression in its zone (watching.md §1.6)."""

    cron: Cron
    zone: ZoneInfo

    def is_open(self, instant_ms: int) -> bool:
        """Whether the window is open in the minute of `instant_ms`."""
        return self.cron.matches_minute(datetime.fromtimestamp(instant_ms // 1000, UTC).astimezone(self.zone))

    def next_minute(self, instant_ms: int) -> int | None:
        """The first open minute that begins after `instant_ms`, in epoch ms."""
        zeroed = Cron(self.cron.text, (frozenset({0}), *self.cron.fields[1:]), six_fields=True)
        return zeroed.next_after(instant_ms, self.zone)

    @property
    def opens_for_single_minutes(self) -> bool:
        """True when the minute field is not `*`: probably a mistake, worth a warning."""
        return len(self.cron.fields[1]) < 60


def make_window(expression: str, zone: str) -> Window:
    """A window from its variables; CronError when its seconds never include 0, for it would never open."""
    cron = parse_cron(expression)
    if 0 not in cron.fields[0]:
        raise CronError("a maintenance window whose seconds do not include 0 never opens")
    return Window(cron, ZoneInfo(zone))
