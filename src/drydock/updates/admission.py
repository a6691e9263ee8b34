"""May this container be updated now? The checks of updates.md §2.1, in their order; the first that hits answers."""

from __future__ import annotations

from drydock.core.errors import BadRequest, Conflict, DrydockError, Forbidden, NotFound
from drydock.core.model import Blocker, Container
from drydock.core.operation import Operation
from drydock.core.policy.automation import Access, choose, compatible, update_triggers
from drydock.core.policy.eligibility import EligibilityContext, evaluate
from drydock.core.temporary import is_temporary
from drydock.core.update import has_raw_update, update_kind
from drydock.updates.settings import UpdateMode

_MISSING_ACTION = frozenset({"no-update-trigger-configured", "agent-mismatch"})
NO_ACTION = "No docker trigger found for this container"


def check_enabled(enabled: bool) -> None:
    """Check 1."""
    if not enabled:
        raise Forbidden("Container actions are disabled", hint="Set DD_SERVER_FEATURE_CONTAINERACTIONS=true.")


def check_container(
    container: Container, active: Operation | None, mode: UpdateMode, context: EligibilityContext, now_ms: int
) -> None:
    """Checks 3 to 8 for a manual request; raises the answer."""
    if is_temporary(container.name):
        raise Conflict("Cannot update temporary rollback container")
    check_idle(active)
    if mode == "notify":
        raise Conflict("Update mode is notify; Drydock will not apply updates")
    if not has_raw_update(container, raw_tags=True):
        raise BadRequest("No update available for this container")
    blockers = evaluate(container, now_ms, context).blockers
    hard = next((blocker for blocker in blockers if blocker.severity == "hard"), None)
    if hard is not None:
        raise _answer(hard)


def check_idle(active: Operation | None) -> None:
    """Check 4: nothing is queued or running for this container."""
    if active is None:
        return
    if active.status == "queued":
        raise Conflict("Container update already queued")
    raise Conflict("Container update already in progress")


def _answer(blocker: Blocker) -> DrydockError:
    if blocker.reason in _MISSING_ACTION:
        return NotFound(NO_ACTION, hint=blocker.action_hint)
    return Conflict(blocker.message, hint=blocker.action_hint)


def serving(container: Container, context: EligibilityContext) -> Access | None:
    """The action that carries out an update of this container, whether asked by hand or automatic."""
    ranked = compatible(update_triggers(context.triggers), container)
    return choose(ranked, container, update_kind(container))


def need_action(container: Container, context: EligibilityContext) -> str:
    """Id of the action that serves the container; 404 when none does."""
    access = serving(container, context)
    if access is None:
        raise NotFound(NO_ACTION)
    return access.trigger.id
