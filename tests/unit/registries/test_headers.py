"""Parsers of what registries say: examples, and that nothing raises (registries.md §4.2, §5.2, §6.3, §6.4, §11.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from drydock.core.errors import RegistryError
from drydock.registries import manifests
from drydock.registries.documents import digest_of
from drydock.registries.errors import clean, registry_says
from drydock.registries.manifests import Platform
from drydock.registries.sign_in import parse_challenges
from drydock.registries.tag_lists import next_link
from drydock.registries.transport import advised_wait, parse_quota, parse_wait

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://cgr.dev/token",service="cgr.dev",scope="repository:acme/app:pull"',
            [("bearer", {"realm": "https://cgr.dev/token", "service": "cgr.dev", "scope": "repository:acme/app:pull"})],
        ),
        ('Basic realm="x", Bearer realm="y"', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ("BEARER Realm=abc , service = plain", [("bearer", {"realm": "abc", "service": "plain"})]),
        (r'Bearer realm="a \"quoted\" one, with comma",', [("bearer", {"realm": 'a "quoted" one, with comma'})]),
        ('Bearer realm="unclosed', [("bearer", {"realm": "unclosed"})]),
        ('Bearer scope="*",unknown=1', [("bearer", {"scope": "*", "unknown": "1"})]),
        ("Negotiate", [("negotiate", {})]),
        ("", []),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(c.scheme, c.params) for c in parse_challenges([header])] == expected


@given(st.lists(st.one_of(st.text(), st.none(), st.integers())))
def test_challenges_never_raise(values: list[object]) -> None:
    parse_challenges(values)


TOKEN = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(st.dictionaries(TOKEN, st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=1))
def test_challenges_round_trip(params: dict[str, str]) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'

    header = "Bearer " + ", ".join(f"{key}={quote(value)}" for key, value in params.items())
    assert [(c.scheme, c.params) for c in parse_challenges([header])] == [("bearer", params)]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['</v2/a/tags/list?last=x>; rel="next"'], "/v2/a/tags/list?last=x"),
        (["</x>; rel=next"], "/x"),
        (["</x>; title=a; rel=next; type=b"], "/x"),
        (["</x>; rel=prev", "</y>; rel=next"], "/y"),
        (["</x>; rel=prev, </y>;rel=next"], "/y"),
        (['</x>; rel="prev next"'], "/x"),
        (['</x?a=1,2>; REL="NEXT"'], "/x?a=1,2"),
        (["</x>; rel=prev"], None),
        (["</x>"], None),
        (["rel=next"], None),
        ([], None),
    ],
)
def test_links(headers: list[str], expected: str | None) -> None:
    assert next_link(headers) == expected


@given(st.lists(st.text()))
def test_links_never_raise(values: list[str]) -> None:
    next_link(values)


NOW = 1_750_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("0.7146", 0.7146),
        ("-3", 0),
        ("714.6µs", 714.6e-6),
        ("23.722us", 23.722e-6),
        ("1m30s", 90),
        ("2h", 7200),
        ("150ms", 0.15),
        ("1750000030", 30),
        ("1740000000", 0),
        ("Sun, 15 Jun 2025 15:07:10 GMT", 30),
        ("Sun, 15 Jun 2020 15:07:10 GMT", 0),
        ("", None),
        ("soon", None),
        ("5 apples", None),
        ("1m30", None),
        (None, None),
    ],
)
def test_waits(text: str | None, seconds: float | None) -> None:
    found = parse_wait(text, NOW)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@given(st.text(), st.dictionaries(st.sampled_from(["Retry-After", "X-Retry-After", "X-RateLimit-Reset"]), st.text()))
def test_waits_never_raise(body: str, headers: dict[str, str]) -> None:
    found = advised_wait(CIMultiDict(headers), body.encode(errors="replace"), NOW)
    assert found is None or found >= 0.1


@given(st.integers(0, 10**6))
def test_whole_seconds_round_trip(seconds: int) -> None:
    assert parse_wait(str(seconds), NOW) == seconds


def test_waits_in_the_body() -> None:
    assert advised_wait({}, b"toomanyrequests: retry-after: 2.5s, allowed: 44000/minute", NOW) == 2.5


def test_quota() -> None:
    quota = parse_quota({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"})
    assert quota == (100, 76, 21600)
    assert parse_quota({}) is None


@given(st.text(), st.text())
def test_quota_never_raises(limit: str, remaining: str) -> None:
    parse_quota({"ratelimit-limit": limit, "ratelimit-remaining": remaining})


def test_digest_headers() -> None:
    assert digest_of({"Docker-Content-Digest": SHA}) == SHA
    assert digest_of({"Docker-Content-Digest": "md5:1", "ETag": f'"{SHA}"'}) == SHA
    assert digest_of({"ETag": '"abc"'}) is None


def test_texts_of_registries_are_cleaned() -> None:
    assert registry_says(b'{"errors":[{"code":"DENIED","message":"a\\u001b[31m\\nb"}]}') == ("DENIED", "a [31m b")
    assert len(clean("x" * 500)) == 200


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except RegistryError as error:
        assert error.message  # noqa: PT017 - anything else that is raised fails the test


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["manifests", "config", "layers", "digest", "platform", "os", "history", "created", "data"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(
    st.dictionaries(st.sampled_from(["manifests", "config", "layers", "schemaVersion", "history", "mediaType"]), JSON)
)
def test_odd_documents_never_raise_anything_else(document: dict[str, object]) -> None:
    _quietly(lambda: manifests.kind_of(document))
    _quietly(lambda: manifests.choose(document, Platform("linux", "amd64")))
    _quietly(lambda: manifests.config_descriptor(document))
    _quietly(lambda: manifests.schema1_created(document))


@given(st.binary())
def test_odd_bodies_never_raise_anything_else(body: bytes) -> None:
    registry_says(body)
    _quietly(lambda: manifests.read_config(body))


def entry(number: int, os: str, architecture: str, variant: str = "", version: str = "") -> dict[str, object]:
    platform = {"os": os, "architecture": architecture, "variant": variant, "os.version": version}
    return {"digest": f"sha256:{number:064x}", "platform": platform}


@pytest.mark.parametrize(
    ("entries", "platform", "expected"),
    [
        ([("linux", "arm", "v5"), ("linux", "arm", "v7")], Platform("linux", "arm", "v6"), 0),
        ([("linux", "arm", "v5"), ("linux", "arm", "v6")], Platform("linux", "arm", "v7"), 1),
        ([("linux", "arm64", "v8"), ("linux", "amd64")], Platform("linux", "aarch64"), 0),
        ([("linux", "amd64", "v3"), ("linux", "amd64")], Platform("linux", "amd64", "v1"), 1),
        (
            [("windows", "amd64", "", "10.0.17763.1"), ("windows", "amd64", "", "10.0.20348.9")],
            Platform("windows", "amd64", None, "10.0.20348.2"),
            1,
        ),
        ([("linux", "386"), ("linux", "amd64")], Platform("linux", "i386"), 0),
    ],
)
def test_the_entry_of_a_platform(entries: list[tuple[str, ...]], platform: Platform, expected: int) -> None:
    index = {"manifests": [entry(number, *parts) for number, parts in enumerate(entries)]}
    assert manifests.choose(index, platform)["digest"] == f"sha256:{expected:064x}"


def test_entries_without_platform() -> None:
    bare = {"digest": SHA}
    assert manifests.choose({"manifests": [bare]}, Platform("linux", "amd64")) == bare
    with pytest.raises(RegistryError, match="no manifest for linux/amd64"):
        manifests.choose({"manifests": [bare, bare]}, Platform("linux", "amd64"))
