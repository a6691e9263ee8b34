"""The actions of `PATCH /containers/:id/update-policy` (watching.md §10; container-api.md §5.6).

`apply` turns an action into the new override layer. A removing action leaves a neutral override (`all`, `[]`) only
where a label or the watcher declares the field, so that its promise – no suppression – holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from drydock.core.errors import BadRequest
from drydock.core.model import Container, UpdatePolicy
from drydock.core.policy.layers import DECLARATIVE_FIELDS, FIELD_OF_WIRE, effective, is_declared
from drydock.core.policy.maturity import DEFAULT_MIN_AGE_DAYS
from drydock.core.times import DAY_MS, from_iso, to_iso
from drydock.core.update import update_kind

Body = Mapping[str, Any]
Changes = dict[str, Any]
_Action = Callable[[Body, Container, int], Changes]
_ListField = Literal["skip_tags", "skip_digests"]

DEFAULT_SNOOZE_DAYS = 7
MAX_DAYS = 365


def apply(body: Body, container: Container, now_ms: int) -> UpdatePolicy | None:
    """The container's overrides after the action in `body`; None when no override remains.

    Raises BadRequest for a missing or unknown action and for fields that cannot be used; nothing is changed then.
    """
    action = body.get("action")
    if not isinstance(action, str) or not action.strip():
        raise BadRequest("Action is required", hint=f"action is one of {', '.join(ACTIONS)}")
    act = ACTIONS.get(action)
    if act is None:
        raise BadRequest(f"Unknown action {action[:100]}", hint=f"action is one of {', '.join(ACTIONS)}")
    changes = act(body, container, now_ms)
    overrides = msgspec.structs.replace(container.update_policy_overrides or UpdatePolicy(), **changes)
    return _tidy(overrides, container)


def _tidy(overrides: UpdatePolicy, container: Container) -> UpdatePolicy | None:
    """Normalise what is stored: no duplicates, no unreadable dates or modes, empty lists only where they hide one."""
    policy = UpdatePolicy(
        skip_tags=_tidy_list(overrides.skip_tags, container, "skip_tags"),
        skip_digests=_tidy_list(overrides.skip_digests, container, "skip_digests"),
        snooze_until=overrides.snooze_until if from_iso(overrides.snooze_until) is not None else None,
        maturity_mode=overrides.maturity_mode if overrides.maturity_mode in ("all", "mature") else None,
        maturity_min_age_days=_valid_days(overrides.maturity_min_age_days),
    )
    return None if policy == UpdatePolicy() else policy


def _tidy_list(values: list[str] | None, container: Container, field: _ListField) -> list[str] | None:
    if values is None:
        return None
    unique = list(dict.fromkeys(value.strip() for value in values if value.strip()))
    return unique if unique or is_declared(container, field) else None


def _valid_days(days: int | None) -> int | None:
    return days if days is not None and 1 <= days <= MAX_DAYS else None


def _skip_current(_body: Body, container: Container, _now: int) -> Changes:
    kind, result = update_kind(container), container.result
    if kind.kind == "unknown" or result is None:
        raise BadRequest("No update available to skip", hint="Only a tag or digest update can be skipped")
    is_tag = kind.kind == "tag"
    value = kind.remote_value or (result.tag if is_tag else result.digest)
    if not value:
        raise BadRequest("No update value available to skip")
    field: _ListField = "skip_tags" if is_tag else "skip_digests"
    return {field: [*_effective_list(container, field), value]}


def _effective_list(container: Container, field: _ListField) -> list[str]:
    policy = effective(container).policy
    return list((policy.skip_tags if field == "skip_tags" else policy.skip_digests) or [])


def _remove_skip(body: Body, container: Container, _now: int) -> Changes:
    kind, value = body.get("kind"), body.get("value")
    if kind not in ("tag", "digest"):
        raise BadRequest("Invalid skip kind: use tag or digest")
    if not isinstance(value, str) or not value.strip():
        raise BadRequest("Invalid skip value: a non-empty text is required")
    field: _ListField = "skip_tags" if kind == "tag" else "skip_digests"
    current = _effective_list(container, field)
    if value.strip() not in current:
        return {}
    return {field: [item for item in current if item != value.strip()]}


def _clear_skips(_body: Body, _container: Container, _now: int) -> Changes:
    return {"skip_tags": [], "skip_digests": []}


def _snooze(body: Body, _container: Container, now_ms: int) -> Changes:
    if body.get("snoozeUntil") is not None:
        return {"snooze_until": to_iso(_instant(body["snoozeUntil"]))}
    days = _snooze_days(body.get("days"))
    return {"snooze_until": to_iso(now_ms + round(days * DAY_MS))}


def _instant(value: object) -> int:
    """An ISO 8601 date or instant, as precise as the caller likes."""
    if isinstance(value, str):
        known = from_iso(value.strip())
        known = _loose_instant(value.strip()) if known is None else known
        if known is not None:
            return known
    raise BadRequest(
        "Invalid snoozeUntil date",
        hint="Give an ISO 8601 date such as 2026-03-01T08:00:00Z",
    )


def _loose_instant(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not 1970 <= moment.year < 9999:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _snooze_days(value: object) -> float:
    if value is None:
        return DEFAULT_SNOOZE_DAYS
    days = _number(value)
    if days is None or not 0 < days <= MAX_DAYS:
        raise BadRequest(f"Invalid snooze days: a number above 0, at most {MAX_DAYS}, is required")
    return days


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _unsnooze(_body: Body, _container: Container, _now: int) -> Changes:
    return {"snooze_until": None}


def _set_maturity(body: Body, container: Container, _now: int) -> Changes:
    raw = body.get("mode")
    mode = raw.strip().lower() if isinstance(raw, str) else None
    if mode not in ("all", "mature"):
        raise BadRequest("Invalid maturity mode: use all or mature")
    given = body.get("minAgeDays")
    if given is None:
        existing = _valid_days(effective(container).policy.maturity_min_age_days)
        return {"maturity_mode": mode, "maturity_min_age_days": existing or DEFAULT_MIN_AGE_DAYS}
    return {"maturity_mode": mode, "maturity_min_age_days": _days(given)}


def _days(value: object) -> int:
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 1 <= value <= MAX_DAYS
        and value == int(value)
    ):
        return int(value)
    raise BadRequest(f"Invalid minAgeDays: a whole number from 1 to {MAX_DAYS} is required")


def _clear_maturity(_body: Body, container: Container, _now: int) -> Changes:
    neutral = "all" if is_declared(container, "maturity_mode") else None
    return {"maturity_mode": neutral, "maturity_min_age_days": None}


def _revert(body: Body, _container: Container, _now: int) -> Changes:
    name = body.get("field")
    if name is None:
        return dict.fromkeys(DECLARATIVE_FIELDS)
    field = FIELD_OF_WIRE.get(name) if isinstance(name, str) else None
    if field not in DECLARATIVE_FIELDS:
        allowed = "maturityMode, maturityMinAgeDays, skipTags, skipDigests"
        raise BadRequest(f"Unknown policy field: use one of {allowed}")
    return {field: None}


def _clear(body: Body, container: Container, now_ms: int) -> Changes:
    return {
        **_clear_skips(body, container, now_ms),
        **_clear_maturity(body, container, now_ms),
        "snooze_until": None,
    }


ACTIONS: dict[str, _Action] = {
    "skip-current": _skip_current,
    "remove-skip": _remove_skip,
    "clear-skips": _clear_skips,
    "snooze": _snooze,
    "unsnooze": _unsnooze,
    "set-maturity-policy": _set_maturity,
    "clear-maturity-policy": _clear_maturity,
    "revert-to-declarative": _revert,
    "clear": _clear,
}
