"""How a section of the configuration is declared: a frozen dataclass whose fields are options.

```python
@section("DD_SERVER_", "Server", "The HTTP server.")
class ServerSettings:
    port: int = option("PORT", kinds.integer(0, 65535), default=3000, help="TCP port to listen on.")
```
The declaration is the only source for reading, validation, masking, the reference documentation and the web form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

from drydock.config.kinds import Kind

T = TypeVar("T")

DEFAULT: Any = object()
"""Stands for "the default itself"."""


@dataclass(frozen=True)
class Option:
    """One variable. `names` are the accepted suffixes, the first is the documented one."""

    names: tuple[str, ...]
    kind: Kind[Any]
    default: Any
    help: str
    lenient: bool = False
    """A bad value becomes the default with a warning, instead of an error."""
    deprecated: str | None = None
    fallback: Any = None
    """What a bad value of a lenient option becomes; the default unless it says otherwise."""


@dataclass(frozen=True)
class Section:
    """A group of variables with a common prefix; `family` when a component name stands between prefix and option."""

    prefix: str
    title: str
    help: str
    family: bool
    fields: dict[str, Option]
    plain: frozenset[str]
    """Fields that are no options, such as the name of a component."""

    def variable(self, option: Option, component: str | None = None) -> str:
        """Full name of the variable, `<NAME>` where a component name belongs."""
        middle = f"{(component or '<NAME>').upper() if component else '<NAME>'}_" if self.family else ""
        return f"{self.prefix}{middle}{option.names[0]}"


def option(
    name: str,
    kind: Kind[T],
    *,
    default: Any,
    help: str,
    also: tuple[str, ...] = (),
    lenient: bool = False,
    deprecated: str | None = None,
    fallback: Any = DEFAULT,
) -> Any:
    """Declare a field of a section. Use `default=None` where absence has its own meaning."""
    instead = default if fallback is DEFAULT else fallback
    spec = Option((name, *also), kind, default, help, lenient, deprecated, instead)
    return dataclasses.field(default=default, metadata={"option": spec})


@dataclass_transform(field_specifiers=(option, dataclasses.field), frozen_default=True, kw_only_default=True)
def section(prefix: str, title: str, help: str, *, family: bool = False) -> Callable[[type[T]], type[T]]:
    """Class decorator: make a frozen dataclass and attach its `Section` as `__section__`."""

    def wrap(cls: type[T]) -> type[T]:
        made = dataclass(frozen=True, kw_only=True)(cls)
        fields = dataclasses.fields(made)  # type: ignore[arg-type]  # it is a dataclass now
        options = {f.name: f.metadata["option"] for f in fields if "option" in f.metadata}
        plain = frozenset(f.name for f in fields) - options.keys()
        made.__section__ = Section(prefix, title, help, family, options, plain)  # type: ignore[attr-defined]  # read by section_of
        return made

    return wrap


def section_of(cls: type[Any]) -> Section:
    """The declaration of a section class."""
    declared: Section = cls.__section__
    return declared


def spellings(declared: Section) -> Iterator[tuple[str, str, Option]]:
    """Every accepted suffix with its field name and option."""
    for field, spec in declared.fields.items():
        for name in spec.names:
            yield name, field, spec
