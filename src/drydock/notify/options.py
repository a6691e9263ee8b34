"""Options that every trigger has (notifications.md §2)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.core.policy.automation import AutoMode
from drydock.core.policy.thresholds import THRESHOLDS
from drydock.triggers import MODES, auto

SIMPLE_TITLE = "New ${kind} found for container ${name}"
SIMPLE_BODY = (
    "Container ${container.name} running with ${container.updateKind.kind} ${container.updateKind.localValue} "
    "can be updated to ${container.updateKind.kind} ${container.updateKind.remoteValue}"
    '${container.result && container.result.link ? "\\n" + container.result.link : ""}'
)
BATCH_TITLE = "${containers.length} updates available"


@section(
    "DD_NOTIFICATION_<TYPE>_",
    "Options of every trigger",
    "They belong to every notification and action. `DD_NOTIFICATION_<TYPE>_<KEY>` sets `THRESHOLD`, `ONCE`, `MODE` or "
    "`ORDER` for all triggers of a type.",
    family=True,
)
class CommonOptions:
    """What decides when a trigger speaks, and in which words."""

    auto: AutoMode | None = option(
        "AUTO",
        auto(),
        default=None,
        help="Which updates trigger it: always (`true`, `all`), only to containers that include it by label "
        "(`oninclude`, `onauto`), never (`false`, `none`). Default: `all` for notifications, `oninclude` for actions.",
    )
    order: float = option("ORDER", kinds.number(), default=100.0, help="Triggers are served in ascending order.")
    threshold: str = option(
        "THRESHOLD", kinds.choice(*THRESHOLDS), default="all", help="The smallest update that triggers it."
    )
    mode: str = option(
        "MODE",
        kinds.choice(*MODES),
        default="simple",
        help="One message per container, one per scan (`batch`), or one per `DIGESTCRON` (`digest`).",
    )
    once: bool = option("ONCE", kinds.boolean(), default=True, help="Send each result of a container only once.")
    digestcron: str = option("DIGESTCRON", kinds.cron(), default="0 8 * * *", help="When digests are sent.")
    simpletitle: str = option("SIMPLETITLE", kinds.text(), default=SIMPLE_TITLE, help="Title of one update.")
    simplebody: str = option("SIMPLEBODY", kinds.text(), default=SIMPLE_BODY, help="Text of one update.")
    batchtitle: str = option("BATCHTITLE", kinds.text(), default=BATCH_TITLE, help="Title of several updates.")
    resolvenotifications: bool = option(
        "RESOLVENOTIFICATIONS",
        kinds.boolean(),
        default=False,
        help="Withdraw a message once its update was applied, where the service supports it.",
    )
    securitymode: str = option(
        "SECURITYMODE", kinds.choice(*MODES), default="simple", help="As `MODE`, for security alerts."
    )
    securitydigesttitle: str | None = option(
        "SECURITYDIGESTTITLE", kinds.text(), default=None, help="Title of a security digest."
    )
    securitydigestbody: str | None = option(
        "SECURITYDIGESTBODY", kinds.text(), default=None, help="Text of a security digest."
    )
    disabletitle: bool = option("DISABLETITLE", kinds.boolean(), default=False, help="Send the text without a title.")
