"""Why a Compose file is not edited."""

from __future__ import annotations

from drydock.updates.plan.effects import StepFailed


class ComposeProblem(StepFailed):
    """The file cannot be edited safely; nothing was written."""

    code = "compose-edit-impossible"


class Interpolated(ComposeProblem):
    """The image of the service comes from a variable that cannot be changed for certain."""

    code = "compose-image-interpolated"


class Invalid(ComposeProblem):
    """The edited text would not be what was meant."""
