"""The Container and its parts: stored form, and the form that leaves the server (container-api.md §2).

`Container` is what Drydock knows and stores: facts from the Engine, the last result of a check, overrides, clocks.
`ContainerView` adds everything that is derived when it is read (time passes): availability, kind, age, eligibility.
Wire names are camelCase by `rename`; fields that do not apply are omitted. Times are ISO 8601 texts (`core.times`).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from drydock.core.compose_labels import PROJECT, SERVICE


class HostKey(NamedTuple):
    """Which host: the watcher's name, and the agent it is reached through (agents.md §2). None: this process itself.

    Two hosts may have the same watcher name; every cache, lock and schedule is keyed by the pair.
    """

    agent: str | None
    watcher: str

    def __str__(self) -> str:
        return f"{self.agent}::{self.watcher}" if self.agent is not None else self.watcher

    def container(self, name: str) -> str:
        """`agent::watcher::name`: the identity of a container of this host, whatever its id."""
        return f"{self.agent or ''}::{self.watcher}::{name}"


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of every part: immutable, camelCase on the wire, defaults omitted."""


class ImageRegistry(Part, frozen=True):
    """Which registry an image belongs to: `name` = registry component id, `url` = bare host[:port]."""

    name: str
    url: str
    lookup_image: str | None = None
    api_url: str | None = None


class ImageTag(Part, frozen=True):
    """The tag in use. `semver`: the transformed tag parses as a version (watching.md §7.1)."""

    value: str
    semver: bool
    tag_precision: Literal["specific", "floating"]


class ImageDigest(Part, frozen=True):
    """Digests of the running image; `watch` = digest comparison is on (watching.md §7.9)."""

    watch: bool
    value: str | None = None
    repo: str | None = None
    repo_digests: list[str] | None = None


class Image(Part, frozen=True):
    """The image a container runs. `name` is the repository path without host and tag."""

    id: str
    registry: ImageRegistry
    name: str
    tag: ImageTag
    digest: ImageDigest
    architecture: str
    os: str
    variant: str | None = None
    created: str | None = None
    software_version: str | None = None
    is_local_image: bool | None = None


class UpdateInsight(Part, frozen=True):
    """A newer version beyond a pinned or floating tag; information only."""

    tag: str
    kind: Literal["major", "minor", "patch"]


class ReleaseNotes(Part, frozen=True):
    """Notes of one release."""

    title: str
    body: str
    url: str
    published_at: str
    provider: str


class Result(Part, frozen=True):
    """Outcome of the last registry check. Absent fields do not apply."""

    tag: str | None = None
    suggested_tag: str | None = None
    digest: str | None = None
    created: str | None = None
    published_at: str | None = None
    published_at_trusted: bool | None = None
    link: str | None = None
    no_update_reason: str | None = None
    update_insight: UpdateInsight | None = None
    release_notes: ReleaseNotes | None = None


class CheckError(Part, frozen=True):
    """Why the last check failed; `code` is a category of registries.md §4.6."""

    message: str
    code: str | None = None


UpdateKindName = Literal["tag", "digest", "unknown"]
SemverDiff = Literal["major", "minor", "patch", "prerelease", "unknown"]


class UpdateKind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What kind of update is pending, blind to policy (container-api.md §2.4)."""

    kind: UpdateKindName
    semver_diff: SemverDiff
    local_value: str | None = None
    remote_value: str | None = None


class UpdatePolicy(Part, frozen=True):
    """Suppression of updates for one container; one layer, or the effective combination of all layers."""

    skip_tags: list[str] | None = None
    skip_digests: list[str] | None = None
    snooze_until: str | None = None
    maturity_mode: Literal["all", "mature"] | None = None
    maturity_min_age_days: int | None = None


class DeclarativePolicy(Part, frozen=True):
    """Policy from the watcher's variables (`env`) and from container labels (`label`)."""

    env: UpdatePolicy | None = None
    label: UpdatePolicy | None = None


PolicySource = Literal["env", "label", "override"]


class Blocker(Part, frozen=True):
    """One reason why an update is held back. `hard` refuses a manual update, `soft` only holds automatic ones."""

    reason: str
    severity: Literal["hard", "soft"]
    message: str
    actionable: bool
    action_hint: str | None = None
    liftable_at: str | None = None
    details: dict[str, Any] | None = None


class ActionPolicy(Part, frozen=True):
    """What the configured actions would do with an update of this container."""

    state: Literal["blocked", "manual", "auto"]
    trigger_id: str | None = None
    reason: Literal["excluded", "not-included"] | None = None


class Eligibility(Part, frozen=True):
    """Whether an update may run now, and every reason against it (watching.md §12)."""

    eligible: bool
    blockers: list[Blocker]
    evaluated_at: str
    action_policy: ActionPolicy | None = None


class ActiveOperation(Part, frozen=True):
    """The queued or running update of a container."""

    id: str
    status: Literal["queued", "in-progress"]
    phase: str
    updated_at: str
    kind: str | None = None
    from_version: str | None = None
    to_version: str | None = None
    target_image: str | None = None
    batch_id: str | None = None
    queue_position: int | None = None
    queue_total: int | None = None


class UpdateRollback(Part, frozen=True):
    """The last update attempt of this container ended in a rollback."""

    recorded_at: str
    target_digest: str
    reason: str | None = None
    last_error: str | None = None


class EnvEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One environment variable. `sensitive` by container-api.md §1.13; leaves the server as `***` then."""

    key: str
    value: str
    sensitive: bool = False


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Runtime facts (container-api.md §2.12)."""

    ports: list[str]
    volumes: list[str]
    env: list[EnvEntry]
    started_at: str | None = None


Health = Literal["starting", "healthy", "unhealthy"]


class Container(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A watched container as stored. Change it with `msgspec.structs.replace` through the fleet, never in place."""

    id: str
    name: str
    display_name: str
    display_icon: str
    status: str
    watcher: str
    image: Image
    labels: dict[str, str]
    health: Health | None = None
    agent: str | None = None
    include_tags: str | None = None
    exclude_tags: str | None = None
    transform_tags: str | None = None
    tag_family: Literal["strict", "loose"] | None = None
    tag_pin_info: bool | None = None
    link_template: str | None = None
    port_label: str | None = None
    action_trigger_include: str | None = None
    action_trigger_exclude: str | None = None
    action_trigger_auto: str | None = None
    notification_trigger_include: str | None = None
    notification_trigger_exclude: str | None = None
    trigger_include: str | None = None
    trigger_exclude: str | None = None
    result: Result | None = None
    error: CheckError | None = None
    update_detected_at: str | None = None
    first_seen_at: str | None = None
    maturity_gate_pending_since: str | None = None
    update_policy_declarative: DeclarativePolicy | None = None
    update_policy_overrides: UpdatePolicy | None = None
    update_rollback: UpdateRollback | None = None
    security: dict[str, Any] | None = None
    details: Details | None = None
    source_repo: str | None = None
    current_release_notes: ReleaseNotes | None = None
    depends_on: list[str] | None = None
    depends_on_source: Literal["label", "compose"] | None = None
    depends_on_action: Literal["update", "restart"] | None = None

    @property
    def host(self) -> HostKey:
        """The host it runs on."""
        return HostKey(self.agent, self.watcher)


class ContainerView(Container, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A container as it leaves the server: redacted, with everything derived at the moment of reading."""

    identity_key: str
    tag_pinned: bool
    tag_pin_gated: bool
    update_available: bool
    update_kind: UpdateKind
    link: str | None = None
    update_age: int | None = None
    update_maturity_level: Literal["hot", "mature", "established"] | None = None
    update_policy: UpdatePolicy | None = None
    update_policy_sources: dict[str, PolicySource] | None = None
    update_eligibility: Eligibility | None = None
    update_operation: ActiveOperation | None = None
    dependency_count: int | None = None
    dependent_count: int | None = None


def identity_key(container: Container) -> str:
    """`agent::watcher::name`, or `…::compose:project/service` for Compose containers; stable across recreation."""
    project = container.labels.get(PROJECT, "").strip()
    service = container.labels.get(SERVICE, "").strip()
    tail = f"compose:{project}/{service}" if project and service else container.name
    return f"{container.agent or ''}::{container.watcher}::{tail}"


def audit_key(container: Container) -> str:
    """`agent::watcher::name`, always by name: the key of operations, history, backups, audit and statuses."""
    return container.host.container(container.name)
