"""From the Engine's documents to the record of a container (watching.md §4, §5.6, §5.7). Pure.

`register` builds the record of a container seen for the first time, `refresh` brings a known one up to date. Label and
image-set fields are derived anew each time, so a changed setting reaches every container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from drydock.core import labels as label_names
from drydock.core.imgset import ImageSet, best_match
from drydock.core.labels import LabelSettings, WatcherDefaults, shown
from drydock.core.model import Container, HostKey, Image, ImageDigest, ImageRegistry, ImageTag, Result
from drydock.core.reference import DEFAULT_TAG, UNKNOWN_TAG, Reference, own_digests, try_parse
from drydock.core.tags import shape, version
from drydock.core.tags.transform import transformed
from drydock.core.times import from_iso, to_iso
from drydock.docker.api import Document
from drydock.watch.details import details, health
from drydock.watch.names import display_name

Router = Callable[[str, str, str | None], str]
"""host, repository, lookup override → id of the registry component that serves it (`unknown` when none does)."""

DIGEST_MARK = "sha256:"
OWN_TAG_PREFIX = "drydock-backup/"
DEPENDENCY_ACTIONS: dict[str, Literal["update", "restart"]] = {"update": "update", "restart": "restart"}


@dataclass(frozen=True)
class Facts:
    """Everything known about one container. `inspected` is None when its inspection failed, or was not wanted."""

    entry: Document
    labels: dict[str, str]
    inspected: Document | None
    image: Document | None
    compose: tuple[str, ...] | None = None
    """Services that the Compose files name; None where they were not read."""

    @property
    def id(self) -> str:
        return str(self.entry["Id"])

    @property
    def name(self) -> str:
        return display_name(self.entry) or self.id[:12]

    @property
    def status(self) -> str:
        return str(self.entry.get("State") or "unknown")

    @property
    def image_id(self) -> str:
        return str((self.image or {}).get("Id") or self.entry.get("ImageID") or "")


@dataclass(frozen=True)
class Context:
    """What a watcher adds: its host, its presets, and who serves which registry."""

    host: HostKey
    image_sets: tuple[ImageSet, ...]
    defaults: WatcherDefaults
    route: Router


@dataclass(frozen=True)
class RunningImage:
    """The repository a container runs from and the tag in use; `tag` may be a digest or `unknown`.

    `how` says in words which text was read, for the trace.
    """

    reference: Reference
    tag: str
    how: str


def running_image(entry: Document, inspected: Document | None, image: Document) -> RunningImage | None:
    """Resolve the image of a list entry; None when its text is no reference at all."""
    text = str(entry.get("Image") or "")
    if DIGEST_MARK in text:
        # the list shows the digest where the tag has moved on; the container knows what was asked for
        configured = ((inspected or {}).get("Config") or {}).get("Image")
        text = configured.strip() or text if isinstance(configured, str) else text
    reference = try_parse(text)
    if DIGEST_MARK in text and not (reference is not None and reference.tag and reference.digest):
        tagged = next((t for t in image.get("RepoTags") or [] if not str(t).startswith(OWN_TAG_PREFIX)), None)
        named = try_parse(str(tagged)) if tagged else None
        if named is not None and named.tag:
            return RunningImage(named, named.tag, f"{text} is tagged {tagged} on this host")
        for known in image.get("RepoDigests") or []:
            found = try_parse(str(known))
            if found is not None and found.digest:
                return RunningImage(found, found.digest, f"{text} has no tag on this host, only {known}")
        without = f"{text} has neither tag nor repository digest on this host"
        return RunningImage(Reference(path=text), UNKNOWN_TAG, without)
    if reference is None:
        return None
    return RunningImage(reference, reference.tag or DEFAULT_TAG, f"the container was created from {text}")


def walk(document: Document, path: str) -> str | None:
    """The value at a `/`-separated path (label `dd.inspect.tag.path`) as trimmed text; None if there is none."""
    node: Any = document
    for key in path.strip("/").split("/"):
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return str(node).strip() or None if isinstance(node, str | int | float) else None


def created(image: Document) -> str | None:
    """Build date of an image; None when it is no valid date."""
    instant = from_iso(str(image.get("Created") or ""))
    return to_iso(instant) if instant is not None and instant > 0 else None


def settings_of(labels: Mapping[str, str], image: Reference | None, context: Context) -> LabelSettings:
    """Label settings of a container whose image is known (or not yet: then no image set applies)."""
    preset = best_match(context.image_sets, image) if image is not None else None
    return label_names.read(labels, preset, context.defaults)


def settings_for(record: Container, labels: Mapping[str, str], context: Context) -> LabelSettings:
    """Label settings of a container that has a record."""
    return settings_of(labels, _stored_reference(record), context)


def register(facts: Facts, context: Context) -> Container | None:
    """The record of a new container; None when its image text is no reference. Needs `facts.image`."""
    assert facts.image is not None, "a new container is registered from its image"
    running = running_image(facts.entry, facts.inspected, facts.image)
    if running is None:
        return None
    settings = settings_of(facts.labels, running.reference, context)
    image = image_block(running, facts.image, settings, facts.labels, context)
    record = Container(
        id=facts.id,
        name=facts.name,
        display_name=facts.name,
        display_icon=settings.display_icon,
        status=facts.status,
        watcher=context.host.watcher,
        agent=context.host.agent,
        image=image,
        labels={},
        result=Result(tag=image.tag.value),
    )
    repo = source_repo(facts.labels, facts.image, running.reference)
    return _live(_labelled(record, facts.labels, settings), facts, repo)


def refresh(stored: Container, facts: Facts, context: Context) -> Container:
    """A known container with what the Engine says now. Without image facts the cached image block stays."""
    record = msgspec.structs.replace(stored, name=facts.name, status=facts.status)
    reference = _stored_reference(stored)
    repo = stored.source_repo
    if facts.image is not None:
        record = msgspec.structs.replace(record, image=_refreshed_image(stored, facts, context))
        reference = _stored_reference(record)
        repo = repo or source_repo(facts.labels, facts.image, reference)
    settings = settings_of(facts.labels, reference, context)
    return _live(_labelled(record, facts.labels, settings), facts, repo)


def _labelled(record: Container, labels: Mapping[str, str], settings: LabelSettings) -> Container:
    image = record.image
    return msgspec.structs.replace(
        record,
        labels=shown(labels),
        display_name=settings.display_name or record.name,
        display_icon=settings.display_icon,
        include_tags=settings.include_tags,
        exclude_tags=settings.exclude_tags,
        transform_tags=settings.transform_tags,
        tag_family=settings.tag_family,
        tag_pin_info=settings.tag_pin_info,
        link_template=settings.link_template,
        port_label=settings.port_label,
        action_trigger_include=settings.action_trigger_include,
        action_trigger_exclude=settings.action_trigger_exclude,
        action_trigger_auto=settings.action_trigger_auto,
        notification_trigger_include=settings.notification_trigger_include,
        notification_trigger_exclude=settings.notification_trigger_exclude,
        trigger_include=settings.trigger_include,
        trigger_exclude=settings.trigger_exclude,
        update_policy_declarative=settings.declarative,
        image=msgspec.structs.replace(
            image,
            tag=tag_block(image.tag.value, settings),
            digest=msgspec.structs.replace(image.digest, watch=watches_digest(image.tag.value, settings)),
        ),
    )


def _live(record: Container, facts: Facts, repo: str | None) -> Container:
    inspected, services = facts.inspected, facts.compose
    if services is None and record.depends_on_source == "compose":  # not read this time: what the files said before
        services = tuple(record.depends_on or ())
    return msgspec.structs.replace(
        record,
        health=health(inspected) if inspected is not None else record.health,
        details=details(facts.entry, inspected, record.details),
        source_repo=repo,
        **dependencies(facts.labels, record.name, services),
    )


def image_block(
    running: RunningImage, image: Document, settings: LabelSettings, labels: Mapping[str, str], context: Context
) -> Image:
    """The `image` part of a record (§5.6)."""
    reference = running.reference
    digests = own_digests(reference, map(str, image.get("RepoDigests") or []))
    on_image = (image.get("Config") or {}).get("Labels") or {}
    told = (source.get(label_names.OCI_VERSION, "").strip() for source in (on_image, labels))
    inspected_version = _inspected_version(image, settings)
    tag = inspected_version if inspected_version and not settings.inspect_version_only else running.tag
    return Image(
        id=str(image.get("Id") or ""),
        registry=ImageRegistry(
            name=context.route(reference.registry_host, reference.repository, settings.lookup_image),
            url=reference.registry_host,
            lookup_image=settings.lookup_image,
        ),
        name=reference.repository,
        tag=tag_block(tag, settings),
        digest=ImageDigest(
            watch=watches_digest(tag, settings),
            repo=digests[0] if digests else None,
            value=digests[0] if digests else None,
            repo_digests=digests or None,
        ),
        architecture=str(image.get("Architecture") or "unknown"),
        os=str(image.get("Os") or "unknown"),
        variant=str(image.get("Variant") or "") or None,
        created=created(image),
        software_version=inspected_version or next(filter(None, told), None),
        is_local_image=not digests,
    )


def tag_block(tag: str, settings: LabelSettings) -> ImageTag:
    """The tag with what follows from it under the transform in force."""
    text = transformed(tag, settings.transform_tags)
    return ImageTag(value=tag, semver=version.parse(text) is not None, tag_precision=shape.precision(text))


def watches_digest(tag: str, settings: LabelSettings) -> bool:
    """An explicit setting wins; otherwise every tag but an unknown one is watched (§7.9)."""
    if settings.watch_digest is not None:
        return settings.watch_digest
    return bool(tag) and tag != UNKNOWN_TAG


def _inspected_version(image: Document, settings: LabelSettings) -> str | None:
    """The normalised version found at `dd.inspect.tag.path`, if any."""
    text = walk(image, settings.inspect_tag_path) if settings.inspect_tag_path else None
    parsed = version.parse(transformed(text, settings.transform_tags)) if text else None
    return str(parsed) if parsed is not None else None


def _refreshed_image(stored: Container, facts: Facts, context: Context) -> Image:
    """The image block after an inspection: another image, or only fresh repository digests (§5.7)."""
    assert facts.image is not None, "called with image facts only"
    settings = settings_of(facts.labels, _stored_reference(stored), context)
    running = running_image(facts.entry, facts.inspected, facts.image)
    old = stored.image
    unresolved = old.tag.value == UNKNOWN_TAG or old.tag.value.startswith(DIGEST_MARK)
    if running is not None and (
        unresolved or facts.image_id != old.id or old.registry.lookup_image != settings.lookup_image
    ):
        block = image_block(running, facts.image, settings, facts.labels, context)
        if block.id == old.id and old.digest.repo in (block.digest.repo_digests or ()):
            # the same image read anew keeps what a check learned about its digest
            digest = msgspec.structs.replace(block.digest, value=old.digest.value, repo=old.digest.repo)
            block = msgspec.structs.replace(block, digest=digest)
        return block
    fresh = own_digests(_stored_reference(stored), map(str, facts.image.get("RepoDigests") or []))
    digest = old.digest
    if fresh and digest.repo not in fresh:
        digest = msgspec.structs.replace(digest, repo=fresh[0], value=fresh[0])
    elif fresh and digest.value is None:
        digest = msgspec.structs.replace(digest, value=fresh[0])
    inspected_version = _inspected_version(facts.image, settings)
    replaces_tag = inspected_version is not None and not settings.inspect_version_only
    return msgspec.structs.replace(
        old,
        tag=tag_block(inspected_version, settings) if inspected_version and replaces_tag else old.tag,
        software_version=inspected_version or old.software_version,
        digest=msgspec.structs.replace(digest, repo_digests=fresh or None),
        is_local_image=not fresh,
        created=old.created or created(facts.image),
        registry=msgspec.structs.replace(
            old.registry, name=context.route(old.registry.url, old.name, settings.lookup_image)
        ),
    )


def _stored_reference(container: Container) -> Reference:
    image = container.image
    return try_parse(f"{image.registry.url}/{image.name}") or Reference(path=image.name, domain=image.registry.url)


def source_repo(labels: Mapping[str, str], image: Document, reference: Reference) -> str | None:
    """Where the source lives, as `host/owner/repo` (§5.6): labels first, then the path of a GitHub package."""
    on_image = (image.get("Config") or {}).get("Labels") or {}
    named = (
        labels.get(label_names.SOURCE_REPO),
        on_image.get(label_names.SOURCE_REPO),
        on_image.get(label_names.OCI_SOURCE),
        on_image.get(label_names.OCI_URL),
    )
    found = next((repo for text in named if text and (repo := normalised_repo(text))), None)
    if found is None and reference.registry_host == "ghcr.io" and "/" in reference.path:
        found = "github.com/" + "/".join(reference.path.split("/")[:2])
    return found


def normalised_repo(text: str) -> str | None:
    """`https://github.com/Owner/Repo.git` → `github.com/Owner/Repo`; `owner/repo` counts as GitHub's."""
    bare = text.strip().removeprefix("git+").removeprefix("git@").partition("://")[2] or text.strip().removeprefix(
        "git@"
    )
    parts = [part for part in bare.split("#")[0].split("?")[0].replace(":", "/", 1).split("/") if part]
    if len(parts) == 2 and "." not in parts[0]:
        parts.insert(0, "github.com")
    if len(parts) < 3 or "." not in parts[0]:
        return None
    return "/".join([parts[0].lower(), parts[1], parts[2].removesuffix(".git")])


def dependencies(labels: Mapping[str, str], own_name: str, compose: Sequence[str] | None) -> dict[str, Any]:
    """The three `dependsOn…` fields. A label that is there but empty means "none" and replaces any detection."""
    action = DEPENDENCY_ACTIONS.get(labels.get(label_names.DEPENDS_ON_ACTION, "").strip(), "update")
    if label_names.DEPENDS_ON in labels:
        listed = [name for name in label_names.csv(labels[label_names.DEPENDS_ON]) if name != own_name]
        return {"depends_on": listed, "depends_on_source": "label", "depends_on_action": action}
    if compose:
        return {"depends_on": list(compose), "depends_on_source": "compose", "depends_on_action": action}
    return {"depends_on": None, "depends_on_source": None, "depends_on_action": None}


def oddities(labels: Mapping[str, str], own_name: str) -> list[str]:
    """Warnings about the dependency labels."""
    found = []
    if own_name in label_names.csv(labels.get(label_names.DEPENDS_ON)):
        found.append(f"{label_names.DEPENDS_ON} names the container itself; ignored")
    action = labels.get(label_names.DEPENDS_ON_ACTION, "").strip()
    if action and action not in DEPENDENCY_ACTIONS:
        found.append(f"{label_names.DEPENDS_ON_ACTION}={action!r} is neither update nor restart; update is used")
    return found
