"""A container as it leaves the server: redacted, with everything derived at the moment of reading (container-api.md §2)."""

from __future__ import annotations

from typing import Any

import msgspec

from drydock.core.links import link
from drydock.core.model import ActiveOperation, Container, ContainerView, Result, identity_key
from drydock.core.policy import maturity
from drydock.core.policy.eligibility import EligibilityContext, evaluate
from drydock.core.policy.layers import effective
from drydock.core.policy.suppression import suppressed_by
from drydock.core.redact import redact
from drydock.core.tags import shape
from drydock.core.tags.transform import transformed
from drydock.core.update import has_raw_update, update_kind

_STORED = Container.__struct_fields__
_DOCUMENTS = ("signature", "updateSignature", "sbom", "updateSbom")
_SCANS = ("scan", "updateScan")


class ViewContext(msgspec.Struct, frozen=True, kw_only=True):
    """Facts from outside the record. `eligibility` None leaves `updateEligibility` out; counts are for the list."""

    eligibility: EligibilityContext | None = None
    maturity_threshold_days: int = maturity.DEFAULT_THRESHOLD_DAYS
    operation: ActiveOperation | None = None
    dependency_count: int | None = None
    dependent_count: int | None = None


def view(container: Container, now_ms: int, context: ViewContext) -> ContainerView:
    """The full form of a container at `now_ms` (epoch ms)."""
    stored = {name: getattr(container, name) for name in _STORED}
    return ContainerView(**{**stored, **_shown(container), **_derived(container, now_ms, context)})


def _shown(container: Container) -> dict[str, Any]:
    """Stored fields that look different outside."""
    return {
        "details": redact(container.details) if container.details else None,
        "result": _result(container),
    }


def _result(container: Container) -> Result | None:
    result = container.result
    if result is None or not container.link_template:
        return result
    return msgspec.structs.replace(result, link=link(container, result.tag))


def _derived(container: Container, now_ms: int, context: ViewContext) -> dict[str, Any]:
    policy = effective(container)
    kind = update_kind(container)
    raw = has_raw_update(container)
    available = raw and suppressed_by(container, now_ms, policy=policy.policy, kind=kind) is None
    operation = context.operation or (context.eligibility and context.eligibility.active_operation)
    return {
        "identity_key": identity_key(container),
        **_tag_flags(container),
        **_ageing(container, now_ms, available, context),
        "update_available": available,
        "update_kind": kind,
        "link": link(container, container.image.tag.value),
        "update_policy": policy.shown,
        "update_policy_sources": policy.shown_sources,
        "update_eligibility": evaluate(container, now_ms, context.eligibility) if context.eligibility else None,
        "update_operation": operation,
        "dependency_count": context.dependency_count,
        "dependent_count": context.dependent_count,
    }


def _tag_flags(container: Container) -> dict[str, bool]:
    text = transformed(container.image.tag.value, container.transform_tags)
    family, _ = shape.family_of(container.tag_family)
    gated = shape.is_pin_gated(text, has_include=bool(container.include_tags), family=family)
    return {"tag_pinned": shape.is_pinned(text), "tag_pin_gated": gated}


def _ageing(container: Container, now_ms: int, available: bool, context: ViewContext) -> dict[str, Any]:
    age = maturity.age(container, now_ms) if available else None
    if age is None:
        return {}
    return {"update_age": age, "update_maturity_level": maturity.level(age, context.maturity_threshold_days)}


def list_form(shown: ContainerView, include_vulnerabilities: bool = False) -> ContainerView:
    """The form of list answers: no signature and SBOM documents, no vulnerability lists unless asked (§2.11)."""
    if not shown.security:
        return shown
    security = {key: value for key, value in shown.security.items() if key not in _DOCUMENTS}
    if not include_vulnerabilities:
        security.update({key: _summary_only(security[key]) for key in _SCANS if key in security})
    return msgspec.structs.replace(shown, security=security)


def _summary_only(scan: object) -> object:
    return {**scan, "vulnerabilities": []} if isinstance(scan, dict) else scan
