"""Settings as a test wants them: the sections it gives, and every other one with its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drydock.app.settings import SCHEMA
from drydock.config.components import Component, FamilyReading
from drydock.config.load import Settings
from drydock.config.source import Source


def configured(*given: Any, components: Sequence[Component[Any]] = ()) -> Settings:
    """The settings of a process that is configured with these sections and components."""
    sections = {cls: cls() for cls in SCHEMA.sections} | {type(section): section for section in given}
    return Settings(sections, [FamilyReading(components=list(components))], Source({}))
