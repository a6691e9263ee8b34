"""The lossless clone: what the Engine says about a container → how to create it again (updates.md §6).

Settings the operator made stay, defaults of the old image go, those of the new image come by being left out. The
document starts as *all* of `Config` and `HostConfig`, so that fields this code has never heard of survive; then the
rules below are applied one by one. Nothing here talks to an Engine; `updates/` brings the documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import msgspec

from drydock.core import compose_labels
from drydock.core.operation import OPERATION_LABEL
from drydock.docker.api import Document
from drydock.docker.namespaces import CONTAINER_MODE

ENTRYPOINT_ORIGIN = "dd.runtime.entrypoint.origin"
CMD_ORIGIN = "dd.runtime.cmd.origin"

_BUILT_IN = frozenset({"bridge", "host", "none", "default", "nat"})
_NOT_WITH_SHARED_NETWORK = ("PortBindings", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "Links", "PublishAllPorts")
_ENDPOINT_FIELDS = ("Links", "DriverOpts", "GwPriority")
_ADDRESS_FIELDS = ("IPv4Address", "IPv6Address", "LinkLocalIPs")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the clone depends on.

    `inspect` is the container's document, taken before it is renamed. `source` and `target` are the `Config` objects of
    the image it runs (looked up by id, never by a tag that may have moved) and of the one it shall run; `source` is None
    when the old image is gone. `replaced` maps ids of containers that no longer exist to their successors;
    `inherited_mounts` are destinations that come from `VolumesFrom`.
    """

    inspect: Document
    source: Document | None
    target: Document
    reference: str
    operation: str
    target_image_id: str | None = None
    host_name: str | None = None
    default_runtime: str | None = None
    replaced: Mapping[str, str] = {}
    inherited_mounts: frozenset[str] = frozenset()


class Clone(msgspec.Struct, frozen=True, kw_only=True):
    """`document` creates the container on its primary network; `connects` are the others, in order; `notes` say what
    was taken over on purpose or could not be distinguished."""

    document: Document
    connects: dict[str, Document]
    notes: tuple[str, ...] = ()


def clone(subject: Subject) -> Clone:
    """The create document of the successor of `subject.inspect` (updates.md §6)."""
    notes: list[str] = []
    if subject.source is None:
        notes.append("The old image is gone: its defaults are kept as if they had been set by hand")
    config, host = _config(subject), _host_config(subject)
    notes += [f"Anonymous volume {name} is carried by name" for name in _carry_anonymous(subject, host)]
    primary, endpoints = _networks(subject.inspect, host)
    if CONTAINER_MODE.match((subject.inspect.get("HostConfig") or {}).get("NetworkMode") or ""):
        # These belong to the owner of the network namespace; the Engine refuses them beside it.
        for field in ("Hostname", "Domainname", "ExposedPorts", "MacAddress"):
            config.pop(field, None)
        for field in _NOT_WITH_SHARED_NETWORK:
            host.pop(field, None)
    document = {**config, "HostConfig": host}
    if primary is not None:
        endpoint = endpoints.pop(primary)
        if config.get("MacAddress"):
            endpoint.setdefault("MacAddress", config["MacAddress"])
        document["NetworkingConfig"] = {"EndpointsConfig": {primary: endpoint}}
    return Clone(document=document, connects=endpoints, notes=tuple(notes))


def short_id(container_id: str) -> str:
    """The 12 hex digits people and network aliases use."""
    return container_id[:12]


def networks_of(inspect: Document) -> list[str]:
    """Names of the networks the container is attached to, built-in ones left out."""
    found = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
    return [name for name in found if name not in _BUILT_IN]


def networks_not_in_use(inspect: Document) -> list[str]:
    """Those of `networks_of` in which the container has no live endpoint: it does not run, or the Engine does not say."""
    found = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
    running = bool((inspect.get("State") or {}).get("Running"))
    return [name for name in networks_of(inspect) if not (running and (found[name] or {}).get("EndpointID"))]


# ── Config ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _config(subject: Subject) -> Document:
    config: Document = deepcopy(subject.inspect["Config"])
    host, source, target = subject.inspect.get("HostConfig") or {}, subject.source or {}, subject.target
    own_id = short_id(subject.inspect["Id"])
    config["Image"] = subject.reference

    # A generated host name goes with the container, and the host's own one is not the container's.
    hostname = config.get("Hostname", "")
    of_the_host = host.get("NetworkMode") == "host" and hostname == subject.host_name
    if hostname == own_id or of_the_host or host.get("UTSMode") == "host":
        config.pop("Hostname", None)

    for field in ("User", "WorkingDir", "StopSignal", "Shell"):
        if field in config and config[field] == source.get(field):
            del config[field]
    config.pop("OnBuild", None)

    # Variables of the old image go, unless the new one has them too: then they are the same anyway.
    inherited = set(source.get("Env") or []) - set(target.get("Env") or [])
    config["Env"] = [
        entry for entry in config.get("Env") or [] if entry not in inherited and entry != f"HOSTNAME={own_id}"
    ]
    _command(config, source)
    check = config.get("Healthcheck")
    if check is None or (check == source.get("Healthcheck") and check.get("Test") != ["NONE"]):
        config.pop("Healthcheck", None)
    config["Labels"] = _labels(subject, config.get("Labels") or {})

    kept = {*(host.get("PortBindings") or {}), *(target.get("ExposedPorts") or {})}
    _drop_keys(config, "ExposedPorts", [port for port in source.get("ExposedPorts") or {} if port not in kept])
    _drop_keys(config, "Volumes", source.get("Volumes") or {})
    if not config.get("MacAddress"):
        config.pop("MacAddress", None)
    return config


def _command(config: Document, source: Document) -> None:
    """Entrypoint and command: inherited ones go, explicit ones stay, both halves of an explicit entrypoint stay."""
    labels = config.get("Labels") or {}
    entrypoint, command = _words(config.get("Entrypoint")), _words(config.get("Cmd"))
    own_entrypoint, own_command = _words(source.get("Entrypoint")), _words(source.get("Cmd"))
    if not _inherited(entrypoint, own_entrypoint, labels.get(ENTRYPOINT_ORIGIN)):
        config["Entrypoint"] = [""] if entrypoint is None else entrypoint
        config["Cmd"] = command
        return
    config.pop("Entrypoint", None)
    if command is None or _inherited(command, own_command, labels.get(CMD_ORIGIN)):
        config.pop("Cmd", None)


def _words(value: Any) -> list[str] | None:
    """A command as a list; None where there is none (`[""]` is stored as null by the Engine)."""
    if value is None:
        return None
    return [value] if isinstance(value, str) else list(value)


def _inherited(value: list[str] | None, default: list[str] | None, origin: str | None) -> bool:
    if origin in ("explicit", "inherited"):
        return origin == "inherited"
    return value == default


def _labels(subject: Subject, labels: Mapping[str, str]) -> dict[str, str]:
    source = (subject.source or {}).get("Labels") or {}
    target = subject.target.get("Labels") or {}
    kept = {
        key: value
        for key, value in labels.items()
        if not (source.get(key) == value and key in source and target.get(key) != value)
    }
    if compose_labels.IMAGE in kept and subject.target_image_id:
        kept[compose_labels.IMAGE] = subject.target_image_id
    kept[OPERATION_LABEL] = subject.operation
    return kept


def _drop_keys(config: Document, field: str, keys: Iterable[str]) -> None:
    unwanted = set(keys)
    kept = {key: value for key, value in (config.get(field) or {}).items() if key not in unwanted}
    if kept:
        config[field] = kept
    else:
        config.pop(field, None)


# ── HostConfig and volumes ──────────────────────────────────────────────────────────────────────────────────────────


def _host_config(subject: Subject) -> Document:
    host = deepcopy(subject.inspect.get("HostConfig") or {})
    if host.get("Runtime") == subject.default_runtime:
        host.pop("Runtime", None)
    host.pop("ContainerIDFile", None)
    for field in ("KernelMemory", "KernelMemoryTCP"):
        if not host.get(field):
            host.pop(field, None)

    # Containers that no longer exist are replaced by their successors.
    for field in ("NetworkMode", "IpcMode", "PidMode"):
        match = CONTAINER_MODE.match(host.get(field) or "")
        if match and match["ref"] in subject.replaced:
            host[field] = f"container:{subject.replaced[match['ref']]}"
    if host.get("VolumesFrom"):
        parts = [entry.partition(":") for entry in host["VolumesFrom"]]
        host["VolumesFrom"] = [subject.replaced.get(name, name) + colon + mode for name, colon, mode in parts]
    return host


def _carry_anonymous(subject: Subject, host: Document) -> list[str]:
    """Give anonymous volumes their names so that the data follows (updates.md §6.5); returns those names."""
    given = [bind.split(":")[1 if ":" in bind else 0] for bind in host.get("Binds") or []]
    given += [m["Target"] for m in host.get("Mounts") or [] if m.get("Source") or m.get("Type") != "volume"]
    covered = {path.rstrip("/") or "/" for path in given} | set(host.get("Tmpfs") or {}) | subject.inherited_mounts
    nameless = {m["Target"]: m for m in host.get("Mounts") or [] if m.get("Type") == "volume" and not m.get("Source")}
    carried = []
    for mount in subject.inspect.get("Mounts") or []:
        if mount.get("Type") != "volume" or not mount.get("Name") or mount["Destination"] in covered:
            continue
        if mount["Destination"] in nameless:
            nameless[mount["Destination"]]["Source"] = mount["Name"]
        else:
            options = [] if mount.get("RW", True) else ["ro"]
            options += [word for word in (mount.get("Mode") or "").split(",") if word and word not in ("ro", "rw")]
            bind = ":".join([mount["Name"], mount["Destination"], *([",".join(options)] if options else [])])
            host["Binds"] = [*(host.get("Binds") or []), bind]
        carried.append(mount["Name"])
    return carried


# ── networks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _networks(inspect: Document, host: Document) -> tuple[str | None, dict[str, Document]]:
    """Name of the primary network (None: nothing to say at create) and an endpoint for every network."""
    mode = host.get("NetworkMode") or "default"
    attached = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
    if mode in ("host", "none") or CONTAINER_MODE.match(mode) or not attached:
        return None, {}
    primary = "bridge" if mode == "default" else mode
    if primary not in attached:
        by_id = (name for name, facts in attached.items() if (facts or {}).get("NetworkID", "") == primary)
        primary = next(by_id, min(attached))
    if mode not in (*_BUILT_IN, primary) and attached[primary].get("NetworkID") != mode:
        host["NetworkMode"] = primary
    return primary, {name: _endpoint(inspect, name, facts or {}) for name, facts in attached.items()}


def _endpoint(inspect: Document, name: str, facts: Document) -> Document:
    if name in _BUILT_IN:
        return {}
    endpoint = {field: deepcopy(facts[field]) for field in _ENDPOINT_FIELDS if facts.get(field)}
    addresses = {k: v for k, v in (facts.get("IPAMConfig") or {}).items() if k in _ADDRESS_FIELDS and v}
    if addresses:
        endpoint["IPAMConfig"] = addresses
    generated = {short_id(inspect["Id"]), inspect["Config"].get("Hostname")}
    aliases = [alias for alias in facts.get("Aliases") or [] if alias not in generated]
    if aliases:
        endpoint["Aliases"] = aliases
    if facts.get("DesiredMacAddress"):
        endpoint["MacAddress"] = facts["DesiredMacAddress"]
    return endpoint
