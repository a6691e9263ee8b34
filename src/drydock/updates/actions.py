"""Actions: the configured components that apply updates (updates.md §1).

Their variables are those of every trigger (`drydock.triggers`). Which action serves a container is
`core.policy.automation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from drydock.config import kinds
from drydock.config.components import Member, Wrong, shown
from drydock.config.schema import option, section, section_of
from drydock.core.policy.automation import AutoMode, TriggerFacts
from drydock.core.policy.thresholds import THRESHOLDS
from drydock.triggers import MODES, auto
from drydock.updates.compose.files import unusable


@section(
    "DD_ACTION_<TYPE>_",
    "Actions that apply updates",
    "`<TYPE>` is `DOCKER` or `DOCKERCOMPOSE`. `FILE` and what follows it belong to `DOCKERCOMPOSE`, which always works "
    "in batches.",
    family=True,
)
class Action:
    """One action, `DD_ACTION_<TYPE>_<NAME>_*`."""

    type: str = "docker"
    name: str = ""
    agent: str | None = None
    prune: bool = option(
        "PRUNE", kinds.boolean(), default=False, help="Remove superseded images after a successful update."
    )
    dry_run: bool = option("DRYRUN", kinds.boolean(), default=False, help="Pull and scan only; never replace.")
    backup_count: int = option(
        "BACKUPCOUNT", kinds.integer(0), default=3, help="Backups of the image that are kept per container."
    )
    auto_remove_timeout: float = option(
        "AUTOREMOVETIMEOUT",
        kinds.milliseconds(),
        default=10.0,
        help="How long to wait until a container with `--rm` is gone (ms).",
    )
    auto: AutoMode = option(
        "AUTO",
        auto(),
        default="oninclude",
        help="What is updated automatically: everything (`true`, `all`), containers that include the action by label "
        "(`oninclude`), those that also name it in `dd.action.auto` (`onauto`), nothing (`false`, `none`).",
    )
    threshold: str = option(
        "THRESHOLD", kinds.choice(*THRESHOLDS), default="all", help="The smallest update that is applied automatically."
    )
    mode: str = option(
        "MODE", kinds.choice(*MODES), default="simple", help="Whether containers are updated one by one or per scan."
    )
    once: bool = option("ONCE", kinds.boolean(), default=True, help="Try each candidate automatically only once.")
    order: float = option("ORDER", kinds.number(), default=100.0, help="Actions are served in ascending order.")
    file: str | None = option(
        "FILE", kinds.path(), default=None, help="Compose file or folder; without one, the container's labels name it."
    )
    backup: bool = option(
        "BACKUP", kinds.boolean(), default=False, help="Copy the file to `<file>.back` before it is written."
    )
    compose_file_label: str = option(
        "COMPOSEFILELABEL", kinds.text(), default="dd.compose.file", help="Label that holds a container's Compose file."
    )
    reconciliation_mode: str = option(
        "RECONCILIATIONMODE",
        kinds.choice("warn", "block", "off"),
        default="warn",
        help="What happens when the file names another image than the one that runs.",
    )
    digest_pinning: bool = option(
        "DIGESTPINNING", kinds.boolean(), default=False, help="Write `image@sha256:…` when a digest is known."
    )
    compose_file_once: bool = option(
        "COMPOSEFILEONCE", kinds.boolean(), default=False, help="One pull and replacement per service and batch."
    )
    mount_prefix_fallback: bool = option(
        "MOUNTPREFIXFALLBACK",
        kinds.boolean(),
        default=False,
        help="Also match a file by its last folder and name, where mounts differ.",
    )

    @property
    def id(self) -> str:
        return ".".join(part for part in (self.agent, self.type, self.name) if part)

    def facts(self) -> TriggerFacts:
        """What the policy needs to know."""
        return TriggerFacts(
            id=self.id, type=self.type, name=self.name, agent=self.agent, threshold=self.threshold, auto=self.auto
        )

    def configuration(self) -> dict[str, Any]:
        """Effective settings as the API shows them."""
        if self.type == "docker":
            return shown(self, DOCKER.only)
        return {**shown(self), "mode": "batch"}


def _check_file(action: Action) -> Sequence[Wrong]:
    why = unusable(action.file) if action.file is not None else None
    return [Wrong(f"{action.file} {why}", "FILE")] if why else ()


_COMPOSE_ONLY = {
    "FILE",
    "BACKUP",
    "COMPOSEFILELABEL",
    "RECONCILIATIONMODE",
    "DIGESTPINNING",
    "COMPOSEFILEONCE",
    "MOUNTPREFIXFALLBACK",
}
_ALL = {spec.names[0] for spec in section_of(Action).fields.values()}
DOCKER = Member(type="docker", options=Action, only=frozenset(_ALL - _COMPOSE_ONLY))
COMPOSE = Member(type="dockercompose", options=Action, check=_check_file)
ACTIONS = (DOCKER, COMPOSE)


class Actions:
    """The registered actions."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self._actions = {action.id: action for action in actions}

    def all(self) -> list[Action]:
        """In the order of registration."""
        return list(self._actions.values())

    def get(self, action_id: str | None) -> Action | None:
        """The action of that id."""
        return self._actions.get(action_id or "")
