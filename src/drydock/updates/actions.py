"""Actions: the configured components that apply updates (updates.md §1; grammar: notifications.md §1.2).

`register` reads `DD_ACTION_{DOCKER|DOCKERCOMPOSE}_{NAME}_{KEY}` and the older `DD_TRIGGER_*`; a component with anything
wrong is left out, the problem says why. Which action serves a container is `core.policy.automation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from drydock.core.policy.automation import AutoMode, TriggerFacts, auto_mode
from drydock.core.policy.thresholds import THRESHOLDS

PREFIXES = ("DD_ACTION_", "DD_TRIGGER_")
TYPES = ("docker", "dockercompose")
_MODES = ("simple", "batch", "digest", "batch+digest")


class Action(msgspec.Struct, frozen=True, kw_only=True, rename="lower"):
    """One action. The fields from `file` on belong to `dockercompose`."""

    id: str
    type: Literal["docker", "dockercompose"]
    name: str
    agent: str | None = None
    prune: bool = False
    dry_run: bool = msgspec.field(default=False, name="dryrun")
    backup_count: int = msgspec.field(default=3, name="backupcount")
    auto_remove_timeout: int = msgspec.field(default=10_000, name="autoremovetimeout")
    auto: AutoMode = "oninclude"
    threshold: str = "all"
    mode: str = "simple"
    once: bool = True
    order: float = 100
    file: str | None = None
    backup: bool = False
    compose_file_label: str = msgspec.field(default="dd.compose.file", name="composefilelabel")
    reconciliation_mode: str = msgspec.field(default="warn", name="reconciliationmode")
    digest_pinning: bool = msgspec.field(default=False, name="digestpinning")
    compose_file_once: bool = msgspec.field(default=False, name="composefileonce")
    mount_prefix_fallback: bool = msgspec.field(default=False, name="mountprefixfallback")

    def facts(self) -> TriggerFacts:
        """What the policy needs to know."""
        return TriggerFacts(
            id=self.id, type=self.type, name=self.name, agent=self.agent, threshold=self.threshold, auto=self.auto
        )

    def configuration(self) -> dict[str, Any]:
        """Effective settings as the API shows them; an action has no secrets."""
        hidden = {"id", "type", "name", "agent", *(() if self.type == "dockercompose" else _COMPOSE_KEYS)}
        shown = {key: value for key, value in msgspec.to_builtins(self).items() if key not in hidden}
        return {key: value for key, value in shown.items() if value is not None}


class Rejected(ValueError):
    """A value that an option does not allow; the text completes "must be …"."""


def _flag(text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise Rejected("true or false")
    return text.strip().lower() == "true"


def _count(text: str) -> int:
    if not text.strip().isdecimal():
        raise Rejected("a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Rejected("a number") from error


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.strip().lower() not in words:
            raise Rejected(f"one of {', '.join(words)}")
        return text.strip().lower()

    return read


def _auto(text: str) -> AutoMode:
    mode = auto_mode(text)
    if mode is None:
        raise Rejected("all, none, oninclude, onauto, true or false")
    return mode


def _text(text: str) -> str:
    if not text.strip():
        raise Rejected("a non-empty text")
    return text.strip()


_COMMON: dict[str, tuple[str, Callable[[str], Any]]] = {
    "prune": ("prune", _flag),
    "dryrun": ("dry_run", _flag),
    "backupcount": ("backup_count", _count),
    "autoremovetimeout": ("auto_remove_timeout", _count),
    "auto": ("auto", _auto),
    "threshold": ("threshold", _choice(*THRESHOLDS)),
    "mode": ("mode", _choice(*_MODES)),
    "once": ("once", _flag),
    "order": ("order", _number),
}
_COMPOSE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "file": ("file", _text),
    "backup": ("backup", _flag),
    "composefilelabel": ("compose_file_label", _text),
    "reconciliationmode": ("reconciliation_mode", _choice("warn", "block", "off")),
    "digestpinning": ("digest_pinning", _flag),
    "composefileonce": ("compose_file_once", _flag),
    "mountprefixfallback": ("mount_prefix_fallback", _flag),
}
_COMPOSE_KEYS = tuple(_COMPOSE)


def register(
    values: Mapping[str, str], unusable: Callable[[str], str | None] = lambda _: None
) -> tuple[list[Action], list[str]]:
    """Actions in the order of their ids, and what is wrong with the variables, ready to be shown.

    `unusable` says what is wrong with a FILE: an action without its file is not registered.
    """
    found: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    problems: list[str] = []
    for prefix in reversed(PREFIXES):
        for variable, value in sorted(values.items()):
            if variable.startswith(prefix):
                _sort_in(variable, value, prefix, found, problems)
    actions = []
    for (kind, name), options in sorted(found.items()):
        action = _build(kind, name, options, problems)
        if action is not None and action.file is not None and (why := unusable(action.file)) is not None:
            problems.append(f"{action.file} {why}; action {action.id} is not registered")
        elif action is not None:
            actions.append(action)
    return actions, problems


def _sort_in(
    variable: str,
    value: str,
    prefix: str,
    found: dict[tuple[str, str], dict[str, tuple[str, str]]],
    problems: list[str],
) -> None:
    kind, *rest = variable[len(prefix) :].lower().split("_")
    if kind not in TYPES:
        return
    if len(rest) < 2:
        problems.append(f"{variable} names no action: write DD_ACTION_{kind.upper()}_<NAME>_<KEY>")
        return
    if prefix == "DD_TRIGGER_":
        problems.append(f"{variable} is an old name: use DD_ACTION_{variable[len(prefix) :]}")
    found.setdefault((kind, rest[0]), {})["_".join(rest[1:])] = (variable, value)


def _build(kind: str, name: str, options: Mapping[str, tuple[str, str]], problems: list[str]) -> Action | None:
    known = {**_COMMON, **(_COMPOSE if kind == "dockercompose" else {})}
    fields: dict[str, Any] = {}
    wrong: list[str] = []
    for key, (variable, value) in options.items():
        if key not in known:
            close = get_close_matches(key, known, 1)
            wrong.append(f"{variable} is not known" + (f": did you mean {close[0].upper()}?" if close else ""))
            continue
        field, read = known[key]
        try:
            fields[field] = read(value)
        except Rejected as error:
            wrong.append(f"{variable} must be {error}")
    problems += [f"{text}; action {kind}.{name} is not registered" for text in wrong]
    if wrong:
        return None
    if kind == "dockercompose":
        return Action(id=f"{kind}.{name}", type="dockercompose", name=name, **{**fields, "mode": "batch"})
    return Action(id=f"{kind}.{name}", type="docker", name=name, **fields)


class Actions:
    """The registered actions."""

    def __init__(self, actions: Sequence[Action]) -> None:
        self._actions = {action.id: action for action in actions}

    def all(self) -> list[Action]:
        """In the order of registration."""
        return list(self._actions.values())

    def get(self, action_id: str | None) -> Action | None:
        """The action of that id."""
        return self._actions.get(action_id or "")

    def facts(self) -> tuple[TriggerFacts, ...]:
        """All of them as the policy sees them."""
        return tuple(action.facts() for action in self._actions.values())
