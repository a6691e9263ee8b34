"""The methods that a template may call on texts and lists, with the meaning they have in JavaScript (notifications.md §8.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

LONGEST_REPEAT = 64 * 1024
LONGEST = 256 * 1024

ToText = Callable[[Any], str]
Method = Callable[[Any, "Arguments"], Any]
_BLANKS = " \t\n\r\v\f\u00a0\ufeff"


class Arguments:
    """What a method was given; missing ones have a default."""

    def __init__(self, values: Sequence[Any], to_text: ToText) -> None:
        self._values = values
        self._to_text = to_text

    def text(self, place: int, default: str = "") -> str:
        """The argument as text."""
        return self._to_text(self._values[place]) if self.given(place) else default

    def whole(self, place: int, default: int = 0) -> int:
        """The argument as a whole number; a text that is none counts as 0."""
        if not self.given(place):
            return default
        try:
            return int(float(self._to_text(self._values[place]) or "0"))
        except (ValueError, OverflowError):
            return 0

    def value(self, place: int) -> Any:
        """The argument itself."""
        return self._values[place] if self.given(place) else None

    def given(self, place: int) -> bool:
        """Whether there is such an argument."""
        return place < len(self._values) and self._values[place] is not None

    def joined(self, items: Sequence[Any]) -> str:
        """A list as JavaScript turns it into a text."""
        return ",".join(map(self._to_text, items))


def call(value: Any, method: str, arguments: Sequence[Any], to_text: ToText) -> Any:
    """The result of a method; None where the value has no such method."""
    given = Arguments(arguments, to_text)
    if isinstance(value, str):
        found = _OF_TEXT.get(method)
        result = found(value, given) if found else None
        return result[:LONGEST] if isinstance(result, str) else result
    if isinstance(value, list | tuple):
        found = _OF_LIST.get(method)
        return found(list(value), given) if found else None
    if method == "toString" and value is not None and not isinstance(value, dict):
        return to_text(value)
    return None


def _between(size: int, place: int) -> int:
    return min(max(place, 0), size)


def _substring(text: str, given: Arguments) -> str:
    first, second = _between(len(text), given.whole(0)), _between(len(text), given.whole(1, len(text)))
    return text[min(first, second) : max(first, second)]


def _slice(value: Any, given: Arguments) -> Any:
    size = len(value)
    places = given.whole(0), given.whole(1, size)
    begin, end = (_between(size, size + place if place < 0 else place) for place in places)
    return value[begin:end] if begin < end else value[:0]


def _split(text: str, given: Arguments) -> list[str]:
    if not given.given(0):
        return [text]
    separator = given.text(0)
    return text.split(separator) if separator else list(text)


def _index_of(text: str, given: Arguments) -> int:
    return text.find(given.text(0), _between(len(text), given.whole(1)))


def _last_index_of(text: str, given: Arguments) -> int:
    wanted = given.text(0)
    return text.rfind(wanted, 0, _between(len(text), given.whole(1, len(text))) + len(wanted))


def _padding(text: str, given: Arguments) -> str:
    missing = min(given.whole(0), LONGEST_REPEAT) - len(text)
    filler = given.text(1, " ")
    return (filler * (missing // len(filler) + 1))[:missing] if missing > 0 and filler else ""


_OF_TEXT: dict[str, Method] = {
    "substring": _substring,
    "slice": _slice,
    "toLowerCase": lambda text, _: text.lower(),
    "toUpperCase": lambda text, _: text.upper(),
    "trim": lambda text, _: text.strip(_BLANKS),
    "trimStart": lambda text, _: text.lstrip(_BLANKS),
    "trimEnd": lambda text, _: text.rstrip(_BLANKS),
    "replace": lambda text, given: text.replace(given.text(0), given.text(1), 1),
    "split": _split,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "startsWith": lambda text, given: text.startswith(given.text(0), _between(len(text), given.whole(1))),
    "endsWith": lambda text, given: text[: _between(len(text), given.whole(1, len(text)))].endswith(given.text(0)),
    "includes": lambda text, given: _index_of(text, given) >= 0,
    "charAt": lambda text, given: text[given.whole(0)] if 0 <= given.whole(0) < len(text) else "",
    "padStart": lambda text, given: _padding(text, given) + text,
    "padEnd": lambda text, given: text + _padding(text, given),
    "repeat": lambda text, given: text * min(max(given.whole(0), 0), LONGEST_REPEAT // (len(text) or 1)),
    "toString": lambda text, _: text,
}


def _places(items: list[Any], given: Arguments) -> list[int]:
    """Where the value is; `true` is not 1."""
    wanted = given.value(0)
    alike = (isinstance(item, bool) == isinstance(wanted, bool) and bool(item == wanted) for item in items)
    return [place for place, same in enumerate(alike) if same]


_OF_LIST: dict[str, Method] = {
    "slice": _slice,
    "indexOf": lambda items, given: next(iter(_places(items, given)), -1),
    "lastIndexOf": lambda items, given: next(reversed(_places(items, given)), -1),
    "includes": lambda items, given: bool(_places(items, given)),
    "toString": lambda items, given: given.joined(items)[:LONGEST],
}
