"""What an Engine does with image defaults: references, and the merge of an image's configuration into a container's."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import Any

Document = dict[str, Any]


def digest_of(*parts: object) -> str:
    """A stable `sha256:…` made from `parts`."""
    return "sha256:" + hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def normal(reference: str) -> str:
    """One spelling per reference: no `docker.io/`, no `library/`, `:latest` where nothing else is said."""
    for prefix in ("index.docker.io/", "docker.io/", "library/"):
        reference = reference.removeprefix(prefix)
    if "@" in reference:
        name, _, digest = reference.partition("@")
        head, colon, tag = name.rpartition(":")
        return f"{head if colon and '/' not in tag else name}@{digest}"
    return reference if ":" in reference.rpartition("/")[2] else reference + ":latest"


def repository(reference: str) -> str:
    """The part before tag and digest."""
    name = normal(reference).partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def merge(user: Document, image: Document) -> Document:
    """The configuration of a container created from `user` settings and the `Config` of an image."""
    config = deepcopy(user)
    for field in ("User", "WorkingDir", "StopSignal"):
        config[field] = config.get(field) or image.get(field) or ""
    if not config.get("Shell") and image.get("Shell"):
        config["Shell"] = image["Shell"]
    names = {entry.partition("=")[0] for entry in config.get("Env") or []}
    inherited = [entry for entry in image.get("Env") or [] if entry.partition("=")[0] not in names]
    config["Env"] = [*(config.get("Env") or []), *inherited]
    for field in ("Labels", "ExposedPorts", "Volumes"):
        config[field] = {**deepcopy(image.get(field) or {}), **(config.get(field) or {})} or None
    config["Labels"] = config["Labels"] or {}
    _command(config, image)
    _healthcheck(config, image)
    return config


def _command(config: Document, image: Document) -> None:
    if not config.get("Entrypoint"):
        if not config.get("Cmd"):
            config["Cmd"] = image.get("Cmd")
        if config.get("Entrypoint") is None:
            config["Entrypoint"] = image.get("Entrypoint")
    if config.get("Entrypoint") == [""]:
        config["Entrypoint"] = None
    config.setdefault("Cmd", None)


def _healthcheck(config: Document, image: Document) -> None:
    own, default = config.get("Healthcheck"), image.get("Healthcheck")
    if default and (not own or not own.get("Test")):
        config["Healthcheck"] = {**default, **{key: value for key, value in (own or {}).items() if value}}
    if not config.get("Healthcheck"):
        config.pop("Healthcheck", None)
