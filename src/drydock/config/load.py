"""Read the whole configuration once, at start: every section, every family, every problem together.

Sections and families live in their rooms; a `Schema` lists them (`app.settings.SCHEMA`), so that nothing here knows a room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from drydock.config.reader import Effective, Reading, read_section, unknown
from drydock.config.schema import section_of, spellings
from drydock.config.source import Problem, Source

T = TypeVar("T")


@dataclass(frozen=True)
class FamilyReading:
    """What came out of one component family: the usable members in order of name, and what was read to get there."""

    members: tuple[Any, ...]
    readings: tuple[Reading[Any], ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Family:
    """A group of variables with a component's name in them. `read` is None where a room reads its own from the source."""

    prefix: str
    member: type[Any] | None = None
    read: Callable[[Source], FamilyReading] | None = None


@dataclass(frozen=True)
class Schema:
    """Everything that can be configured.

    `sections` are read as they are, in the order of the documentation; `components` are documented beside them and read
    by their family. A section class may have `problems(reading)`, the rules that involve more than one variable.
    """

    sections: tuple[type[Any], ...]
    families: tuple[Family, ...] = ()
    components: tuple[type[Any], ...] = ()


class Settings:
    """The validated configuration: `settings[ServerSettings].port`, `settings.all(WatcherSettings)`.

    `source` holds the raw values of families, `effective` one line for each variable, `problems` all warnings.
    """

    def __init__(
        self,
        sections: Mapping[type[Any], Any],
        families: Mapping[type[Any], tuple[Any, ...]],
        source: Source,
        effective: tuple[Effective, ...] = (),
        problems: tuple[Problem, ...] = (),
    ) -> None:
        self._sections = dict(sections)
        self._families = dict(families)
        self.source = source
        self.effective = effective
        self.problems = problems

    def __getitem__(self, section: type[T]) -> T:
        """The values of a section."""
        found: T = self._sections[section]
        return found

    def all(self, member: type[T]) -> tuple[T, ...]:
        """The usable components of a family, by name."""
        return self._families[member]


@dataclass(frozen=True)
class Loaded:
    """`settings` is None when something fatal was found; `problems` then says everything that is wrong."""

    settings: Settings | None
    problems: tuple[Problem, ...]


def load(environ: Mapping[str, str], schema: Schema) -> Loaded:
    """Read and validate everything. Never raises for bad values; all problems are reported together."""
    source = Source(environ)
    sections = {cls: read_section(cls, source) for cls in schema.sections}
    families = {one.member: one.read(source) for one in schema.families if one.member and one.read}
    readings = [*sections.values(), *(reading for family in families.values() for reading in family.readings)]

    problems = [*source.problems, *(problem for reading in sections.values() for problem in reading.problems)]
    problems += [problem for family in families.values() for problem in family.problems]
    for cls, reading in sections.items():
        if reading.settings is not None and hasattr(cls, "problems"):
            problems += cls.problems(reading)
    problems += _unknown(source, readings, schema)

    if any(problem.fatal for problem in problems):
        return Loaded(None, tuple(problems))
    settings = Settings(
        {cls: reading.settings for cls, reading in sections.items()},
        {member: family.members for member, family in families.items()},
        source,
        tuple(line for reading in readings for line in reading.effective),
        tuple(problems),
    )
    return Loaded(settings, tuple(problems))


def component_names(source: Source, prefix: str) -> list[str]:
    """Names of the components that variables with this prefix mention, lower-case, in alphabetical order."""
    return sorted({name[len(prefix) :].split("_", 1)[0].lower() for name in source.names(prefix)})


def known_variables(schema: Schema) -> list[str]:
    """Documented names of all plain variables."""
    return [section_of(cls).prefix + suffix for cls in schema.sections for suffix, _, _ in spellings(section_of(cls))]


def _unknown(source: Source, readings: list[Reading[Any]], schema: Schema) -> Iterable[Problem]:
    used = {variable for reading in readings for variable in reading.used}
    known = known_variables(schema)
    families = tuple(family.prefix for family in schema.families)
    for variable in source.names():
        if variable not in used and not variable.startswith(families):
            yield unknown(variable, known)
