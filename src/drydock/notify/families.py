"""Sorts `DD_NOTIFICATION_*`, `DD_ACTION_*` and the old `DD_TRIGGER_*` into components (notifications.md §1.1, §1.2, §1.4).

Only names are read here; values are checked against the options of the provider in `components`. The result keeps the
variable of every value, so that a problem can name it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from drydock.config.reader import nearest
from drydock.config.source import Problem

NOTIFICATION, ACTION, TRIGGER = "DD_NOTIFICATION_", "DD_ACTION_", "DD_TRIGGER_"
PREFIXES = (TRIGGER, ACTION, NOTIFICATION)
"""From the weakest to the strongest: both canonical prefixes configure any type."""

ACTION_TYPES = frozenset({"docker", "dockercompose", "command"})
UPDATE_TYPES = frozenset({"docker", "dockercompose"})
SHARED = ("threshold", "once", "mode", "order")
SWITCHES = frozenset({"DD_ACTION_LABELS_STRICT"})
"""Variables with one of the prefixes that are no component."""


@dataclass(frozen=True)
class Given:
    """A value, and the variable it came from."""

    variable: str
    value: str = field(repr=False)


Keys = dict[str, Given]
Identity = tuple[str, str]
"""Type and name of a component."""


@dataclass
class Families:
    """All components by type and name; keys are lower-case, nested ones joined by `_`."""

    components: dict[Identity, Keys] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    legacy: list[str] = field(default_factory=list)
    """Old variables that are in use."""

    def of_types(self, types: Collection[str]) -> Iterator[tuple[Identity, Keys]]:
        """Components of these types, by id."""
        for identity in sorted(self.components):
            if identity[0] in types:
                yield identity, self.components[identity]

    def for_updates(self) -> dict[str, str]:
        """The actions that apply updates, as `DD_ACTION_*` variables for the room that carries them out."""
        found: dict[str, str] = {}
        for (kind, name), keys in self.of_types(UPDATE_TYPES):
            found.update({canonical(kind, name, key): given.value for key, given in keys.items()})
        return found


def canonical(kind: str, name: str, key: str) -> str:
    """The documented variable of an option."""
    prefix = ACTION if kind in ACTION_TYPES else NOTIFICATION
    return f"{prefix}{kind}_{name}_{key}".upper()


def read(values: Mapping[str, str], types: Collection[str]) -> Families:
    """Sort the variables; `types` are the provider types that exist, those that apply updates included."""
    return _Sorter(frozenset(types)).sort(values)


class _Sorter:
    """Collects components, and the defaults of groups and types."""

    def __init__(self, types: frozenset[str]) -> None:
        self._types = types
        self._found = Families()
        self._type_defaults: dict[str, Keys] = {}
        self._strangers: dict[str, dict[tuple[str, ...], Given]] = {}

    def sort(self, values: Mapping[str, str]) -> Families:
        for prefix in PREFIXES:
            for variable in sorted(values):
                if variable.startswith(prefix) and variable not in SWITCHES:
                    self._take(variable[len(prefix) :].lower().split("_"), Given(variable, values[variable]))
                    self._note_legacy(prefix, variable)
        groups = self._groups()
        for (kind, name), own in self._found.components.items():
            defaults = {**groups.get(name, {}), **self._type_defaults.get(kind, {})}
            self._found.components[(kind, name)] = {**defaults, **own}
        self._share_by_name()
        return self._found

    def _take(self, segments: list[str], given: Given) -> None:
        kind, *rest = segments
        if kind not in self._types:
            self._strangers.setdefault(kind, {})[tuple(rest)] = given
        elif len(rest) >= 2 and all(segments):
            self._found.components.setdefault((kind, rest[0]), {})["_".join(rest[1:])] = given
        elif len(rest) == 1 and rest[0] in SHARED:
            self._type_defaults.setdefault(kind, {})[rest[0]] = given
        else:
            wanted = canonical(kind, "<name>", rest[-1] if rest and rest[-1] else "<key>")
            self._problem(given.variable, f"names no trigger; write {wanted}")

    def _note_legacy(self, prefix: str, variable: str) -> None:
        if prefix != TRIGGER:
            return
        rest = variable[len(TRIGGER) :]
        instead = (ACTION if rest.lower().split("_")[0] in ACTION_TYPES else NOTIFICATION) + rest
        self._found.legacy.append(variable)
        self._problem(variable, f"is an old name; use {instead}")

    def _groups(self) -> dict[str, Keys]:
        """Groups are what looks like an unknown type but has shareable options only."""
        groups: dict[str, Keys] = {}
        for kind, keys in self._strangers.items():
            if all(len(rest) == 1 and rest[0] in SHARED for rest in keys):
                groups[kind] = {rest[0]: given for rest, given in keys.items()}
            else:
                self._unknown_type(kind, keys.values())
        return groups

    def _unknown_type(self, kind: str, given: Iterable[Given]) -> None:
        guess = nearest(kind, sorted(self._types))
        hint = f"did you mean {guess}? " if guess else ""
        available = ", ".join(sorted(self._types - {"mock"}))
        for one in given:
            self._problem(one.variable, f"unknown trigger type {kind!r}; {hint}available: {available}")

    def _share_by_name(self) -> None:
        """Triggers of one name inherit from each other what exactly one value was given for."""
        by_name: dict[str, list[Keys]] = {}
        for (_, name), keys in self._found.components.items():
            by_name.setdefault(name, []).append(keys)
        for alike in by_name.values():
            for key in SHARED:
                values = {keys[key].value.strip().lower(): keys[key] for keys in alike if key in keys}
                if len(values) == 1:
                    only = next(iter(values.values()))
                    for keys in alike:
                        keys.setdefault(key, only)

    def _problem(self, variable: str, message: str) -> None:
        self._found.problems.append(Problem(variable, message))
