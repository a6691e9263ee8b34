"""Registry instances from variables, as the configuration makes them."""

from __future__ import annotations

from collections.abc import Mapping

from drydock.config.source import Source
from drydock.registries.instances import FAMILY, Instance, instances_of


def register(variables: Mapping[str, str]) -> tuple[list[Instance], list[str]]:
    """All instances, and why some could not be registered."""
    reading = FAMILY.read(Source(variables), ())
    return instances_of(reading.components, [problem for problem in reading.problems if problem.component])
