"""The `${…}` language: what each construct gives, and that nothing whatever makes it fail (notifications.md §8.1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.notify.templates.render import LONGEST_TEXT, render

VARIABLES: dict[str, Any] = {
    "name": "web",
    "zero": 0,
    "one": 1,
    "half": 1.5,
    "whole": 2.0,
    "yes": True,
    "no": False,
    "nothing": None,
    "empty": "",
    "digest": "sha256:0123456789abcdef",
    "blank": "  x  ",
    "list": ["a", 1, None],
    "none": [],
    "container": {
        "name": "web",
        "updateKind": {"kind": "tag", "localValue": "1.0"},
        "result": {"link": "http://notes/1"},
        "__proto__": "x",
        "constructor": "x",
        "_secret": "x",
    },
    "containers": [{}, {}, {}],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$ { } $$ {name}", "$ { } $$ {name}"),
        ("${name}", "web"),
        ("a${name}b${name}c", "awebbwebc"),
        ("${ name }", "web"),
        ("${container.updateKind.kind}", "tag"),
        ("${container.updateKind}", '{"kind":"tag","localValue":"1.0"}'),
        ("${missing}", ""),
        ("${container.missing.deeper}", ""),
        ("${nothing.deeper}", ""),
        ("${name.deeper}", ""),
        ("${zero}|${one}|${half}|${whole}|${yes}|${no}|${nothing}", "0|1|1.5|2|true|false|"),
        ("${list}", '["a",1,null]'),
        ("${containers.length} updates", "3 updates"),
        ("${name.length}", "3"),
        ("${container.length}", ""),
        ("${list.0}", ""),
        # texts and numbers
        ("${'it'}", "it"),
        ('${"a\\nb\\tc\\"d\\q"}', 'a\nb\tc"d\\q'),
        ("${'}'}", "}"),
        ('${"a}b" + name}', "a}bweb"),
        ("${-1.5}", "-1.5"),
        # operators
        ("${name + '-' + one}", "web-1"),
        ("${one + one}", "11"),
        ("${nothing + name}", "web"),
        ("${empty && name}|${name && one}|${zero && name}", "|1|0"),
        ("${yes ? 'a' : 'b'}${no ? 'a' : 'b'}", "ab"),
        ("${none ? 'a' : 'b'}", "a"),
        ("${no ? 'a' : yes ? 'b' : 'c'}", "b"),
        ("${name && name + '!' ? 'x' + name : ''}", "xweb"),
        ("${(no ? 'a' : 'b') + 'c'}", "bc"),
        ("${empty || name}", "web"),
        ("${container.updateKind.kind == 'tag' ? 'T' : 'D'}", "T"),
        ("${one != 1 ? 'a' : 'b'}", "b"),
        ("${!empty}", "true"),
        ("${one < 10}${'b' > 'a'}", "truetrue"),
        # forbidden
        ("${container.__proto__}${container.constructor}${container._secret}${_x}", ""),
        ("${container.get('name')}", ""),
        ("${name.__class__}${name.upper()}", ""),
        # methods
        ('${digest.substring("0","15")}', "sha256:01234567"),
        ("${digest.substring(6, 0)}", "sha256"),
        ("${digest.substring(-3, 3)}", "sha"),
        ("${digest.slice(-4)}${name.slice(0, -1)}${name.slice(2, 1)}", "cdefwe"),
        ("${name.toUpperCase()}${'ÀB'.toLowerCase()}", "WEBàb"),
        ("[${blank.trim()}][${blank.trimStart()}][${blank.trimEnd()}]", "[x][x  ][  x]"),
        ("${'a.b.c'.replace('.', '-')}", "a-b.c"),
        ("${'a.b'.replace('.', '$1')}", "a$1b"),
        ("${'a,b'.split(',')}", '["a","b"]'),
        ("${'ab'.split('')}", '["a","b"]'),
        ("${name.indexOf('b')}${name.indexOf('x')}${'aba'.lastIndexOf('a')}", "2-12"),
        ("${name.startsWith('we')}${name.endsWith('x')}${name.includes('eb')}", "truefalsetrue"),
        ("${name.charAt(1)}${name.charAt(9)}", "e"),
        ("${name.padStart(5)}|${name.padEnd(6, 'ab')}|${name.padStart(2)}", "  web|webaba|web"),
        ("${name.repeat(2)}${name.repeat(-1)}", "webweb"),
        ("${name.toString()}${one.toString()}", "web1"),
        ("${list.includes('a')}${list.indexOf(1)}${list.toString()}${list.slice(0, 1)}", 'true1a,1,["a"]'),
        ("${list.toUpperCase()}${name.push('x')}${missing.trim()}", ""),
        ("${name.substring(0, name.length)}", "web"),
        ("${' Web '.trim().toLowerCase()}", "web"),
        ("${name.indexOf('(')}${name.padEnd(4, ')')}", "-1web)"),
        # malformed
        ("${}", ""),
        ("${name", "${name"),
        ("${name +}${+ name}${name name}${1name}${name.}${.name}", ""),
        ("${name ? 'a'}${name ? : 'a'}", ""),
        ("${'open}x", "x"),
        ("${name;import os}", ""),
        ("${f(1)}", ""),
        ("${${name}}", "}"),
    ],
)
def test_rendering(template: str, text: str) -> None:
    assert render(template, VARIABLES) == text


def test_the_default_body_of_the_guide() -> None:
    body = '${container.result && container.result.link ? "\\n" + container.result.link : ""}'
    assert render(body, VARIABLES) == "\nhttp://notes/1"
    assert render(body, {"container": {"result": {}}}) == ""
    assert render(body, {"container": {}}) == ""


def test_repetition_is_bounded() -> None:
    assert len(render("${'ab'.repeat(999999999)}", {})) == 64 * 1024
    assert len(render("${'ab'.padEnd(999999999, 'x')}", {})) == 64 * 1024
    assert len(render("${'a'.repeat(65536)}" * 10, {})) == LONGEST_TEXT


def test_nesting_is_bounded() -> None:
    assert render("${" + "(" * 40 + "name" + ")" * 40 + "}", VARIABLES) == "web"
    assert render("${" + "(" * 5000 + "name" + ")" * 5000 + "}", VARIABLES) == ""
    assert render("${" + "!" * 2000 + "name}", VARIABLES) == ""
    assert render("${name" + ".length" * 400 + "}", VARIABLES) == ""


def test_many_open_expressions_end() -> None:
    assert render('${"' * 20_000, {}) == '${"' * 20_000


SIGNS = ("${", "}", ".", "(", ")", "'", '"', "\\", "+", "&&", "?", ":", ",", "||", "==", "!", "<", "_", " ", "\n", "é")
NAMES = ("name", "list", "container", "repeat", "slice", "substring", "padEnd", "split", "replace", "length")
WORDS = st.sampled_from((*SIGNS, *NAMES, "-1", "2", "1e999"))
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(WORDS, max_size=30).map("".join))
def test_words_of_the_language_never_raise(template: str) -> None:
    assert isinstance(render(template, VARIABLES), str)
    assert isinstance(render("${" + template + "}", VARIABLES), str)


@given(st.text(), DOCUMENTS)
def test_any_text_and_any_value_never_raise(template: str, value: Any) -> None:
    assert isinstance(render(template, {"name": value}), str)
    for method in ("slice(1)", "indexOf(name)", "repeat(name)", "toString()", "length", "split(name)", "padEnd(name)"):
        assert isinstance(render("${name." + method + "} ${name + name}", {"name": value}), str)


@given(st.text().filter(lambda text: "${" not in text))
def test_text_without_expressions_is_kept(text: str) -> None:
    assert render(text, {}) == text[:LONGEST_TEXT]


@given(st.text())
def test_a_value_is_inserted_as_it_is(value: str) -> None:
    assert render("<${name}>", {"name": value}) == f"<{value}>"
