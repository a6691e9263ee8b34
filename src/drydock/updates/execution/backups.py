"""Image backups: one record and one tag per update, the newest few kept (updates.md §8.1), and image pruning (§8.3)."""

from __future__ import annotations

import uuid

import structlog

from drydock.clock import Clock
from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.model import Container
from drydock.core.operation import BACKUP_REPOSITORY, Backup, ImageWanted, Operation, backup_reference
from drydock.core.reference import DEFAULT_TAG, pull_name, split
from drydock.core.times import to_iso
from drydock.docker.api import Document, Engine
from drydock.hosts.host import Hosts
from drydock.hosts.local import full_engine
from drydock.store.backups import BackupRecords
from drydock.updates.actions import Actions
from drydock.updates.target import new_operation

log = structlog.get_logger("updates")

DEFAULT_COUNT = 3


class Backups:
    """Makes, finds and prunes backups."""

    def __init__(self, records: BackupRecords, actions: Actions, hosts: Hosts, clock: Clock) -> None:
        self.records = records
        self._actions = actions
        self._hosts = hosts
        self._clock = clock

    async def make(self, operation: Operation, container: Document, image: Document) -> str | None:
        """Record the image that `container` runs; returns the id. No action, no backup."""
        if operation.trigger_name is None:
            return None
        if operation.container is not None:
            shown = operation.container.image
            name, tag = pull_name(shown.registry.url, shown.name), shown.tag.value
        else:
            reference = split(container["Config"]["Image"])
            name = reference.name or container["Config"]["Image"]
            tag = "" if reference.digest else reference.tag or DEFAULT_TAG
        # The digest under which the image can be pulled by that name, or the only one there is.
        pairs = [entry.partition("@")[::2] for entry in image.get("RepoDigests") or []]
        own = [digest for repository, digest in pairs if repository.removeprefix("docker.io/") == name]
        backup_id = str(uuid.uuid4())
        repository, backup_tag = backup_reference(operation.container_name, backup_id)
        backup = Backup(
            id=backup_id,
            container_id=container["Id"],
            container_name=operation.container_name,
            image_name=name,
            image_tag=tag,
            image_digest=next(iter(own or [digest for _, digest in pairs]), None),
            timestamp=to_iso(self._clock.now_ms()),
            trigger_name=operation.trigger_name,
            image_id=image["Id"],
            backup_ref=f"{repository}:{backup_tag}",
            agent=operation.agent,
            watcher=operation.watcher,
        )
        await self.records.save(backup)
        return backup_id

    async def prune(self, operation: Operation) -> None:
        """Keep the newest backups of the container; after a success, superseded images go if the action wants it.

        The backup of an update that was undone goes too: it is the image that runs, so there is nothing to go back to.
        """
        action = self._actions.get(operation.trigger_name)
        engine = full_engine(self._hosts.of(operation))
        keep = action.backup_count if action else DEFAULT_COUNT
        backups = await self.records.of(operation.key)
        by_wish = operation.kind == "container-rollback" and operation.status == "rolled-back"
        undone = operation.status != "succeeded" and operation.phase != "rollback-failed" and not by_wish
        unused = [one for one in backups if undone and one.id == operation.backup_id]
        remaining = [one for one in backups if one not in unused]
        for backup in [*unused, *remaining[keep:]]:
            if backup.backup_ref:
                await _remove_image(engine, backup.backup_ref)
            await self.records.remove(backup.id)
        if action is not None and action.prune and operation.status == "succeeded" and operation.phase == "succeeded":
            await self._prune_images(engine, operation)

    async def _prune_images(self, engine: Engine, operation: Operation) -> None:
        """Remove tags of the same repository that nothing uses: no container, no backup, not what was just installed."""
        repository = split(operation.wanted.reference).name
        used = {entry["ImageID"] for entry in await engine.list_containers(all=True)}
        kept = {backup.image_id for backup in await self.records.all()} | used | {operation.target_image_id}
        for image in await engine.list_images():
            if image["Id"] in kept:
                continue
            for reference in image.get("RepoTags") or []:
                if split(reference).name == repository and not reference.startswith(BACKUP_REPOSITORY):
                    await _remove_image(engine, reference)


async def _remove_image(engine: Engine, reference: str) -> None:
    try:
        await engine.remove_image(reference)
    except EngineNotFound:
        return
    except EngineError as error:
        log.warning("update.image_not_removed", image=reference, error=error.message)


def rollback_operation(
    container: Container, backup: Backup, action: str, now_ms: int, *, source: str = "manual"
) -> Operation:
    """The row of a rollback: the local image by id, else by digest, else by tag, shown as `name:tag`."""
    reference = f"{backup.image_name}:{backup.image_tag}" if backup.image_tag else backup.image_name
    by_digest = [f"{backup.image_name}@{backup.image_digest}"] if backup.image_digest else []
    digest_only = backup.image_tag == container.image.tag.value
    return new_operation(
        container,
        now_ms,
        kind="container-rollback",
        source=source,
        trigger_name=action,
        wanted=ImageWanted(reference=reference, image_id=backup.image_id, sources=[*by_digest, reference]),
        target_image=reference,
        from_version=(container.image.digest.value if digest_only else None) or container.image.tag.value,
        to_version=(backup.image_digest if digest_only else None) or backup.image_tag,
    )
