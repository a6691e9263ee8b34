"""Read one section from a source: values, defaults, and a problem for every value that cannot be used."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from drydock.config.schema import Option, Section, section_of, spellings
from drydock.config.source import Entry, Origin, Problem, Source
from drydock.core.scrub import scrub

T = TypeVar("T")

SHOWN = 80
MASK = "[REDACTED]"


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
    declared = section_of(cls)
    given = {name: entry for name in source.names(declared.prefix) if (entry := source.get(name))}
    return _read(cls, declared, declared.prefix, given)


def read_component(cls: type[T], source: Source, component: str) -> Reading[T]:
    """Read one component of a family (`DD_WATCHER_<NAME>_…`); unknown keys make it unusable."""
    return read_with_prefix(cls, source, f"{section_of(cls).prefix}{component.upper()}_")


def read_with_prefix(cls: type[T], source: Source, prefix: str) -> Reading[T]:
    """Read a component whose variables begin with `prefix`."""
    given = {name: entry for name in source.names(prefix) if (entry := source.get(name))}
    return _read(cls, section_of(cls), prefix, given)


def read_given(cls: type[T], prefix: str, given: dict[str, Entry]) -> Reading[T]:
    """Read a component from values that were gathered from several prefixes and renamed to begin with `prefix`."""
    return _read(cls, section_of(cls), prefix, given)


def _read(cls: type[T], declared: Section, prefix: str, given: dict[str, Entry]) -> Reading[T]:
    reading: Reading[T] = Reading(None)
    values: dict[str, Any] = {}
    known = {prefix + suffix: (field_name, spec) for suffix, field_name, spec in spellings(declared)}
    for field_name, spec in declared.fields.items():
        found = next((prefix + name for name in spec.names if prefix + name in given), None)
        if found is None:
            reading.effective.append(Effective(prefix + spec.names[0], show(spec, None), "default"))
            continue
        values[field_name] = _value(reading, found, spec, given[found])
    reading.used = {name for name in given if name in known}
    if not any(problem.fatal for problem in reading.problems):
        reading.settings = cls(**values)
    return reading


def _value(reading: Reading[Any], variable: str, spec: Option, entry: Entry) -> Any:
    if spec.deprecated:
        reading.problems.append(Problem(variable, spec.deprecated))
    try:
        value = spec.kind.read(entry.value)
    except ValueError:
        reading.problems.append(_bad(variable, spec, entry))
        reading.effective.append(Effective(variable, show_default(spec, spec.fallback), "default"))
        return spec.fallback
    reading.effective.append(Effective(variable, show(spec, entry), entry.origin))
    return value


def _bad(variable: str, spec: Option, entry: Entry) -> Problem:
    shown = MASK if spec.kind.secret else repr(scrub(entry.value)[:SHOWN])
    consequence = f"; using {show_default(spec, spec.fallback) or 'none'}" if spec.lenient else ""
    return Problem(variable, f"{shown} is not allowed, must be {spec.kind.allowed}{consequence}", not spec.lenient)


def show(spec: Option, entry: Entry | None) -> str:
    """A value for people: masked when secret, the default where none is given, empty for none at all."""
    if entry is not None:
        return MASK if spec.kind.secret and entry.value else entry.value
    return show_default(spec, spec.default)


def show_default(spec: Option, value: Any) -> str:
    """A default as it would be written in the variable; empty for none."""
    return "" if value is None else spec.kind.show(value)


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that `name` was probably meant to be."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return found[0] if found else None


def unknown(variable: str, known: list[str], *, fatal: bool = False) -> Problem:
    """The problem of a variable that nobody reads, with the nearest known name."""
    guess = nearest(variable, known)
    return Problem(variable, "unknown variable" + (f"; did you mean {guess}?" if guess else ""), fatal)
