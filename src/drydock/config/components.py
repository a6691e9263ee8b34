"""Component families: variables with a type and a name in them, `DD_NOTIFICATION_NTFY_PHONE_TOPIC` (notifications.md §1.2).

A family lists its members, a member declares its options beside its code. From that one declaration come the reader
below, the masks of `shown`, and the reference of the configuration. What a component does is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

from drydock.config.reader import Effective, Reading, meant, nearest, read
from drydock.config.schema import Option, section_of, spellings
from drydock.config.source import ComponentId, Entry, Problem, Source
from drydock.core.secret import MASK, Secret

T = TypeVar("T")

SectionClass = type[Any]
"""A class made with `config.schema.section`."""
Given = dict[str, Entry]
"""Values of one component by option, `AUTH_TOKEN`; each entry knows the variable that it came from."""


class Wrong(NamedTuple):
    """What is wrong with options that are right one by one. `option` names the variable; `*` where it is about several."""

    message: str
    option: str = "*"
    hint: str | None = None


def nothing(settings: Any) -> Sequence[Wrong]:
    """For members whose options need no check together."""
    del settings
    return ()


@dataclass(frozen=True, kw_only=True)
class Member:
    """One type of a family. `common` is a section that several members share, `only` the options that this type knows.

    `check` says what keeps a component from being used, `advise` what does not. Both get the value of `options`, where
    the plain fields `type` and `name` are filled in if there are any.
    """

    type: str
    options: SectionClass
    common: SectionClass | None = None
    only: frozenset[str] | None = None
    check: Callable[[Any], Sequence[Wrong]] = nothing
    advise: Callable[[Any], Sequence[Wrong]] = nothing
    for_trial: bool = False
    """Not among the types that are offered to people."""

    @property
    def prefix(self) -> str:
        """How the documented variables of this type begin."""
        return section_of(self.options).prefix.replace("<TYPE>", self.type.upper())

    def leaves_unset(self, option: str, text: str) -> bool:
        """Whether this value of an option is none: an empty one of an enumeration."""
        sections = (self.options, self.common) if self.common else (self.options,)
        specs = {name: spec for cls in sections for name, _, spec in spellings(section_of(cls))}
        return not text.strip() and option in specs and specs[option].kind.empty_is_unset

    def knows(self) -> list[str]:
        """Every option that may be given, in all spellings."""
        sections = (self.options, self.common) if self.common else (self.options,)
        names = [name for cls in sections for name, _, _ in spellings(section_of(cls))]
        return [name for name in names if self.only is None or name in self.only]


@dataclass(frozen=True)
class Component(Generic[T]):
    """A usable component: the values of its member's `options` and `common`."""

    member: Member
    name: str
    settings: T
    common: Any = None

    @property
    def type(self) -> str:
        return self.member.type

    @property
    def id(self) -> str:
        return f"{self.type}.{self.name}"


@dataclass
class FamilyReading:
    """What came out of a family: usable components by id, lines for `drydock config`, and everything that is wrong."""

    components: list[Any] = field(default_factory=list)
    effective: list[Effective] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    former: list[str] = field(default_factory=list)
    """Variables that are in use under a former name."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Components of one kind. Each of `prefixes` configures every type, the first wins; `former` is a prefix of old.

    `shared` options may also be given for all components of a type or of a name (notifications.md §1.4). With `bare`,
    an empty `<PREFIX><TYPE>_<NAME>` stands for a component without options (registries.md §1.1).
    """

    kind: str
    prefixes: tuple[str, ...]
    members: tuple[Member, ...]
    former: str | None = None
    shared: tuple[str, ...] = ()
    bare: bool = False

    def read(self, source: Source, plain: Collection[str]) -> FamilyReading:
        """Read every component; `plain` are the variables of sections that begin alike but are no components."""
        return _FamilyReader(self, plain).read(source)

    @property
    def all_prefixes(self) -> tuple[str, ...]:
        """From the strongest to the weakest."""
        return (*self.prefixes, self.former) if self.former else self.prefixes

    @property
    def sections(self) -> tuple[SectionClass, ...]:
        """Every section of the members, the common ones first where they are met first."""
        found = [section for member in self.members for section in (member.common, member.options) if section]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Reserved:
    """Variables that a room reads by itself."""

    all_prefixes: tuple[str, ...]
    sections: tuple[SectionClass, ...] = ()

    def read(self, source: Source, plain: Collection[str]) -> FamilyReading:
        """Nothing."""
        del source, plain
        return FamilyReading()


def component_names(source: Source, prefix: str) -> list[str]:
    """Names of the components that variables with this prefix mention, lower-case, in alphabetical order."""
    return sorted({name[len(prefix) :].split("_", 1)[0].lower() for name in source.names(prefix)})


class _FamilyReader:
    """Reads one family once."""

    def __init__(self, family: Family, plain: Collection[str]) -> None:
        self._family = family
        self._plain = {variable for variable in plain if variable.startswith(family.all_prefixes)}
        self._members = {member.type.upper(): member for member in family.members}
        self._components: dict[tuple[str, str], Given] = {}
        self._of_type: dict[str, Given] = {}
        self._strangers: dict[str, dict[tuple[str, ...], Entry]] = {}
        self._reading = FamilyReading()

    def read(self, source: Source) -> FamilyReading:
        for prefix in reversed(self._family.all_prefixes):
            for rest, entry in source.under(prefix).items():
                if entry.name not in self._plain:
                    self._reading.used.add(entry.name)
                    self._sort_in(rest, entry)
                    if prefix == self._family.former:
                        kind, _, tail = rest.partition("_")
                        member = self._members.get(kind)
                        instead = f"{member.prefix}{tail}" if member else f"{self._family.prefixes[0]}{rest}"
                        self._reading.former.append(entry.name)
                        self._reading.problems.append(Problem(entry.name, f"is an old name; use {instead}"))
        groups = self._defaults_by_name()
        for (kind, name), given in self._components.items():
            self._components[(kind, name)] = {**groups.get(name, {}), **self._of_type.get(kind, {}), **given}
        self._share_by_name()
        for (kind, name), given in sorted(self._components.items()):
            self._read_component(self._members[kind], name.lower(), given)
        return self._reading

    def _sort_in(self, rest: str, entry: Entry) -> None:
        kind, *path = rest.split("_")
        member = self._members.get(kind)
        if member is None:
            self._strangers.setdefault(kind, {})[tuple(path)] = entry
        elif len(path) >= 2 and all(path):
            given, name = self._components.setdefault((kind, path[0]), {}), "_".join(path[1:])
            if not member.leaves_unset(name, entry.value):
                given[name] = entry
        elif len(path) == 1 and path[0] and self._family.bare and not entry.value:
            self._components.setdefault((kind, path[0]), {})
        elif len(path) == 1 and path[0] in self._family.shared:
            self._of_type.setdefault(kind, {})[path[0]] = entry
        else:
            option = path[-1] if path and path[-1] else "<KEY>"
            message = f"names no {self._family.kind}; write {member.prefix}<NAME>_{option}"
            self._problem(entry.name, message, type=member.type)

    def _defaults_by_name(self) -> dict[str, Given]:
        """What looks like an unknown type, but has shared options only; anything else is an unknown type."""
        offered = sorted(member.type for member in self._family.members if not member.for_trial)
        groups: dict[str, Given] = {}
        for kind, given in self._strangers.items():
            if all(len(path) == 1 and path[0] in self._family.shared for path in given):
                groups[kind] = {path[0]: entry for path, entry in given.items()}
                continue
            hint = f"did you mean {guess}? " if (guess := nearest(kind.lower(), offered)) else ""
            available = f"{hint}available: {', '.join(offered)}"
            for entry in given.values():
                if plain := meant(entry.name, self._plain):
                    self._problem(entry.name, "unknown variable", hint=plain, type=kind.lower())
                else:
                    message = f"unknown {self._family.kind} type {kind.lower()!r}"
                    self._problem(entry.name, message, hint=available, type=kind.lower())
        return groups

    def _share_by_name(self) -> None:
        """Components of one name inherit from each other what exactly one value was given for."""
        by_name: dict[str, list[Given]] = {}
        for (_, name), given in self._components.items():
            by_name.setdefault(name, []).append(given)
        for alike in by_name.values():
            for option in self._family.shared:
                values = {given[option].value.strip().lower(): given[option] for given in alike if option in given}
                if len(values) == 1:
                    for given in alike:
                        given.setdefault(option, next(iter(values.values())))

    def _read_component(self, member: Member, name: str, given: Given) -> None:
        """Anything wrong with a component makes it unusable, and only it."""
        identity = ComponentId(self._family.kind, member.type, name)
        prefix, known = f"{member.prefix}{name.upper()}_", member.knows()
        own: Reading[Any] = read(member.options, prefix, given, only=member.only, type=member.type, name=name)
        common = read(member.common, prefix, given, only=member.only) if member.common else None
        parts = (own, common) if common else (own,)

        problems = [problem for part in parts for problem in part.problems]
        for option, entry in given.items():
            if option not in known:
                said = f'"{option.lower().replace("_", ".")}" is not allowed'
                problems.append(Problem(entry.name, said, True, meant(option, known, prefix)))
        if own.settings is not None:
            problems += _told(prefix, member.check(own.settings), fatal=True)
            problems += _told(prefix, member.advise(own.settings), fatal=False)
        if own.settings is not None and not any(problem.fatal for problem in problems):
            self._reading.components.append(Component(member, name, own.settings, common.settings if common else None))
        for problem in problems:
            left_out = identity if problem.fatal else None
            self._reading.problems.append(replace(problem, fatal=False, component=left_out))
        self._reading.effective += [line for part in parts for line in part.effective]

    def _problem(self, variable: str, message: str, *, type: str, hint: str | None = None) -> None:
        about = ComponentId(self._family.kind, type)
        self._reading.problems.append(Problem(variable, message, hint=hint, component=about))


def _told(prefix: str, wrong: Sequence[Wrong], *, fatal: bool) -> Iterator[Problem]:
    for one in wrong:
        yield Problem(prefix + one.option, one.message, fatal, one.hint)


def shown(settings: Any, only: Collection[str] | None = None) -> dict[str, Any]:
    """All options that have a value, nested as their names say (`AUTH_USER` is `auth.user`), secrets masked."""
    found: dict[str, Any] = {}
    for field_name, spec in section_of(type(settings)).fields.items():
        value = getattr(settings, field_name)
        if value is None or (only is not None and spec.names[0] not in only):
            continue
        *parents, last = spec.names[0].lower().split("_")
        into = found
        for parent in parents:
            into = into.setdefault(parent, {})
        into[last] = _masked(spec, value)
    return found


def _masked(spec: Option, value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, str):
        return spec.kind.hide(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float):
        number = float(spec.kind.show(value))  # in the unit of the variable
        return int(number) if number.is_integer() else number
    return value


def secrets_of(settings: Any) -> tuple[str, ...]:
    """The texts among the values that must not appear in an error."""
    values = (getattr(settings, name) for name in section_of(type(settings)).fields)
    return tuple(value.reveal() for value in values if isinstance(value, Secret))
