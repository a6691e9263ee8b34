"""Read one section from a source: values, defaults, and a problem for every value that cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from drydock.config.schema import Option, section_of
from drydock.config.source import Entry, Origin, Problem, Source
from drydock.core.scrub import scrub
from drydock.core.secret import MASK

T = TypeVar("T")

SHOWN = 80


@dataclass(frozen=True)
class Effective:
    """One line of the effective configuration; secrets are masked already."""

    variable: str
    value: str
    origin: Origin | str


@dataclass
class Reading(Generic[T]):
    """What came out of one section or component: the settings (None if unusable), the values used, the problems."""

    settings: T | None
    effective: list[Effective] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def read_section(cls: type[T], source: Source) -> Reading[T]:
    """Read a plain section. A bad value is fatal unless its option is lenient."""
    prefix = section_of(cls).prefix
    return read(cls, prefix, source.under(prefix))


def read(
    cls: type[T], prefix: str, given: Mapping[str, Entry], *, only: Collection[str] | None = None, **plain: Any
) -> Reading[T]:
    """Read the options that `given` holds by the rest of their names behind `prefix`; `only` narrows them down.

    `plain` fills in fields that are no options; those that the class does not have are left out.
    """
    reading: Reading[T] = Reading(None)
    declared = section_of(cls)
    values: dict[str, Any] = {name: value for name, value in plain.items() if name in declared.plain}
    for field_name, spec in declared.fields.items():
        if only is not None and spec.names[0] not in only:
            continue
        entry = next((given[name] for name in spec.names if name in given), None)
        reading.used |= {given[name].name for name in spec.names if name in given}
        if entry is None or (spec.kind.empty_is_unset and not entry.value.strip()):
            reading.effective.append(Effective(prefix + spec.names[0], show_default(spec, spec.default), "default"))
            continue
        if spec.deprecated:
            reading.problems.append(Problem(entry.name, spec.deprecated))
        try:
            values[field_name] = spec.kind.read(entry.value)
            reading.effective.append(Effective(entry.name, spec.kind.hide(entry.value), entry.origin))
        except ValueError:
            values[field_name] = spec.fallback
            shown = MASK if spec.kind.secret else repr(scrub(entry.value)[:SHOWN])
            consequence = f"; using {show_default(spec, spec.fallback) or 'none'}" if spec.lenient else ""
            message = f"{shown} is not allowed, must be {spec.kind.allowed}{consequence}"
            reading.problems.append(Problem(entry.name, message, not spec.lenient))
            reading.effective.append(Effective(entry.name, show_default(spec, spec.fallback), "default"))
    if not any(problem.fatal for problem in reading.problems):
        reading.settings = cls(**values)
    return reading


def show_default(spec: Option, value: Any) -> str:
    """A default as it would be written in the variable; empty for none."""
    return "" if value is None else spec.kind.show(value)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return found[0] if found else None


def meant(name: str, known: Iterable[str], prefix: str = "") -> str | None:
    """The question whether another name was meant, if one is near. Both are without `prefix`, or all would look alike."""
    guess = nearest(name, known)
    return f"did you mean {prefix}{guess}?" if guess else None


def unknown(variable: str, known: Iterable[str], *, fatal: bool = False) -> Problem:
    """The problem of a variable that is not read, with the nearest known name."""
    return Problem(variable, "unknown variable", fatal, meant(variable, known))
