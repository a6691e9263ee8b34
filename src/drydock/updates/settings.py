"""Updates: concurrency, gates, retention, hooks (updates.md §1.3). Actions (`DD_ACTION_*`) are read by `actions`."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_UPDATE_", "Updates", "How updates are carried out.")
class UpdatesSettings:
    """`DD_UPDATE_*`."""

    max_concurrent: int = option(
        "MAX_CONCURRENT", kinds.integer(0), default=0, help="Updates at a time; 0: no limit. Others wait as `queued`."
    )
    heartbeat_s: float = option(
        "HEALTH_GATE_HEARTBEAT_MS",
        kinds.milliseconds(1000, zero=True),
        default=10.0,
        help="How often a waiting health gate repeats its event; 0: never.",
    )
    liveness_grace_s: float = option(
        "POST_START_LIVENESS_GRACE_MS",
        kinds.milliseconds(100, zero=True),
        default=2.0,
        help="A new container must still run after this time; 0: no check.",
    )
    recovery_concurrency: int = option(
        "RECOVERY_BOOT_CONCURRENCY",
        kinds.integer(1),
        default=4,
        help="Interrupted updates recovered at a time after a start.",
    )
    active_ttl_s: float = option(
        "OPERATION_ACTIVE_TTL_MS",
        kinds.milliseconds(1),
        default=1800.0,
        help="An update without progress ends as `expired` after this.",
        lenient=True,
    )
    retention_days: int = option(
        "OPERATION_RETENTION_DAYS",
        kinds.integer(1),
        default=30,
        help="Finished operations are kept this long.",
        lenient=True,
    )
    max_entries: int = option(
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
class ActionLabelSettings:
    """`DD_ACTION_LABELS_*`."""

    strict: bool = option(
        "ACTION_LABELS_STRICT",
        kinds.boolean(),
        default=False,
        help="`true`: `dd.action.include` and `.exclude` refuse manual updates too.",
        lenient=True,
    )
