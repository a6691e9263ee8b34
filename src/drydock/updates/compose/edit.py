"""The edit of one Compose text: the image of one service, and not a byte more (updates.md §11.4). Pure.

The YAML events give positions; only the value is spliced. Comments, order, quoting, line ends, BOM and anchors
elsewhere stay. An interpolated value is changed where its text really stands, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from drydock.core.reference import DEFAULT_TAG, split
from drydock.updates.compose.files import ComposeProblem, Interpolated, Invalid

LARGEST_FILE = 1024 * 1024
MOST_ALIASES = 10_000
_DOLLAR = re.compile(r"(?<!\$)(?:\$\$)*\$(?!\$)")
_VARIABLE = re.compile(r"\$\{(?P<braced>[A-Za-z_]\w*)(?P<default>:?-(?P<value>[^}$]*))?\}|\$(?P<bare>[A-Za-z_]\w*)")


class Span(msgspec.Struct, frozen=True):
    """A value in a text: where it begins and ends, its style (`'`, `"` or none), its text (None: an alias)."""

    start: int
    end: int
    style: str | None
    value: str | None


class Place(msgspec.Struct, frozen=True):
    """Where a service stands: its image value if it has one, else where its first key begins; None in a flow mapping."""

    image: Span | None
    first_key: int | None
    flow: bool


class Edited(msgspec.Struct, frozen=True):
    """The new text of the Compose file, or of the project's `.env` file."""

    compose: str | None = None
    env: str | None = None


def edit_image(text: str, service: str, reference: str, env_text: str | None = None) -> Edited:
    """Set the image of `service` to `reference`; `env_text` is the project's `.env` file.

    Raises `ComposeProblem` when that is not possible without guessing.
    """
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    body = text[len(bom) :]
    place = find_service(body, service)
    if place is None:
        raise ComposeProblem(f"Service {service} is not defined in this compose file")
    span = place.image
    if span is not None and span.value and _DOLLAR.search(span.value):
        return _through_variable(body, bom, span, service, reference, env_text)
    if span is not None:
        edited = bom + body[: span.start] + _quoted(reference, span.style) + body[span.end :]
    elif place.flow or place.first_key is None:
        raise ComposeProblem(f"Unable to insert compose image for flow-style service {service} without image key")
    else:
        line = body.rfind("\n", 0, place.first_key) + 1
        ending = "\r\n" if "\r\n" in body else "\n"
        edited = bom + body[:line] + body[line : place.first_key] + f"image: {reference}{ending}" + body[line:]

    # What was spliced in must be what a YAML parser reads there.
    try:
        found = YAML(typ="safe", pure=True).load(edited)["services"][service]["image"]
    except (YAMLError, KeyError, TypeError) as error:
        raise Invalid(str(error)) from error
    if found != reference:
        raise Invalid(f"service {service} would run {found}")
    return Edited(compose=edited)


def _quoted(text: str, style: str | None) -> str:
    if style == "'":
        return "'" + text.replace("'", "''") + "'"
    if style == '"':
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


# ── positions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def find_service(text: str, service: str) -> Place | None:
    """Where `services.<service>` stands; None when the file does not define it. Raises for broken YAML."""
    try:
        events = iter(_checked(text))
    except YAMLError as error:
        raise ComposeProblem(f"The compose file is not valid YAML ({error})") from error
    if next((event for event in events if isinstance(event, MappingStartEvent)), None) is None:
        return None
    services = _value_of(events, "services")
    if not isinstance(services, MappingStartEvent):
        return None
    start = _value_of(events, service)
    if start is None:
        return None
    if not isinstance(start, MappingStartEvent):
        return Place(None, None, flow=True)
    first: int | None = None
    for key, value in _pairs(events):
        first = key.start_mark.index if first is None else first
        if key.value == "image":
            return Place(_span(value), first, flow=bool(start.flow_style))
        _skip(events, value)
    return Place(None, first, flow=bool(start.flow_style))


def _value_of(events: Iterator[Any], name: str) -> Any:
    """The first event of the value that the mapping just opened has under `name`; None without one."""
    for key, value in _pairs(events):
        if key.value == name:
            return value
        _skip(events, value)
    return None


def _checked(text: str) -> list[Any]:
    """The events of a text that is not too large, nor refers to itself too often."""
    if len(text.encode()) > LARGEST_FILE:
        raise ComposeProblem("The compose file is larger than 1 MiB")
    events = list(YAML(typ="rt", pure=True).parse(text))
    if sum(isinstance(event, AliasEvent) for event in events) > MOST_ALIASES:
        raise ComposeProblem(f"The compose file has more than {MOST_ALIASES} aliases")
    return events


def _pairs(events: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Keys and first value events of the mapping that was just opened; the caller consumes nested values."""
    while not isinstance(key := next(events), MappingEndEvent):
        if isinstance(key, ScalarEvent):
            yield key, next(events)
        else:
            _skip(events, key)
            _skip(events, next(events))


def _skip(events: Iterator[Any], event: Any) -> None:
    depth = int(isinstance(event, MappingStartEvent | SequenceStartEvent))
    while depth:
        following = next(events)
        depth += isinstance(following, MappingStartEvent | SequenceStartEvent)
        depth -= isinstance(following, MappingEndEvent | SequenceEndEvent)


def _span(event: Any) -> Span:
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, AliasEvent):
        return Span(start, end, None, None)
    if not isinstance(event, ScalarEvent) or event.style in ("|", ">") or event.anchor:
        raise ComposeProblem("The image of the service is not a plain or quoted text: change it manually")
    return Span(start, end, event.style, event.value)


# ── interpolation ───────────────────────────────────────────────────────────────────────────────────────────────────


def _through_variable(body: str, bom: str, span: Span, service: str, reference: str, env_text: str | None) -> Edited:
    """Change the variable behind the tag, or its default; nothing else is certain."""
    value = span.value or ""
    head, colon, tail = value.rpartition(":")
    if "}" in tail:  # the colon between name and tag, not the one inside of `${V:-x}`
        head, colon, _ = value[: value.rfind("${")].rpartition(":")
        tail = value[len(head) + len(colon) :]
    match = _VARIABLE.fullmatch(tail) if colon else None
    _, tag, digest = split(reference)
    if match is None or digest or _DOLLAR.search(head):
        raise _by_hand(service, value)
    name, tag = match["braced"] or match["bare"], tag or DEFAULT_TAG
    # The last line of the `.env` file that sets it holds; quotes and comments stay.
    pattern = rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=[ \t]*[\"']?(?P<value>[^\s\"'#]*)"
    if env_text is not None and (lines := list(re.finditer(pattern, env_text, re.MULTILINE))):
        return Edited(env=env_text[: lines[-1].start("value")] + tag + env_text[lines[-1].end("value") :])
    if match["default"] is None:
        raise _by_hand(service, value)
    changed = value[: len(value) - len(tail)] + tail[: match.start("value")] + tag + tail[match.end("value") :]
    return Edited(compose=bom + body[: span.start] + _quoted(changed, span.style) + body[span.end :])


def _by_hand(service: str, value: str) -> Interpolated:
    variables = [m["braced"] or m["bare"] for m in _VARIABLE.finditer(value)]
    named = ", ".join(variables) or "the variable"
    return Interpolated(f"Image of service {service} is interpolated; update {named} by hand")


def services_of(text: str) -> Mapping[str, Any]:
    """The services of a Compose text as data; raises `ComposeProblem` for broken YAML."""
    try:
        _checked(text)
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ComposeProblem(f"The compose file is not valid YAML ({error})") from error
    found = document.get("services") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}
