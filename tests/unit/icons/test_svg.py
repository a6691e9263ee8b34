"""SVG documents from strangers: what survives, what does not."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.icons.svg import ATTRIBUTES, BadSvg, allowed, sanitized

NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


def svg(inner: str, attributes: str = "") -> str:
    return sanitized(f"<svg {NAMESPACE} {attributes}>{inner}</svg>".encode()).decode()


def test_an_ordinary_icon_stays_as_it_is() -> None:
    made = svg('<title>Redis</title><path d="M10 2z" fill="#ff4438"/>', 'viewBox="0 0 24 24"')
    assert made == f'<svg viewBox="0 0 24 24" {NAMESPACE}><title>Redis</title><path d="M10 2z" fill="#ff4438" /></svg>'


def test_references_within_the_drawing_stay() -> None:
    made = svg(
        '<defs><linearGradient id="a"><stop offset="0" stop-color="red"/></linearGradient></defs>'
        '<g clip-path="url(#c)"><rect width="4" height="4" fill="url(\'#a\')"/></g>'
    )
    assert 'clip-path="url(#c)"' in made
    assert "fill=\"url('#a')\"" in made
    assert "stop-color" in made


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        "<foreignObject><body/></foreignObject>",
        '<image href="http://evil.example/x.png"/>',
        '<use href="#a"/>',
        '<a href="javascript:alert(1)"><path d="M0 0"/></a>',
        "<style>path{fill:url(http://evil.example)}</style>",
        "<animate attributeName='href'/>",
        "<svg><path d='M1 1'/></svg>",
        "<path d='M1 1'>text</path>",
        "<path d='M1 1'><path d='M2 2'/></path>",
        "<stop offset='1'/>",
        '<path xmlns="urn:other" d="M1 1"/>',
        "<g>words<path d='M1 1'/></g>",
        "<g><path d='M1 1'/>words</g>",
    ],
)
def test_what_does_not_belong_goes_with_its_children(inner: str) -> None:
    made = fromstring(svg(f"{inner}<circle r='1'/>"))
    left = [node.tag.rpartition("}")[2] for node in made.iter()]
    assert left in (["svg", "circle"], ["svg", "path", "circle"]), left
    assert left.count("path") <= 1
    assert "evil" not in svg(f"{inner}<circle r='1'/>")


def test_nothing_of_a_dropped_node_is_left() -> None:
    assert svg("<foreignObject><g><path d='M1 1'/></g></foreignObject>") == f"<svg {NAMESPACE} />"
    assert "M2 2" not in svg("<path d='M1 1'><path d='M2 2'/></path>")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("onload", "alert(1)"),
        ("onclick", "alert(1)"),
        ("style", "fill:red"),
        ("{http://www.w3.org/1999/xlink}href", "#a"),
        ("xlink:href", "#a"),
        ("class", "x"),
        ("href", "http://evil.example"),
        ("href", "//evil.example"),
        ("href", "javascript:alert(1)"),
        ("fill", "url(http://evil.example/#a)"),
        ("fill", "url(//evil.example)"),
        ("fill", "url( 'evil.svg#a' )"),
        ("fill", "url(#a) url(b.svg)"),
        ("fill", "URL(b.svg)"),
        ("fill", r"u\72l(b.svg)"),
        ("fill", "u/**/rl(b.svg)"),
        ("id", "java\nscript:alert(1)"),
        ("id", "j&#97;vascript:x"),
        ("id", "%6aavascript:x"),
        ("id", "%256aavascript:x"),
        ("id", "&amp;#106;avascript:x"),
        ("id", r"\6a avascript:x"),
        ("id", "DATA:text/html,x"),
        ("id", "vbscript:x"),
        ("id", "%2525252525252525256a"),
    ],
)
def test_attributes_that_run_or_load_are_dropped(name: str, value: str) -> None:
    assert not allowed(name, value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"<!DOCTYPE svg><svg {NAMESPACE}/>", "document type"),
        (f'<!DOCTYPE svg [<!ENTITY a "b">]><svg {NAMESPACE}><title>&a;</title></svg>', "document type"),
        (f"<svg {NAMESPACE}><path></svg>", "well-formed"),
        ("", "well-formed"),
        ("\x00\x01", "well-formed"),
        ("<html><svg/></html>", "root"),
        ('<svg xmlns="urn:other"/>', "root"),
        (f"<svg {NAMESPACE}>hello</svg>", "text"),
    ],
)
def test_refused_documents(content: str, reason: str) -> None:
    with pytest.raises(BadSvg, match=reason):
        sanitized(content.encode())


def test_depth_is_limited() -> None:
    deep = "<g>" * 200 + "<path d='M1 1'/>" + "</g>" * 200
    assert "path" not in svg(deep)
    assert "path" in svg("<g>" * 20 + "<path d='M1 1'/>" + "</g>" * 20)


_NODES = st.recursive(
    st.sampled_from(["path", "script", "title", "use", "rect"]).map(lambda name: f"<{name}/>"),
    lambda inner: st.tuples(
        st.sampled_from(["g", "svg", "a", "defs", "style", "foreignObject"]),
        st.sampled_from(["", 'onload="x"', 'fill="url(http://e)"', 'href="javascript:x"', 'id="a"']),
        st.lists(inner, max_size=3),
        st.sampled_from(["", "text", " "]),
    ).map(lambda parts: f"<{parts[0]} {parts[1]}>{''.join(parts[2])}{parts[3]}</{parts[0]}>"),
)


@given(st.lists(_NODES, max_size=4))
def test_the_result_has_only_known_parts_and_stays_what_it_is(nodes: list[str]) -> None:
    made = svg("".join(nodes))
    for node in fromstring(made).iter():
        assert node.tag.rpartition("}")[2] in {"svg", "g", "defs", "path", "rect", "title"}
        assert set(node.attrib) <= set(ATTRIBUTES)
    assert sanitized(made.encode()).decode() == made


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_made_harmless(content: bytes) -> None:
    try:
        assert sanitized(content).startswith(b"<svg")
    except BadSvg:
        return
