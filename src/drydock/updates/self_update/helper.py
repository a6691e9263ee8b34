"""The helper container: what it is given (`DD_SELF_UPDATE_*`), and the document that creates it (updates.md §13.3).

Pure. How the helper reaches the Engine is an `Access`; who finds that out is `identity`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

import msgspec

from drydock.core.errors import ConfigError
from drydock.core.labels import SELF_UPDATE_HELPER, SELF_UPDATE_OPERATION, WATCH
from drydock.core.operation import Operation
from drydock.docker.api import Document
from drydock.docker.settings import DEFAULT_SOCKET

PREFIX = "DD_SELF_UPDATE_"
COMMAND = "self-update-helper"
FINALIZE_COMMAND = "self-update-finalize"
NAME = "drydock-self-update-{}"

NO_IMAGE = "Drydock does not run in a container here, so it has no image for the helper that this update needs"

LEAST_GRACE_MS = 5000
"""How long the new server must stay up at least before it counts as alive: a store that it cannot read ends it later
than a missing program would."""

_BARE_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_NUMERIC_USER = re.compile(r"\d+(:\d+)?")


class Helper(msgspec.Struct, frozen=True):
    """`document` creates the helper, `networks` are joined before it starts; `secret_hash` proves later that an answer
    comes from it."""

    document: Document
    secret_hash: str
    networks: tuple[str, ...] = ()


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the Engine for a container: a socket of the host, or a TCP address in a network mode and more networks."""

    socket: str | None = None
    host: str | None = None
    port: int = 2375
    protocol: str = "http"
    network_mode: str = "none"
    networks: tuple[str, ...] = ()


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the helper knows; the rest it reads from the Engine. Times are in milliseconds."""

    op_id: str
    old_container_id: str
    new_container_id: str
    old_container_name: str
    temp_name: str = ""
    restart_policy: str = "{}"
    finalize_url: str = ""
    finalize_secret: str = ""
    docker_host: str = ""
    docker_port: int = 2375
    docker_protocol: str = "http"
    start_timeout_ms: int = 30_000
    health_timeout_ms: int = 120_000
    poll_interval_ms: int = 1000
    liveness_grace_ms: int = LEAST_GRACE_MS
    finalize_timeout_ms: int = 30_000
    finalize_retry_interval_ms: int = 500

    def variables(self) -> dict[str, str]:
        """As environment variables."""
        return {PREFIX + name.upper(): str(getattr(self, name)) for name in self.__struct_fields__}


def read_order(environ: Mapping[str, str]) -> Order:
    """The order in the environment of a helper. Raises `ConfigError` anywhere else."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    try:
        return msgspec.convert(given, Order, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"This command is run by Drydock in a helper container only: {error}") from error


def check_host(host: str) -> str:
    """A TCP host as the helper takes it; `ConfigError` for anything but a bare name or address."""
    if not _BARE_HOST.fullmatch(host):
        raise ConfigError(f"{host!r} is not a bare host name or IP address", hint="Leave out scheme, user and path.")
    return host


def order_for(operation: Operation, access: Access, finalize_url: str, secret: str, grace_ms: int) -> Order:
    """What the helper of `operation` is told."""
    return Order(
        op_id=operation.id,
        old_container_id=operation.old_container_id or "",
        new_container_id=operation.new_container_id or "",
        old_container_name=operation.old_name or operation.container_name,
        temp_name=operation.temp_name or "",
        restart_policy=msgspec.json.encode(operation.old_restart_policy or {}).decode(),
        finalize_url=finalize_url,
        finalize_secret=secret,
        docker_host=check_host(access.host) if access.host else "",
        docker_port=access.port,
        docker_protocol=access.protocol,
        liveness_grace_ms=max(grace_ms, LEAST_GRACE_MS),
    )


def document(order: Order, access: Access, carrier: Document, image: Document, user: str) -> Document:
    """The create document. `carrier` is the container whose rights the helper borrows to reach the socket, `image` the
    image of this process, `user` who opens the socket.
    """
    host = carrier.get("HostConfig") or {}
    # Memory in place of the image's volumes, which would be left behind otherwise; and the socket.
    volumes = (image.get("Config") or {}).get("Volumes") or {}
    mounts: list[Document] = [{"Type": "tmpfs", "Target": path} for path in volumes]
    if access.socket is not None:
        mounts.append({"Type": "bind", "Source": access.socket, "Target": DEFAULT_SOCKET})
    borrowed = {key: host[key] for key in ("GroupAdd", "SecurityOpt", "UsernsMode", "Privileged") if host.get(key)}
    return {
        "Image": image["Id"],
        "Entrypoint": [sys.executable, "-m", "drydock"],
        "Cmd": [COMMAND],
        "User": user,
        "Env": [f"{name}={value}" for name, value in order.variables().items()],
        "Labels": {SELF_UPDATE_HELPER: "true", SELF_UPDATE_OPERATION: order.op_id, WATCH: "false"},
        "Healthcheck": {"Test": ["NONE"]},
        "StopTimeout": 1,
        "HostConfig": {
            **borrowed,
            "RestartPolicy": {"Name": "on-failure"},
            "AutoRemove": False,
            "NetworkMode": access.network_mode,
            "Mounts": mounts,
        },
    }


def user_for(carrier: Document, *, same_image: bool) -> str:
    """Who opens the socket inside of the helper: as `carrier` does. A name means nothing in another image: root, then."""
    user: str = (carrier.get("Config") or {}).get("User") or "0"
    return user if same_image or _NUMERIC_USER.fullmatch(user) else "0"
