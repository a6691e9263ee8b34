"""The container that Drydock itself runs in, and where paths of the host are seen from inside of it.

Compose writes paths of the host into labels. Where Drydock runs in a container, they lead through its own bind mounts
(updates.md §11.1, watching.md §5.12).
"""

from __future__ import annotations

import posixpath
import socket
from collections.abc import Callable, Sequence

from drydock.core.errors import EngineError, EngineNotFound
from drydock.docker.api import EngineReader

Mounts = Sequence[tuple[str, str]]
"""Folder of the host, and ours."""

Translate = Callable[[str], str]
"""A path of the host → the same as Drydock sees it."""


def translate(path: str, mounts: Mounts) -> str:
    """Where Drydock sees a path of the host: through the longest bind mount that leads there, else where it is."""
    for source, destination in sorted(mounts, key=lambda mount: -len(mount[0])):
        if path == source or path.startswith(source.rstrip("/") + "/"):
            return posixpath.join(destination, path[len(source) :].lstrip("/")) if path != source else destination
    return path


class OwnFolders:
    """Translates paths of one host; its Engine is asked once whether it knows Drydock's container."""

    def __init__(self) -> None:
        self._mounts: Mounts | None = None

    async def translation(self, engine: EngineReader) -> Translate:
        """How to translate paths of the host of `engine`; nothing is translated outside of a container."""
        mounts = self._mounts
        if mounts is None:
            try:
                mounts = self._mounts = _binds(await engine.inspect_container(socket.gethostname()))
            except EngineNotFound:
                mounts = self._mounts = ()
            except EngineError:
                mounts = ()  # asked again next time
        return lambda path: translate(path, mounts)


def _binds(own: dict[str, object]) -> Mounts:
    mounts = own.get("Mounts")
    found = mounts if isinstance(mounts, list) else []
    return [(str(m.get("Source")), str(m.get("Destination"))) for m in found if m.get("Type") == "bind"]
