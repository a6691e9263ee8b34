"""The running tag with its settings, compiled once for a whole tag list (inputs of watching.md §7.5)."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from drydock.core.errors import InvalidPattern, InvalidTransform
from drydock.core.tags import shape as shapes
from drydock.core.tags import version as versions
from drydock.core.tags.pattern import Pattern, compile_pattern
from drydock.core.tags.shape import Family, Precision, Shape
from drydock.core.tags.transform import IDENTITY, Transform, compile_transform
from drydock.core.tags.version import Version


class TagSubject(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about the tags of one container. Texts as configured; absent settings are None."""

    tag: str
    include: str | None = None
    exclude: str | None = None
    transform: str | None = None
    family: str | None = None
    pin_info: bool = True
    digest_watch: bool = True


@dataclass(frozen=True, slots=True)
class Current:
    """A compiled TagSubject: `text` is the transformed tag, `prefix` the raw tag before its first digit."""

    subject: TagSubject
    text: str
    version: Version | None
    shape: Shape | None
    prefix: str
    precision: Precision
    family: Family
    include: Pattern | None
    exclude: Pattern | None
    transform: Transform
    warnings: list[str] = field(default_factory=list)

    @property
    def has_include(self) -> bool:
        """Presence of the filter counts, also when it cannot be compiled."""
        return bool(self.subject.include)

    @property
    def pin_gated(self) -> bool:
        """The pin gate of §7.4."""
        return shapes.is_pin_gated(self.text, has_include=self.has_include, family=self.family)

    @property
    def recovers(self) -> bool:
        """The include filter excludes the running version tag: leave it for any member that matches (§7.5.1)."""
        return self.version is not None and self.include is not None and not self.include.matches(self.subject.tag)

    def allows(self, tag: str) -> bool:
        """Whether the filters let a tag through."""
        if self.include is not None and not self.include.matches(tag):
            return False
        return self.exclude is None or not self.exclude.matches(tag)

    @property
    def template(self) -> str:
        """Suffix template of the running tag, empty without a shape."""
        return self.shape.template if self.shape else ""


def compile_subject(subject: TagSubject) -> Current:
    """Compile filters, transform and shape; what cannot be used is ignored with a warning."""
    warnings: list[str] = []
    try:
        transform = compile_transform(subject.transform)
    except InvalidTransform as error:
        warnings.append(f"{error.message}; tags are compared as they are")
        transform = IDENTITY
    text = transform.apply(subject.tag)
    family, understood = shapes.family_of(subject.family)
    if not understood:
        warnings.append(f"dd.tag.family={subject.family!r} is neither strict nor loose; strict is used")
    return Current(
        subject=subject,
        text=text,
        version=versions.parse(text),
        shape=shapes.parse(text),
        prefix=shapes.raw_prefix(subject.tag),
        precision=shapes.precision(text),
        family=family,
        include=_pattern("include", subject.include, warnings),
        exclude=_pattern("exclude", subject.exclude, warnings),
        transform=transform,
        warnings=warnings,
    )


def _pattern(name: str, text: str | None, warnings: list[str]) -> Pattern | None:
    if not text:
        return None
    try:
        return compile_pattern(text)
    except InvalidPattern as error:
        warnings.append(f"dd.tag.{name} is ignored: {error.message}")
        return None
