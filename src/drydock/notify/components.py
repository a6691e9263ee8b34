"""Turns what the variables say into triggers; one that is wrong is left out, and the problem says why (notifications.md §1.2, §2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from drydock.config.reader import Reading, nearest, read_given
from drydock.config.schema import section_of, spellings
from drydock.config.source import Entry, Problem
from drydock.notify.families import PREFIXES, UPDATE_TYPES, Families, Keys, canonical, read
from drydock.notify.model import Provider, Tools, Trigger
from drydock.notify.options import CommonOptions
from drydock.notify.providers import BY_TYPE


def gather(values: Mapping[str, str]) -> Families:
    """All components that `values` mention; `values` may hold other variables too."""
    return read(values, {*BY_TYPE, *UPDATE_TYPES})


def prefixes() -> Sequence[str]:
    """The prefixes of the variables that this room reads."""
    return PREFIXES


def build(families: Families, tools: Tools) -> tuple[list[Trigger], list[Problem]]:
    """The triggers of this room by id, and everything that is wrong with the variables of all triggers."""
    triggers: list[Trigger] = []
    problems = list(families.problems)
    for (kind, name), keys in families.of_types(BY_TYPE):
        made = _Component(BY_TYPE[kind], name, keys)
        problems += made.problems
        if made.usable:
            triggers.append(made.trigger(tools))
    return triggers, problems


def problems_of(values: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the triggers of this room, without opening any."""
    families = gather(values)
    components = [_Component(BY_TYPE[kind], name, keys) for (kind, name), keys in families.of_types(BY_TYPE)]
    return [*families.problems, *(problem for one in components for problem in one.problems)]


class _Component:
    """One component while it is read."""

    def __init__(self, provider: Provider, name: str, keys: Keys) -> None:
        self.provider = provider
        self.name = name
        self.problems: list[Problem] = []
        self._variables = {canonical(provider.type, name, key): given.variable for key, given in keys.items()}
        self._prefix = canonical(provider.type, name, "")
        given = {canonical(provider.type, name, key): Entry(one.value, "environment") for key, one in keys.items()}
        self.common = read_given(CommonOptions, self._prefix, given)
        self.own: Reading[Any] = read_given(provider.options, self._prefix, given)
        wrong = [problem for part in self._readings() for problem in part.problems]
        wrong += [self._unknown(variable) for variable in given if variable not in self.common.used | self.own.used]
        if self.own.settings is not None:
            wrong += [Problem(self._prefix + "*", text) for text in provider.check(self.own.settings)]
            advice = [Problem(self._prefix + "*", text) for text in provider.advise(self.own.settings)]
            self.problems += advice
        self.usable = not wrong
        self.problems += [self._consequence(problem) for problem in wrong]

    def trigger(self, tools: Tools) -> Trigger:
        """The trigger, with its channel opened."""
        common, own = self.common.settings, self.own.settings
        if common is None or own is None:
            raise ValueError(f"{self.provider.type}.{self.name} is not usable")
        return Trigger(self.provider, self.name, common, own, self.provider.open(own, tools))

    def _readings(self) -> tuple[Reading[Any], Reading[Any]]:
        return self.common, self.own

    def _unknown(self, variable: str) -> Problem:
        sections = (CommonOptions, self.provider.options)
        known = [self._prefix + suffix for cls in sections for suffix, _, _ in spellings(section_of(cls))]
        guess = nearest(variable, known)
        key = variable.removeprefix(self._prefix).lower().replace("_", ".")
        return Problem(variable, f'"{key}" is not allowed' + (f"; did you mean {guess}?" if guess else ""))

    def _consequence(self, problem: Problem) -> Problem:
        variable = self._variables.get(problem.variable, problem.variable)
        text = f"{problem.message} – trigger {self.provider.type}.{self.name} is not registered"
        return replace(problem, variable=variable, message=text, fatal=False)
