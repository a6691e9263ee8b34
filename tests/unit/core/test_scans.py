"""What of a stored scan stays valid when the container or its candidate changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drydock.core.model import ImageDigest, Result
from drydock.core.scans import inherited, of_candidate, of_running, running_digests, settled, tag_of
from kit.containers import container, image

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def sample(running: str | None = A, candidate: str | None = B, tag: str = "1.1.0") -> Any:
    picture = image("1.0.0", digest=ImageDigest(watch=True, value=running, repo=running), id=C)
    return msgspec.structs.replace(container(1, result=Result(tag=tag, digest=candidate)), image=picture)


def scan(image: str, digest: str | None = None) -> dict[str, Any]:
    return {"image": image, **({"imageDigest": digest} if digest else {})}


def test_names_of_the_running_image() -> None:
    one = sample()
    digest = msgspec.structs.replace(one.image.digest, repo_digests=[f"nginx@{B}"])
    one = msgspec.structs.replace(one, image=msgspec.structs.replace(one.image, digest=digest))
    assert running_digests(one) == {A, B, C}


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("nginx:1.0", "1.0"),
        ("127.0.0.1:5000/a/b:1", "1"),
        ("127.0.0.1:5000/a/b", ""),
        (f"a:1@{A}", "1"),
        (f"a@{A}", ""),
    ],
)
def test_tags_of_references(text: str, tag: str) -> None:
    assert tag_of({"image": text}) == tag


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (scan("nginx:9", A), True),
        (scan("nginx:1.0.0", B), False),
        (scan("nginx:1.0.0"), True),
        (scan("nginx:2"), False),
    ],
)
def test_of_the_running_image(entry: dict[str, Any], expected: bool) -> None:
    assert of_running(entry, sample()) is expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (scan("nginx:9", B), True),
        (scan("nginx:1.1.0", A), False),
        (scan("nginx:1.1.0"), True),
        (scan("nginx:1"), False),
    ],
)
def test_of_the_candidate(entry: dict[str, Any], expected: bool) -> None:
    assert of_candidate(entry, sample()) is expected


def test_nothing_changed() -> None:
    known = {"scan": scan("nginx:1.0.0", A), "updateScan": scan("nginx:1.1.0", B)}
    assert settled(known, sample()) == known


def test_the_candidate_was_installed() -> None:
    known = {"scan": scan("nginx:1.0.0", A), "updateScan": scan("nginx:1.1.0", B), "sbom": {"subjectDigest": A}}
    assert settled(known, sample(running=B, candidate=None)) == {
        "scan": scan("nginx:1.1.0", B),
        "updateScan": known["updateScan"],
    }


def test_something_else_runs() -> None:
    assert settled({"scan": scan("nginx:1.0.0", A)}, sample(running=B)) is None
    assert settled(None, sample()) is None


def test_another_image_inherits_what_names_its_digest() -> None:
    known = {"scan": scan("nginx:1.0.0"), "updateScan": scan("nginx:1.1.0", B)}
    assert inherited(known, sample(running=B, candidate=None, tag="1.0.0")) == {"scan": scan("nginx:1.1.0", B)}
    assert inherited({"scan": scan("nginx:1.0.0")}, sample()) is None
