"""The check of one container without its input and output (watching.md §7.9, §7.12, §15; registries.md §7.2).

`plan` says what to ask, `find` decides about the tag list and names the tag whose digest is wanted, `compare_digest`
compares both sides, `assemble` gives the new result, digest fields, error and trace. `watch/` only asks registries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from drydock.core.errors import DrydockError, InvalidTransform, RegistryNotFound
from drydock.core.model import CheckError, Container, ImageDigest, Result
from drydock.core.tags import rules
from drydock.core.tags.decide import TagDecision, TagSubject, comparison_tag, decide
from drydock.core.tags.transform import compile_transform
from drydock.core.times import to_iso
from drydock.core.trace import HostRequests, Step, Trace

Mode = Literal["tags", "digest", "local", "unknown", "no-registry"]

LOCAL_IMAGE_REASON = "Locally-built image (no repository digest) — registry not queried"
DIGEST_ONLY_REASON = "Running by digest — no tag to compare"
UNKNOWN_REGISTRY = "unknown"


class CheckPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a check needs: whether to list tags, and whether a digest comparison may follow."""

    mode: Mode
    list_tags: bool
    compare: bool
    reason: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The tag part of a check. `compare_tag`: the tag whose HEAD digest is wanted next, None for no comparison.

    `rejected` fails the whole check and keeps the previous result.
    """

    plan: CheckPlan
    result: Result
    compare_tag: str | None = None
    decision: TagDecision | None = None
    rejected: DrydockError | None = None
    warnings: list[str] = []


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest resolved for the container's platform; schema 1 has no digest that compares, only `created`."""

    platform_digest: str | None
    config_digest: str | None = None
    created: str | None = None


DigestState = Literal["unchanged", "changed", "created-only", "needs-resolve"]


class DigestComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a digest comparison. `value` and `repo` go to the image, `digest` and `created` to the result."""

    state: DigestState
    reason: str
    digest: str | None = None
    value: str | None = None
    repo: str | None = None
    created: str | None = None


class Published(msgspec.Struct, frozen=True):
    """Publish date of the candidate (ISO 8601); trusted only if it is a push date."""

    at: str
    trusted: bool


class CheckOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a check leaves: fields to write to the record, and the trace to store beside it."""

    result: Result
    digest: ImageDigest
    error: CheckError | None
    trace: Trace
    warnings: list[str] = []

    def applied_to(self, container: Container) -> Container:
        """The container with this outcome."""
        image = msgspec.structs.replace(container.image, digest=self.digest)
        return msgspec.structs.replace(container, image=image, result=self.result, error=self.error)


def subject_of(container: Container) -> TagSubject:
    """The container's tag and its settings, as the tag decision wants them."""
    return TagSubject(
        tag=container.image.tag.value,
        include=container.include_tags,
        exclude=container.exclude_tags,
        transform=container.transform_tags,
        family=container.tag_family,
        pin_info=container.tag_pin_info is not False,
        digest_watch=container.image.digest.watch,
    )


def plan(container: Container) -> CheckPlan:
    """What to ask for this container. Images that no registry can know are never looked up."""
    image = container.image
    compare = image.digest.watch and bool(image.digest.repo)
    if image.is_local_image:
        return CheckPlan(mode="local", list_tags=False, compare=False, reason=LOCAL_IMAGE_REASON)
    if image.tag.value == "unknown":
        return CheckPlan(mode="unknown", list_tags=False, compare=False, reason=DIGEST_ONLY_REASON)
    if image.registry.name == UNKNOWN_REGISTRY:
        reason = f"No configured registry serves {image.registry.url}"
        return CheckPlan(mode="no-registry", list_tags=False, compare=False, reason=reason)
    if image.tag.value.startswith("sha256:"):
        return CheckPlan(mode="digest", list_tags=compare, compare=compare, reason=DIGEST_ONLY_REASON)
    reason = "The digest of the tag is compared"
    if not image.digest.watch:
        reason = "Digests are not compared: digest watching is off (dd.watch.digest=false)"
    elif not image.digest.repo:
        reason = "Digests are not compared: the image has no digest from its registry"
    return CheckPlan(mode="tags", list_tags=True, compare=compare, reason=reason)


def find(
    container: Container,
    planned: CheckPlan,
    tags: Sequence[str] | DrydockError | None,
    decision: TagDecision | None = None,
) -> Finding:
    """Decide about the registry's tag list (None where the plan asks for none; an error rejects the check).

    `decision` is what `decide` says of these tags and `subject_of(container)`, where the caller has it already.
    """
    local = Result(tag=container.image.tag.value)
    if planned.mode == "no-registry":
        hint = "Configure a registry for this host (DD_REGISTRY_…)"
        return Finding(plan=planned, result=local, rejected=RegistryNotFound(planned.reason, hint=hint))
    if planned.mode in ("local", "unknown"):
        return Finding(plan=planned, result=msgspec.structs.replace(local, no_update_reason=planned.reason))
    if isinstance(tags, DrydockError):
        return Finding(plan=planned, result=_previous(container), rejected=tags)
    names, subject = tags or (), subject_of(container)
    if planned.mode == "digest":
        return Finding(
            plan=planned,
            result=msgspec.structs.replace(local, no_update_reason=DIGEST_ONLY_REASON),
            compare_tag=comparison_tag(names, subject) if planned.compare else None,
        )
    decision = decision or decide(names, subject)
    tag = decision.candidate or container.image.tag.value
    return Finding(
        plan=planned,
        result=Result(
            tag=tag,
            suggested_tag=decision.suggested,
            no_update_reason=decision.no_update_reason,
            update_insight=decision.insight,
        ),
        compare_tag=tag if planned.compare else None,
        decision=decision,
        warnings=decision.warnings,
    )


def _previous(container: Container) -> Result:
    return container.result or Result(tag=container.image.tag.value)


def compare_digest(
    repo_digests: Sequence[str],
    image_id: str,
    head: str,
    resolved: Resolved | None = None,
    *,
    local_platform_digest: str | None = None,
) -> DigestComparison:
    """Compare what runs with what the tag points at now (table D1–D10).

    `repo_digests`: the image's own digests, best first. `head`: top-level digest of the tag. Without `resolved` the
    answer may be `needs-resolve`: resolve `head` for the platform and call again. `local_platform_digest`: the platform
    digest of the first repo digest, where it is already known.
    """
    if head in repo_digests:
        return _same(head, head, f"The tag still points at the running image ({head})")
    if resolved is None:
        return DigestComparison(state="needs-resolve", reason=f"The tag points at {head} now")
    found = resolved.platform_digest
    if found is None:
        reason = "The registry answers with a schema 1 manifest: only the build date can be compared"
        return DigestComparison(state="created-only", reason=reason, created=resolved.created)
    repo = repo_digests[0] if repo_digests else None
    if found in repo_digests or image_id in (head, found):
        return _same(found, repo, "The tag's image for this platform is the running one")
    if resolved.config_digest == image_id:
        return _same(found, repo, "Only the index was published again: the image for this platform is the running one")
    return DigestComparison(
        state="changed",
        reason=f"The tag points at another image for this platform ({found})",
        digest=found,
        value=local_platform_digest or repo,
        repo=repo,
        created=resolved.created,
    )


def _same(digest: str, repo: str | None, reason: str) -> DigestComparison:
    return DigestComparison(state="unchanged", reason=reason, digest=digest, value=digest, repo=repo)


def assemble(
    container: Container,
    finding: Finding,
    *,
    digest: DigestComparison | DrydockError | None = None,
    published: Published | None = None,
    requests: Sequence[HostRequests] = (),
    checked_at_ms: int,
) -> CheckOutcome:
    """Put a check together. A failure keeps what was known and leaves an error; nothing failed looks up to date."""
    failed = digest if isinstance(digest, DrydockError) else None
    compared = digest if isinstance(digest, DigestComparison) else None
    # For a container that runs by digest the comparison is the whole check.
    rejected = finding.rejected or (failed if finding.plan.mode == "digest" else None)
    known, previous = container.image.digest, container.result
    if rejected is not None:
        result = finding.result if finding.plan.mode == "no-registry" else _previous(container)
    else:
        result = finding.result
        if compared is not None:
            result = msgspec.structs.replace(result, digest=compared.digest, created=compared.created)
        elif failed is not None and previous is not None and previous.tag == result.tag:
            result = msgspec.structs.replace(result, digest=previous.digest, created=previous.created)
        if published is not None:
            trusted = published.trusted or None
            result = msgspec.structs.replace(result, published_at=published.at, published_at_trusted=trusted)
        if compared is not None and compared.state in ("unchanged", "changed"):
            known = msgspec.structs.replace(known, value=compared.value, repo=compared.repo or known.repo)
    failure = rejected or failed
    if failure is None:
        # a transform that cannot be used is an error of the container, not a reason to hide it (B7)
        try:
            compile_transform(container.transform_tags)
        except InvalidTransform as error:
            failure = error
    trace = Trace(
        steps=[
            _reference_step(container),
            _registry_step(finding, rejected),
            _digest_step(finding, rejected, digest),
        ],
        tags=finding.decision.trace if finding.decision else None,
        requests=list(requests),
        checked_at=to_iso(checked_at_ms),
    )
    shown = check_error(failure) if failure else None
    return CheckOutcome(result=result, digest=known, error=shown, trace=trace, warnings=finding.warnings)


def check_error(error: DrydockError) -> CheckError:
    """The error as the container shows it: the message with what to do, and its code."""
    text = error.message or error.default
    return CheckError(message=f"{text}. {error.hint}" if error.hint else text, code=error.code)


def _reference_step(container: Container) -> Step:
    image = container.image
    host = image.registry.lookup_image or image.registry.url
    if image.registry.name == UNKNOWN_REGISTRY:
        return Step(stage="reference", outcome="fail", reason=f"No configured registry serves {host}")
    return Step(
        stage="reference",
        outcome="pass",
        reason=f"{image.name}, tag {image.tag.value}, is queried at {host} through {image.registry.name}",
        details={"registry": image.registry.name, "host": host, "repository": image.name, "tag": image.tag.value},
    )


def _registry_step(finding: Finding, rejected: DrydockError | None) -> Step:
    """What the registry's answer led to: failure, skip, or the decision about the list."""
    if rejected is not None:
        return Step(stage="registry", outcome="fail", reason=check_error(rejected).message)
    decision = finding.decision
    if decision is None:
        code = rules.LOCAL_IMAGE if finding.plan.mode == "local" else rules.DIGEST_ONLY
        return Step(stage="tags", outcome="skip", reason=finding.plan.reason, details={"code": code})
    chosen = f"{decision.candidate}: " if decision.candidate else ""
    lower = " It is lower than the running tag." if decision.downgrade else ""
    text = decision.no_update_reason or f"{chosen}{rules.DECISION[decision.rule]}.{lower}"
    trace = decision.trace
    details: dict[str, object] = {"rule": decision.rule, "listed": trace.listed, "considered": trace.considered}
    if decision.reason_code:
        details["code"] = decision.reason_code
    if decision.downgrade:
        details["downgrade"] = True
    if decision.warnings:
        details["warnings"] = decision.warnings
    return Step(stage="tags", outcome="pass" if decision.candidate else "stop", reason=text, details=details)


def _digest_step(
    finding: Finding,
    rejected: DrydockError | None,
    digest: DigestComparison | DrydockError | None,
) -> Step:
    if isinstance(digest, DrydockError):
        return Step(stage="digest", outcome="fail", reason=check_error(digest).message)
    if digest is None:
        reason = "Digests are not compared: the list has no tag to compare with"
        if rejected is not None:
            reason = "Digests are not compared, because the registry could not be asked"
        elif not finding.plan.compare:
            reason = finding.plan.reason
        return Step(stage="digest", outcome="skip", reason=reason)
    details = {"tag": finding.compare_tag, "local": digest.value, "remote": digest.digest, "state": digest.state}
    outcome: Literal["pass", "stop"] = "stop" if digest.state == "unchanged" else "pass"
    return Step(stage="digest", outcome=outcome, reason=digest.reason, details=details)
