"""SVG from strangers made harmless: only shapes and their looks survive, nothing that runs or loads (platform-api.md §15).

Pure: bytes in, bytes out. A document type is refused before anything of it is read.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

NAMESPACE: Final = "http://www.w3.org/2000/svg"
DEEPEST: Final = 32
ROUNDS: Final = 5
"""How often an attribute is decoded; one that still changes then is hiding something."""

_WORDS: Final = frozenset({"title", "desc"})
_SHAPES: Final = frozenset({"path", "circle", "ellipse", "line", "polyline", "polygon", "rect"})
_GRADIENTS: Final = frozenset({"linearGradient", "radialGradient"})
_DRAWN: Final = _SHAPES | {"g"}
_CHILDREN: Final = {
    "svg": _DRAWN | _WORDS | _GRADIENTS | {"defs", "clipPath", "mask"},
    "g": _DRAWN | _WORDS | _GRADIENTS | {"defs", "clipPath", "mask"},
    "defs": _DRAWN | _WORDS | _GRADIENTS | {"clipPath", "mask"},
    "clipPath": _DRAWN | _WORDS,
    "mask": _DRAWN | _WORDS,
    **dict.fromkeys(_GRADIENTS, _WORDS | {"stop"}),
    **dict.fromkeys(_SHAPES, _WORDS),
    "stop": frozenset(),
    **dict.fromkeys(_WORDS, frozenset()),
}
"""Which elements may stand in which; anything else is dropped with all that it holds."""

ATTRIBUTES: Final = frozenset(
    [
        "id", "version", "viewBox", "width", "height", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry",
        "fx", "fy", "fr", "d", "points", "pathLength", "transform", "transform-origin", "preserveAspectRatio",
        "offset", "href", "gradientUnits", "gradientTransform", "spreadMethod", "clipPathUnits", "maskUnits",
        "maskContentUnits", "mask-type", "fill", "fill-opacity", "fill-rule", "stroke", "stroke-dasharray",
        "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "stroke-opacity",
        "stroke-width", "stop-color", "stop-opacity", "opacity", "color", "display", "visibility", "overflow",
        "clip-path", "clip-rule", "mask", "paint-order", "vector-effect", "shape-rendering", "color-interpolation",
        "color-rendering",
    ]
)  # fmt: skip
_FORBIDDEN: Final = ("javascript:", "data:", "vbscript:", "//")
_FRAGMENT = re.compile(r"#[\w.:-]+", re.ASCII)
_URL = re.compile(r"url\s*\(")
_LOCAL_URL = re.compile(r"""url\(\s*(["']?)#[\w.:-]+\1\s*\)""", re.ASCII)
_BLANKS = re.compile(r"[\s\x00-\x20\x7f]+")
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


class BadSvg(ValueError):
    """Not an SVG document that could be made harmless."""


def sanitized(content: bytes) -> bytes:
    """The drawing without anything active. Raises `BadSvg` for malformed XML, a document type, or another root."""
    try:
        root = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise BadSvg("it has a document type") from error
    except (ParseError, ValueError, LookupError) as error:
        raise BadSvg("it is not well-formed XML") from error
    if _local(root) != "svg":
        raise BadSvg("its root is not svg")
    made = _clean(root, 1)
    if made is None:
        raise BadSvg("there is text where only drawings may stand")
    made.set("xmlns", NAMESPACE)
    return bytes(tostring(made, encoding="utf-8"))


def _clean(node: Element, depth: int) -> Element | None:
    """A copy with what is allowed; None when the node itself must go."""
    name = _local(node) or ""
    texts = (node.text, *(child.tail for child in node))
    if depth > DEEPEST or (name not in _WORDS and any(text and text.strip() for text in texts)):
        return None
    made = Element(name, {key: value for key, value in node.attrib.items() if allowed(key, value)})
    if name in _WORDS:
        made.text = node.text
    for child in node:
        kept = _clean(child, depth + 1) if _local(child) in _CHILDREN[name] else None
        if kept is not None:
            made.append(kept)
    return made


def _local(node: Element) -> str | None:
    """The name of an SVG element; None for one of another vocabulary."""
    space, brace, name = node.tag.rpartition("}")
    return name if not brace or space == "{" + NAMESPACE else None


def allowed(name: str, value: str) -> bool:
    """Whether an attribute may stay: known by name, no script or data in it, references only within the drawing."""
    if name not in ATTRIBUTES:
        return False
    plain = _decoded(value)
    if plain is None or any(word in _BLANKS.sub("", plain) for word in _FORBIDDEN):
        return False
    if name == "href":
        return _FRAGMENT.fullmatch(value.strip()) is not None
    return len(_URL.findall(plain)) == len(_LOCAL_URL.findall(plain))


def _decoded(value: str) -> str | None:
    """The value as a browser might come to read it, lower-case; None when decoding does not come to an end."""
    for _ in range(ROUNDS):
        once = _CSS_COMMENT.sub("", _CSS_ESCAPE.sub(_escaped, unescape(unquote(value))))
        if once == value:
            return value.lower()
        value = once
    return None


def _escaped(found: re.Match[str]) -> str:
    code = int(found[1], 16) if found[1] else 0
    return found[2] or (chr(code) if 0 < code < 0x110000 else "")
