"""What an update asks of the world, as values (updates.md §5; docs/architecture.md).

A plan is a generator: it yields effects and receives their results, or has an error of `core.errors` raised at the
`yield`. It owns no socket and no clock. `executor.Executor` performs effects; tests perform them as they like.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, TypeAlias, TypeVar

import msgspec

from drydock.core.errors import DrydockError, EngineNotFound
from drydock.core.operation import PHASES, FileEdit, Operation
from drydock.docker.api import Document


class Effect(msgspec.Struct, frozen=True, kw_only=False):
    """Root of all effects. `mutates`: the intent is written to the journal before the effect is tried."""

    mutates: ClassVar[bool] = False

    @property
    def target(self) -> str | None:
        """What the effect changes, for the journal."""
        return getattr(self, "container", None)


T = TypeVar("T")
Plan: TypeAlias = Generator[Effect, Any, T]


# ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Identify(Effect, frozen=True):
    """Who the Engine is and what it can do → `docker.host.EngineFacts`."""


class PodmanSays(Effect, frozen=True):
    """What only Podman's own documents contain about a container and its image → `(health check, command line)`."""

    container: str
    image: str


class Probe(Effect, frozen=True):
    """Run a health check inside a container → whether it ended well within `timeout_s`. No answer raises."""

    container: str
    command: tuple[str, ...]
    timeout_s: float


class Inspect(Effect, frozen=True):
    """A container by id or name → document."""

    ref: str


class InspectImage(Effect, frozen=True):
    """An image by id or reference → document."""

    ref: str


class InspectNetwork(Effect, frozen=True):
    """A network by name → document."""

    ref: str


class ListContainers(Effect, frozen=True):
    """All containers, running or not, optionally those with a label → list of entries."""

    label: str | None = None


class Dependents(Effect, frozen=True):
    """The containers among `entries` that share a namespace of `owner` → list of `Dependent`."""

    owner: Document
    entries: list[Document]


class Successor(Effect, frozen=True):
    """The container that replaced `container` in an earlier operation, following chains → id or None."""

    container: str


class Now(Effect, frozen=True):
    """→ `Instant`."""


class Instant(msgspec.Struct, frozen=True):
    """Wall time in epoch ms (for names and records) and monotonic seconds (for waiting)."""

    ms: int
    monotonic: float


# ── changing containers and images ──────────────────────────────────────────────────────────────────────────────────


class Mutation(Effect, frozen=True):
    """An effect that changes the Engine or a file."""

    mutates: ClassVar[bool] = True


class Pull(Mutation, frozen=True):
    """Pull an image to its end; any error in the stream is a failure. Raises `Cancelled` when asked to stop."""

    reference: str
    platform: str | None = None


class Tag(Mutation, frozen=True):
    image: str
    repository: str
    tag: str


class Create(Mutation, frozen=True):
    """→ id of the new container."""

    name: str
    document: Document
    platform: str | None = None


class Rename(Mutation, frozen=True):
    container: str
    name: str


class Connect(Mutation, frozen=True):
    network: str
    container: str
    endpoint: Document


class SetRestartPolicy(Mutation, frozen=True):
    container: str
    policy: Document


class Stop(Mutation, frozen=True):
    """The container's own stop signal and grace apply; no answer within `patience_s` is an unknown outcome."""

    container: str
    patience_s: float


class Start(Mutation, frozen=True):
    container: str


class Remove(Mutation, frozen=True):
    """Never with volumes (updates.md §6.5)."""

    container: str
    force: bool = False


class WaitRemoved(Effect, frozen=True):
    """Wait until the Engine itself has removed a container → whether it is gone in time."""

    container: str
    timeout_s: float


class Run(Mutation, frozen=True):
    """A command inside a container → `ExecResult`."""

    container: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    privileged: bool = False


class WriteFile(Mutation, frozen=True):
    """Apply one journaled edit: written if the file is as it was, nothing if it is already done, else an error."""

    edit: FileEdit


# ── journal and surroundings ────────────────────────────────────────────────────────────────────────────────────────


class Record(Effect, frozen=True):
    """Change the row, durably, and publish it → the whole row. Use `record(...)`."""

    changes: dict[str, Any]


class CurrentRow(Effect, frozen=True):
    """→ the whole row as it is now, without writing it."""


class Reread(Effect, frozen=True):
    """→ the row as the journal has it, which may have been ended meanwhile."""


class WhoAmI(Effect, frozen=True):
    """→ id of the container this process runs in, or None outside of one on this Engine."""


class HelperFor(Effect, frozen=True):
    """→ `self_update.helper.Helper`: how to create the container that does what this process cannot. Raises `StepFailed`."""

    old: Document


class Announce(Effect, frozen=True):
    """Tell browsers that the server is about to go, and wait for one of them."""


class Duplicate(Effect, frozen=True):
    """Whether another operation explains why the container is gone (updates.md §4) → bool."""


class Stranger(Effect, frozen=True):
    """Whether no operation of this id is in the journal: another manager made the container → bool."""

    operation_id: str


class Requeue(Effect, frozen=True):
    """Put the operation back into the queue (recovery of a row that changed nothing) → the row."""


class Touch(Effect, frozen=True):
    """Renew the lease of the row and repeat its event (health-gate heartbeat)."""


class Checkpoint(Effect, frozen=True):
    """→ whether the operator asked to cancel."""


class PreHook(Effect, frozen=True):
    """Run the container's pre-update hook, if hooks are on; raises when it fails and may abort."""

    container: Document


class Verify(Effect, frozen=True):
    """Before the pull: is the image signed the way it must be? Raises when it is not."""

    reference: str


class Scan(Effect, frozen=True):
    """Ask the security gate about an image; raises when it must not be installed."""

    reference: str
    image_id: str
    container: Document


class PlanFiles(Effect, frozen=True):
    """What the update changes in Compose files → `compose.project.FilesPlan`; raises when it must not go on."""

    container: Document


class SaveBackup(Effect, frozen=True):
    """Write the backup record of the image a container runs → its id, or None without an action to name."""

    container: Document
    image: Document


class Sleep(Effect, frozen=True):
    seconds: float


class Notice(Effect, frozen=True):
    """Something an operator should know that changes no outcome: log and audit."""

    action: str
    text: str


def record(**changes: Any) -> Record:
    """Change the row: `op = yield record(phase="renamed")`."""
    return Record(changes)


def write(**changes: Any) -> Plan[Operation]:
    """Change the row and return it: `return (yield from write(status=…))`."""
    row: Operation = yield Record(changes)
    return row


def reach(phase: str, **changes: Any) -> Plan[Operation]:
    """Change the row and move it to `phase`, unless it is further already (a resumed stage)."""
    row: Operation = yield CurrentRow()
    ahead = row.phase in PHASES and PHASES.index(row.phase) >= PHASES.index(phase)
    return (yield from write(**changes) if ahead else write(phase=phase, **changes))


def look(ref: str) -> Plan[Document | None]:
    """A container's document, or None when the Engine does not know it."""
    try:
        found: Document = yield Inspect(ref)
    except EngineNotFound:
        return None
    return found


def look_image(ref: str) -> Plan[Document | None]:
    """An image's document, or None when it is not on the host."""
    try:
        found: Document = yield InspectImage(ref)
    except EngineNotFound:
        return None
    return found


def find(label: str) -> Plan[str | None]:
    """Id of the container that carries `label` (`key=value`), or None."""
    entries = yield ListContainers(label)
    return entries[0]["Id"] if entries else None


class StepFailed(DrydockError):
    """A step of an update went wrong in a way the Engine did not call an error."""

    code = "update-step-failed"
    rollback_code: str | None = None


class Cancelled(StepFailed):
    """The operator requested it."""

    code = "update-cancelled"
    default = "Cancelled by operator"
    rollback_code = "cancelled"


class JournalError(DrydockError):
    """The row could not be written; the step it belongs to was not begun (updates.md §9.5, row 17)."""

    code = "journal-error"
    default = "The operation journal could not be written"
