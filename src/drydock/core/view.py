"""A container as it leaves the server: redacted, with everything derived at the moment of reading (container-api.md §2)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from drydock.core.model import ActiveOperation, Container, ContainerView, identity_key
from drydock.core.policy import maturity
from drydock.core.policy.eligibility import EligibilityContext, evaluate
from drydock.core.policy.layers import effective
from drydock.core.policy.suppression import suppressed_by
from drydock.core.redact import redact
from drydock.core.tags import shape, version
from drydock.core.tags.transform import transformed
from drydock.core.update import has_raw_update, update_kind

_STORED = Container.__struct_fields__
_DOCUMENTS = ("signature", "updateSignature", "sbom", "updateSbom")
_SCANS = ("scan", "updateScan")
_VARIABLE = re.compile(r"\$\{\s*([A-Za-z0-9_]*)\s*\}")


class ViewContext(msgspec.Struct, frozen=True, kw_only=True):
    """Facts from outside the record. `eligibility` None leaves `updateEligibility` out; counts are for the list."""

    eligibility: EligibilityContext | None = None
    maturity_threshold_days: int = maturity.DEFAULT_THRESHOLD_DAYS
    operation: ActiveOperation | None = None
    dependency_count: int | None = None
    dependent_count: int | None = None


def view(container: Container, now_ms: int, context: ViewContext) -> ContainerView:
    """The full form of a container at `now_ms` (epoch ms)."""
    fields: dict[str, Any] = {name: getattr(container, name) for name in _STORED}
    result, details = container.result, container.details
    if details is not None:
        fields["details"] = redact(details)
    if result is not None and container.link_template:
        fields["result"] = msgspec.structs.replace(result, link=link(container, result.tag))

    eligibility, operation = context.eligibility, context.operation
    if operation is None and eligibility is not None:
        operation = eligibility.active_operation
    policy, kind = effective(container), update_kind(container)
    available = has_raw_update(container) and suppressed_by(container, now_ms, policy=policy.policy, kind=kind) is None
    age = maturity.age(container, now_ms) if available else None
    if age is not None:
        fields["update_age"] = age
        fields["update_maturity_level"] = maturity.level(age, context.maturity_threshold_days)
    tag = transformed(container.image.tag.value, container.transform_tags)
    family, _ = shape.family_of(container.tag_family)
    return ContainerView(
        **fields,
        identity_key=identity_key(container),
        tag_pinned=shape.is_pinned(tag),
        tag_pin_gated=shape.is_pin_gated(tag, has_include=bool(container.include_tags), family=family),
        update_available=available,
        update_kind=kind,
        link=link(container, container.image.tag.value),
        update_policy=policy.shown,
        update_policy_sources=policy.shown_sources,
        update_eligibility=evaluate(container, now_ms, eligibility) if eligibility else None,
        update_operation=operation,
        dependency_count=context.dependency_count,
        dependent_count=context.dependent_count,
    )


def render(template: str, tag: str, *, formula: str | None, semver: bool) -> str:
    """Fill a template such as `https://…/v${major}.${minor}` for a tag; unknown or inapplicable words become empty."""
    text = transformed(tag, formula)
    values = {"original": tag, "raw": tag, "transformed": text}
    parsed = version.parse(text) if semver else None
    if parsed is not None:
        values |= {"major": str(parsed.major), "minor": str(parsed.minor), "patch": str(parsed.patch)}
        values["prerelease"] = str(parsed.prerelease[0]) if parsed.prerelease else ""
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), template)


def link(container: Container, tag: str | None) -> str | None:
    """The link for one of the container's tags (watching.md §8.5); None without a template."""
    if not container.link_template:
        return None
    return render(
        container.link_template,
        tag or "",
        formula=container.transform_tags,
        semver=container.image.tag.semver,
    )


def list_form(shown: ContainerView, include_vulnerabilities: bool = False) -> ContainerView:
    """The form of list answers: no signature and SBOM documents, no vulnerability lists unless asked (§2.11)."""
    if not shown.security:
        return shown
    security = {key: value for key, value in shown.security.items() if key not in _DOCUMENTS}
    if not include_vulnerabilities:
        scans = {key: scan for key in _SCANS if isinstance(scan := security.get(key), dict)}
        security.update({key: {**scan, "vulnerabilities": []} for key, scan in scans.items()})
    return msgspec.structs.replace(shown, security=security)
