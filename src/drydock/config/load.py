"""Read the whole configuration once, at start: every section, every family, every problem together.

Sections and families live in their rooms; a `Schema` lists them (`app.settings.SCHEMA`), so that nothing here knows a room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from drydock.config.components import Component, FamilyReading
from drydock.config.reader import Effective, Reading, read_section, unknown
from drydock.config.schema import section_of, spellings
from drydock.config.source import Problem, Source

T = TypeVar("T")


class FamilyOfComponents(Protocol):
    """A group of variables with a component's name in them; `config.components.Family`, and the watchers."""

    @property
    def all_prefixes(self) -> tuple[str, ...]: ...
    @property
    def sections(self) -> tuple[type[Any], ...]:
        """What the reference describes."""
        ...

    def read(self, source: Source, plain: Collection[str]) -> FamilyReading:
        """Read its components; `plain` are the variables of sections."""
        ...


@dataclass(frozen=True)
class Schema:
    """Everything that can be configured.

    `sections` are read as they are, in the order of the documentation; `families` read and document their own. A section
    class may have `problems(reading)`, the rules that involve more than one variable, and `conflicts(read)`, those that
    involve another section (`read(cls)` is None for one that cannot be used).
    """

    sections: tuple[type[Any], ...]
    families: tuple[FamilyOfComponents, ...] = ()

    def all_sections(self) -> tuple[type[Any], ...]:
        """Every section, in the order of the documentation."""
        return (*self.sections, *(section for family in self.families for section in family.sections))


class Settings:
    """The validated configuration: `settings[ServerSettings].port`, `settings.all(WatcherSettings)`.

    `source` holds the raw values, `effective` one line for each variable, `problems` all warnings, `former` the
    variables that are in use, or ignored, under a former name.
    """

    def __init__(
        self,
        sections: Mapping[type[Any], Any],
        families: Sequence[FamilyReading],
        source: Source,
        effective: tuple[Effective, ...] = (),
        problems: tuple[Problem, ...] = (),
    ) -> None:
        self._sections = dict(sections)
        self._components = [one for family in families for one in family.components]
        self.source = source
        self.effective = effective
        self.problems = problems
        self.former = (*source.ignored, *(name for family in families for name in family.former))

    def __getitem__(self, section: type[T]) -> T:
        """The values of a section."""
        found: T = self._sections[section]
        return found

    def all(self, member: type[T]) -> tuple[T, ...]:
        """The usable components of a family without types, by name."""
        return tuple(one for one in self._components if isinstance(one, member))

    def components(self, options: type[T]) -> tuple[Component[T], ...]:
        """The usable components whose options are declared by this section, by id."""
        return tuple(one for one in self._components if isinstance(one, Component) and one.member.options is options)

    def configures(self, prefix: str) -> bool:
        """Whether there is a component whose documented variables begin so, whatever prefix was used."""
        return any(one.member.prefix.startswith(prefix) for one in self._components if isinstance(one, Component))

    def left_out(self, kind: str) -> tuple[Problem, ...]:
        """Why components of a kind (trigger, registry, …) could not be registered."""
        return tuple(one for one in self.problems if one.component is not None and one.component.kind == kind)


@dataclass(frozen=True)
class Loaded:
    """`settings` is None when something fatal was found; `problems` then says everything that is wrong."""

    settings: Settings | None
    problems: tuple[Problem, ...]


def load(environ: Mapping[str, str], schema: Schema) -> Loaded:
    """Read and validate everything. Never raises for bad values; all problems are reported together."""
    source, plain = Source(environ), known_variables(schema)
    sections = {cls: read_section(cls, source) for cls in schema.sections}
    families = [family.read(source, plain) for family in schema.families]
    readings: list[Reading[Any] | FamilyReading] = [*sections.values(), *families]

    problems = [*source.problems, *(problem for reading in readings for problem in reading.problems)]
    for cls, reading in sections.items():
        if reading.settings is not None and hasattr(cls, "problems"):
            problems += cls.problems(reading)
        if hasattr(cls, "conflicts"):
            problems += cls.conflicts(lambda other: sections[other].settings)
    used = {variable for reading in readings for variable in reading.used}
    prefixes = tuple(prefix for family in schema.families for prefix in family.all_prefixes)
    problems += [unknown(name, plain) for name in source.names() if name not in used and not name.startswith(prefixes)]

    if any(problem.fatal for problem in problems):
        return Loaded(None, tuple(problems))
    effective = {line.variable: line for reading in readings for line in reading.effective}
    values = {cls: reading.settings for cls, reading in sections.items()}
    return Loaded(Settings(values, families, source, tuple(effective.values()), tuple(problems)), tuple(problems))


def known_variables(schema: Schema) -> list[str]:
    """Documented names of all plain variables."""
    return [section_of(cls).prefix + suffix for cls in schema.sections for suffix, _, _ in spellings(section_of(cls))]
