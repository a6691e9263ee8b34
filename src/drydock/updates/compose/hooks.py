"""`post_start` of a Compose service, run by the Engine inside the new container (updates.md §11.6)."""

from __future__ import annotations

from drydock.core.operation import Operation, PostStart
from drydock.updates.effects import Document, Plan, Run, StepFailed


class PostStartFailed(StepFailed):
    """A post_start command ended with an error."""

    code = "post-start-failed"
    rollback_code = "post_start_failed"


def after_start(operation: Operation, document: Document) -> Plan[None]:
    """Run the journaled commands in order; a container that no longer runs is left to the health gate."""
    for hook in operation.post_start:
        if not document["State"].get("Running"):
            return
        yield from _run(operation, hook, document["Id"])


def _run(operation: Operation, hook: PostStart, container: str) -> Plan[None]:
    result = yield Run(container, tuple(hook.command), tuple(hook.environment))
    if result.exit_code != 0:
        raise PostStartFailed(
            f"Compose post_start hook failed for {operation.container_name} ({operation.service or 'service'}) "
            f"with exit code {result.exit_code}",
        )


__all__ = ["PostStartFailed", "after_start"]
