"""A nested document as flat names, the way environment variables and home automation want it (notifications.md §13.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_DROPPED = frozenset({"result_changed"})


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """`{"image": {"tag": {"value": "1"}}}` gives `{"image_tag_value": "1"}`; empty lists and objects stay values."""
    return {name: value for name, value in _flat("", document) if name not in _DROPPED}


def snake_case(name: str) -> str:
    """`localValue` gives `local_value`, `dd.display.name` gives `dd_display_name`."""
    return _SEPARATORS.sub("_", _BOUNDARY.sub("_", name)).strip("_").lower()


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    items: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping) and value:
        items = iter(value.items())
    elif isinstance(value, list | tuple) and value:
        items = iter(enumerate(value))
    if items is None:
        yield prefix, value
        return
    for key, item in items:
        yield from _flat(f"{prefix}_{snake_case(str(key))}" if prefix else snake_case(str(key)), item)
