"""Updates: concurrency, gates, retention, hooks (updates.md §1.3). Actions (`DD_ACTION_*`) are read by their room."""

from __future__ import annotations

from typing import TypeVar

from drydock.config import kinds
from drydock.config.kinds import Kind
from drydock.config.schema import option, section

T = TypeVar("T")


def _zero_or(low: int) -> Kind[int]:
    """0 switches off; otherwise at least `low` milliseconds."""

    def read(text: str) -> int:
        number = kinds.integer(0).read(text)
        if 0 < number < low:
            raise ValueError(text)
        return number

    return Kind("integer", f"0 or a whole number of at least {low}", read)


@section("DD_UPDATE_", "Updates", "How updates are carried out.")
class UpdatesSettings:
    """`DD_UPDATE_*`."""

    max_concurrent: int = option(
        "MAX_CONCURRENT", kinds.integer(0), default=0, help="Updates at a time; 0: no limit. Others wait as `queued`."
    )
    health_gate_heartbeat_ms: int = option(
        "HEALTH_GATE_HEARTBEAT_MS",
        _zero_or(1000),
        default=10_000,
        help="How often a waiting health gate repeats its event; 0: never.",
    )
    post_start_liveness_grace_ms: int = option(
        "POST_START_LIVENESS_GRACE_MS",
        _zero_or(100),
        default=2_000,
        help="A new container must still run after this time; 0: do not look.",
    )
    recovery_boot_concurrency: int = option(
        "RECOVERY_BOOT_CONCURRENCY",
        kinds.integer(1),
        default=4,
        help="Interrupted updates that are brought to an end at a time after a start.",
    )
    operation_active_ttl_ms: int = option(
        "OPERATION_ACTIVE_TTL_MS",
        kinds.integer(1),
        default=1_800_000,
        help="An update that nobody carries out any more ends as `expired` after this.",
        lenient=True,
    )
    operation_retention_days: int = option(
        "OPERATION_RETENTION_DAYS",
        kinds.integer(1),
        default=30,
        help="Finished operations are kept this long.",
        lenient=True,
    )
    operation_max_entries: int = option(
        "OPERATION_MAX_ENTRIES", kinds.integer(1), default=500, help="Finished operations kept at most.", lenient=True
    )


@section("DD_HOOKS_", "Hooks", "Commands that containers' labels run before and after updates.")
class HooksSettings:
    """`DD_HOOKS_*`."""

    enabled: bool = option(
        "ENABLED", kinds.boolean(), default=False, help="Run the commands of `dd.hook.*` labels in this container."
    )
    allowed_commands: tuple[str, ...] | None = option(
        "ALLOWED_COMMANDS",
        kinds.csv(),
        default=None,
        help="First words of hook commands that may run. Unset: every command.",
    )


@section("DD_", "Action labels", "How strictly labels of containers hold.")
class LabelSettings:
    """How strictly labels hold."""

    action_labels_strict: bool = option(
        "ACTION_LABELS_STRICT",
        kinds.boolean(),
        default=False,
        help="`true`: `dd.action.include` and `.exclude` refuse manual updates too.",
        lenient=True,
    )
