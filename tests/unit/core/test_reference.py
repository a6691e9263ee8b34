"""Image references (watching.md §4) and image sets (§2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.errors import InvalidReference
from drydock.core.imgset import ImageSet, best_match
from drydock.core.reference import canonical_host, own_digests, parse, same_repository, try_parse

HEX = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "domain", "path", "tag", "digest"),
    [
        ("nginx", None, "nginx", None, None),
        ("nginx:1.27", None, "nginx", "1.27", None),
        ("docker.io/library/nginx:1", "docker.io", "library/nginx", "1", None),
        ("localhost/app:1", "localhost", "app", "1", None),
        ("localhost:5000/app", "localhost:5000", "app", None, None),
        ("localhost:5000", None, "localhost", "5000", None),
        (f"10.0.0.5:5000/t/app:2.0@{HEX}", "10.0.0.5:5000", "t/app", "2.0", HEX),
        ("myhost/app", None, "myhost/app", None, None),
        ("a/b/c:x", None, "a/b/c", "x", None),
        (f"nginx@{HEX}", None, "nginx", None, HEX),
        ("ghcr.io/Owner/App:V1", "ghcr.io", "owner/app", "V1", None),
        ("MyHost/app", "myhost", "app", None, None),
        ("[::1]:5000/app:2", "[::1]:5000", "app", "2", None),
        (" nginx ", None, "nginx", None, None),
        ("nginx:" + "a" * 128, None, "nginx", "a" * 128, None),
    ],
)
def test_parse(text: str, domain: str | None, path: str, tag: str | None, digest: str | None) -> None:
    found = parse(text)
    assert (found.domain, found.path, found.tag, found.digest) == (domain, path, tag, digest)


@pytest.mark.parametrize(
    "text",
    ["", "nginx:", "nginx:1:2", "nginx:" + "a" * 129, "nginx:1@sha256:short", "nginx@", "a//b", "/a", "a/", "é", "a b"],
)
def test_invalid(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    assert caught.value.status == 400
    assert caught.value.hint


@given(st.text(max_size=60))
def test_only_its_own_error_is_raised_and_what_parses_can_be_written_again(text: str) -> None:
    found = try_parse(text)
    if found is not None:
        assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("index.docker.io", "docker.io"),
        ("https://registry-1.docker.io/v2/", "docker.io"),
        ("registry.hub.docker.com", "docker.io"),
        ("GHCR.io", "ghcr.io"),
        ("https://r.example:443/", "r.example"),
        ("http://r.example:80", "r.example"),
        ("http://r.example:443", "r.example:443"),
        ("https://r.example:8443/v2", "r.example:8443"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_canonical_host(host: str, expected: str) -> None:
    assert canonical_host(host) == expected


def test_repository_and_host_of_hub_images() -> None:
    assert parse("nginx").repository == parse("registry-1.docker.io/library/nginx").repository == "library/nginx"
    assert parse("grafana/grafana").repository == "grafana/grafana"
    assert parse("ghcr.io/nginx").repository == "nginx"
    assert same_repository(parse("nginx:1"), parse("index.docker.io/library/nginx@" + HEX))
    assert not same_repository(parse("a/b"), parse("ghcr.io/a/b"))


def test_candidates_name_every_spelling() -> None:
    assert set(parse("nginx").candidates()) == {"nginx", "docker.io/nginx", "registry-1.docker.io/nginx"}
    assert "ghcr.io/a/b" in parse("ghcr.io/a/b").candidates()
    assert "nginx" in parse("docker.io/library/nginx").candidates()


def test_own_digests_come_first_and_malformed_entries_are_ignored() -> None:
    entries = ["ghcr.io/a/b@sha256:2", "docker.io/a/b@sha256:1", "broken", "@x", "a/b@"]
    assert own_digests(parse("a/b"), entries) == ["sha256:1"]
    assert own_digests(parse("ghcr.io/a/b"), entries) == ["sha256:2"]
    assert own_digests(parse("other"), entries) == ["sha256:2", "sha256:1"]


def named(*pairs: tuple[str, str]) -> list[ImageSet]:
    return [ImageSet(name=name, image=image) for name, image in pairs]


@pytest.mark.parametrize(
    ("sets", "image", "expected"),
    [
        ([("a", "nginx")], "docker.io/library/nginx:1", "a"),
        ([("a", "library/nginx:3")], "nginx", "a"),
        ([("a", "ghcr.io/a/b")], "a/b", None),
        ([("a", "a/b")], "ghcr.io/a/b", "a"),
        ([("a", "registry-1.docker.io/a/b")], "a/b", "a"),
        ([("a", "a/b"), ("b", "ghcr.io/a/b")], "ghcr.io/a/b", "b"),
        ([("z", "a/b"), ("y", "a/b")], "a/b", "y"),
        ([("a", "other")], "nginx", None),
        ([("a", "NGINX")], "nginx", "a"),
        ([("a", "ng*")], "nginx", None),
    ],
)
def test_image_set_matching(sets: list[tuple[str, str]], image: str, expected: str | None) -> None:
    found = best_match(named(*sets), parse(image))
    assert (found and found.name) == expected
