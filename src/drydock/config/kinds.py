"""Types of values that a variable can have: how the text is read, and what is allowed, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from drydock.core.cron import CronError, parse_cron
from drydock.core.secret import MASK, Secret

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """`read` turns the text into a value or raises ValueError; `allowed` completes the sentence "must be …"."""

    name: str
    allowed: str
    read: Callable[[str], T]
    secret: bool = False
    hide: Callable[[str], str] = lambda text: text
    """What of the text may be shown to people."""
    show: Callable[[Any], str] = lambda value: _written(value)
    """A value as it would be written in the variable, for defaults in the documentation."""
    empty_is_unset: bool = False
    """An empty text is no value: the default holds, as without the variable."""


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def boolean() -> Kind[bool]:
    """`true` or `false` in any case."""

    def read(text: str) -> bool:
        lowered = text.strip().lower()
        if lowered not in ("true", "false"):
            raise ValueError(text)
        return lowered == "true"

    return Kind("boolean", "true or false", read)


def integer(low: int | None = None, high: int | None = None) -> Kind[int]:
    """A whole number within the bounds (both included)."""
    return Kind("integer", f"a whole number{_bounds(low, high)}", lambda text: _read_integer(text, low, high))


def _bounds(low: int | None, high: int | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""


def _read_integer(text: str, low: int | None, high: int | None) -> int:
    stripped = text.strip()
    if not re.fullmatch(r"[+-]?\d{1,15}", stripped):
        raise ValueError(text)
    number = int(stripped)
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(text)
    return number


def milliseconds(low: int = 0, high: int | None = None, *, zero: bool = False) -> Kind[float]:
    """Whole milliseconds in the variable, seconds in the settings. `zero`: 0 is allowed below `low` and switches off."""
    allowed = f"{'0 or ' if zero else ''}a whole number{_bounds(low, high)}"

    def read(text: str) -> float:
        number = _read_integer(text, 0 if zero else low, high)
        if 0 < number < low:
            raise ValueError(text)
        return number / 1000

    return Kind("milliseconds", allowed, read, show=lambda seconds: str(round(seconds * 1000)))


def text() -> Kind[str]:
    """Any non-empty text."""
    return Kind("text", "a non-empty text", _read_text)


def _read_text(value: str) -> str:
    if not value.strip():
        raise ValueError(value)
    return value


def secret() -> Kind[Secret]:
    """A text that is never shown."""
    return Kind(
        "secret",
        "a non-empty secret",
        lambda value: Secret(_read_text(value)),
        secret=True,
        hide=lambda text: MASK if text else text,
    )


def choice(*values: str) -> Kind[str]:
    """One of the words, in any case."""

    def read(value: str) -> str:
        lowered = value.strip().lower()
        if lowered not in values:
            raise ValueError(value)
        return lowered

    return Kind("choice", f"one of {', '.join(values)}", read, empty_is_unset=True)


def path() -> Kind[str]:
    """A file system path, relative ones against the working directory."""

    def read(value: str) -> str:
        stripped = value.strip()
        if not stripped or "\0" in stripped:
            raise ValueError(value)
        return stripped

    return Kind("path", "a path", read)


def url(*schemes: str) -> Kind[str]:
    """An absolute URL of one of the schemes, without user name and password in it."""

    def read(value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme not in schemes or not parts.netloc or "@" in parts.netloc:
            raise ValueError(value)
        return value.strip()

    return Kind("url", f"a URL ({' or '.join(schemes)}) without credentials in it", read)


def service_url(*schemes: str) -> Kind[str]:
    """An absolute URL of one of the schemes; it may carry credentials, which are never shown."""

    def read(value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme.lower() not in schemes or not parts.hostname or parts.port == 0:
            raise ValueError(value)
        return value.strip()

    return Kind("service url", f"a URL ({' or '.join(schemes)})", read, hide=without_credentials)


def without_credentials(url: str) -> str:
    """A URL without its user name, password and query values."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{host}" if at and userinfo else host
    query = "&".join(f"{quote(name)}={MASK}" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def number() -> Kind[float]:
    """A number, whole or not."""

    def read(value: str) -> float:
        if not re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,9})?", value.strip()):
            raise ValueError(value)
        return float(value)

    return Kind("number", "a number", read)


def cron() -> Kind[str]:
    """A cron expression of 5 fields, or 6 with leading seconds (watching.md §1.5)."""

    def read(value: str) -> str:
        try:
            parse_cron(value)
        except CronError as error:
            raise ValueError(str(error)) from error
        return value.strip()

    return Kind("cron", "a cron expression of 5 fields, or 6 with leading seconds", read)


def optional_cron() -> Kind[str | None]:
    """A cron expression; empty switches the schedule off."""
    schedule = cron()
    return Kind(
        "cron", f"{schedule.allowed}; empty = off", lambda value: schedule.read(value) if value.strip() else None
    )


def zone() -> Kind[str]:
    """An IANA time zone."""

    def read(value: str) -> str:
        stripped = value.strip()
        try:
            ZoneInfo(stripped)
        except (KeyError, OSError) as error:
            raise ValueError(value) from error
        return stripped

    return Kind("time zone", "an IANA time zone such as Europe/Berlin", read)


def csv() -> Kind[tuple[str, ...]]:
    """Comma-separated words; blanks around them are dropped, empty ones ignored."""
    return Kind("list", "a comma-separated list", lambda value: tuple(w for w in map(str.strip, value.split(",")) if w))


def either(first: Kind[Any], second: Kind[Any]) -> Kind[Any]:
    """The first kind that can read the text."""

    def read(value: str) -> Any:
        try:
            return first.read(value)
        except ValueError:
            return second.read(value)

    return Kind(f"{first.name} or {second.name}", f"{first.allowed}, or {second.allowed}", read)
