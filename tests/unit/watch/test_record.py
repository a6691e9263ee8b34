"""From Engine documents to records: which image runs, repository digests, sources, details, presets (watching.md §2, §4, §5.6–§5.11)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drydock.core.imgset import ImageSet
from drydock.core.labels import WatcherDefaults
from drydock.core.model import Container, HostKey, Result
from drydock.watch.details import details, health, started_at
from drydock.watch.ledger import checked, observed
from drydock.watch.record import (
    Context,
    Facts,
    created,
    normalised_repo,
    refresh,
    register,
    running_image,
    source_repo,
    walk,
)

HEX, OTHER = "ab" * 32, "cd" * 32
DIGEST = f"sha256:{HEX}"


def context(*sets: ImageSet, **defaults: Any) -> Context:
    return Context(
        HostKey(None, "local"),
        sets,
        WatcherDefaults(**defaults),
        lambda host, repository, lookup: f"for-{lookup or host}",
    )


def facts(text: str = "nginx:1.27.0", labels: dict[str, str] | None = None, **image: Any) -> Facts:
    entry = {"Id": "1" * 64, "Names": ["/web"], "Image": text, "ImageID": "sha256:i1", "State": "running"}
    document = {"Id": "sha256:i1", "Os": "linux", "Architecture": "amd64", "RepoDigests": [f"nginx@{DIGEST}"], **image}
    return Facts(entry, labels or {}, None, document)


def made(*args: Any, using: Context | None = None, **more: Any) -> Container:
    record = register(facts(*args, **more), using or context())
    assert record is not None
    return record


# which image (§4)


@pytest.mark.parametrize(
    ("listed", "configured", "tags", "digests", "repository", "tag"),
    [
        ("nginx", None, [], [], "library/nginx", "latest"),
        ("ghcr.io/Owner/App:2", None, [], [], "owner/app", "2"),
        (f"app:2.0@{DIGEST}", f"app:2.0@{DIGEST}", [], [], "library/app", "2.0"),
        (f"sha256:{HEX}", "localhost:5000/app:2", [], [], "app", "2"),
        (f"app@{DIGEST}", None, ["drydock-backup/x:1", "app:3"], [], "library/app", "3"),
        (f"app@{DIGEST}", None, ["drydock-backup/x:1"], [f"quay.io/t/app@{DIGEST}"], "t/app", DIGEST),
        (f"sha256:{HEX}", " ", [], [f"quay.io/t/app@{DIGEST}"], "t/app", DIGEST),
        (f"sha256:{HEX}", None, [], [], f"sha256:{HEX}", "unknown"),
    ],
)
def test_the_running_image(
    listed: str, configured: str | None, tags: list[str], digests: list[str], repository: str, tag: str
) -> None:
    inspected = {"Config": {"Image": configured}} if configured is not None else None
    found = running_image({"Image": listed}, inspected, {"RepoTags": tags, "RepoDigests": digests})
    assert found is not None
    expected = repository if found.tag != "unknown" else found.reference.path
    assert (found.reference.path if found.tag == "unknown" else found.reference.repository, found.tag) == (
        expected,
        tag,
    )


def test_a_text_that_is_no_reference_gives_no_record() -> None:
    assert running_image({"Image": "nginx:1:2"}, None, {}) is None


def test_the_first_record() -> None:
    record = made("nginx:1.27.0", {"dd.update.operation": "x", "a": "b"}, Created="2026-01-02T03:04:05.678901Z")
    assert record.labels == {"a": "b"}
    assert record.result == Result(tag="1.27.0")
    assert (record.display_name, record.display_icon, record.status) == ("web", "mdi:docker", "running")
    image = record.image
    assert (image.name, image.registry.url, image.registry.name) == ("library/nginx", "docker.io", "for-docker.io")
    assert (image.tag.value, image.tag.semver, image.tag.tag_precision) == ("1.27.0", True, "specific")
    assert (image.digest.watch, image.digest.repo, image.digest.value) == (True, DIGEST, DIGEST)
    assert (image.is_local_image, image.created) == (False, "2026-01-02T03:04:05.678Z")


def test_a_container_without_a_name_is_called_by_its_id() -> None:
    nameless = facts()
    nameless.entry["Names"] = []  # type: ignore[index]  # a dictionary here
    record = register(nameless, context())
    assert record is not None
    assert record.name == "1" * 12


@pytest.mark.parametrize(
    ("repo_digests", "kept", "local"),
    [
        ([], None, True),
        (["broken", "@x", "nginx@"], None, True),
        ([f"mirror/nginx@sha256:{OTHER}", f"nginx@{DIGEST}"], [DIGEST], False),
        ([f"mirror/a@sha256:{OTHER}", f"mirror/b@{DIGEST}"], [f"sha256:{OTHER}", DIGEST], False),
    ],
)
def test_repository_digests(repo_digests: list[str], kept: list[str] | None, local: bool) -> None:
    image = made(RepoDigests=repo_digests).image
    assert (image.digest.repo_digests, image.is_local_image) == (kept, local)


@pytest.mark.parametrize(
    ("labels", "tag", "software"),
    [
        ({"dd.inspect.tag.path": "Config/Labels/version"}, "2.1.0", "2.1.0"),
        ({"dd.inspect.tag.path": "Config/Labels/version", "dd.inspect.tag.version-only": "True"}, "latest", "2.1.0"),
        ({"dd.inspect.tag.path": "Config/Labels/nothing"}, "latest", "9.9"),
        ({}, "latest", "9.9"),
    ],
)
def test_the_version_inside_of_an_image(labels: dict[str, str], tag: str, software: str) -> None:
    on_image = {"version": "v2.1", "org.opencontainers.image.version": " 9.9 "}
    image = made("nginx:latest", labels, Config={"Labels": on_image}).image
    assert (image.tag.value, image.software_version) == (tag, software)


def test_the_transform_of_an_image_set_applies_to_the_inspected_version() -> None:
    preset = ImageSet(name="a", image="nginx", tag_transform="^x(.+)$ => $1", inspect_tag_path="Config/Labels/version")
    image = made("nginx:latest", Config={"Labels": {"version": "x3.2.1"}}, using=context(preset)).image
    assert image.tag.value == "3.2.1"


def test_walking_an_image() -> None:
    assert walk({"a": {"b": 1}}, "a/b") == "1"
    assert walk({"a": []}, "a/b") is None
    assert created({"Created": "0001-01-01T00:00:00Z"}) is None
    assert created({"Created": "yesterday"}) is None


# sources


@pytest.mark.parametrize(
    ("text", "repo"),
    [
        ("https://github.com/Owner/Repo.git", "github.com/Owner/Repo"),
        ("git+https://gitlab.com/a/b#readme", "gitlab.com/a/b"),
        ("git@github.com:a/b.git", "github.com/a/b"),
        ("owner/repo", "github.com/owner/repo"),
        ("https://example.org", None),
        ("", None),
    ],
)
def test_source_repositories(text: str, repo: str | None) -> None:
    assert normalised_repo(text) == repo


def test_the_first_source_wins() -> None:
    image = {"Config": {"Labels": {"dd.source.repo": "a/image", "org.opencontainers.image.source": "a/oci"}}}
    reference = running_image({"Image": "ghcr.io/own/app/sub:1"}, None, {}).reference  # type: ignore[union-attr]  # it is one
    assert source_repo({"dd.source.repo": "a/own"}, image, reference) == "github.com/a/own"
    assert source_repo({}, image, reference) == "github.com/a/image"
    assert source_repo({}, {}, reference) == "github.com/own/app"


# presets (§2)


def test_labels_win_over_sets_and_sets_over_the_watcher() -> None:
    preset = ImageSet(
        name="a", image="nginx", tag_include="^1", tag_family="loose", display_name="N", trigger_include="docker.x"
    )
    using = context(preset, tag_pin_info=False)
    record = made("nginx:1.27.0", {"dd.tag.include": "^2", "dd.action.include": "docker.y"}, using=using)
    assert (record.include_tags, record.tag_family, record.display_name) == ("^2", "loose", "N")
    assert (record.action_trigger_include, record.notification_trigger_include) == ("docker.y", "docker.x")
    assert record.tag_pin_info is False


def test_b9_a_changed_set_reaches_known_containers() -> None:
    known = made()
    preset = ImageSet(
        name="a", image="nginx", tag_include="^1", watch_digest=False, registry_lookup_image="quay.io/x/y"
    )
    again = refresh(known, facts(), context(preset))
    assert (again.include_tags, again.image.digest.watch) == ("^1", False)
    assert (again.image.registry.lookup_image, again.image.registry.name) == ("quay.io/x/y", "for-quay.io/x/y")
    assert (again.image.registry.url, again.image.name) == ("docker.io", "library/nginx"), "what is deployed stays"


def test_b11_a_set_with_a_registry_is_for_that_registry() -> None:
    preset = ImageSet(name="a", image="ghcr.io/nginx/nginx", tag_include="^1")
    assert made("nginx/nginx:1", using=context(preset)).include_tags is None


def test_b7_a_bad_transform_does_not_hide_the_container() -> None:
    assert made("nginx:1.27.0", {"dd.tag.transform": "( => x"}).image.tag.semver


# refresh (§5.7)


def test_a_refresh_keeps_results_and_renews_digests() -> None:
    known = msgspec.structs.replace(made(), result=Result(tag="1.28.0"))
    again = refresh(known, facts(RepoDigests=[f"nginx@sha256:{OTHER}"]), context())
    assert again.result == Result(tag="1.28.0")
    assert (again.image.digest.repo, again.image.digest.value) == (f"sha256:{OTHER}", f"sha256:{OTHER}")


def test_a_refresh_keeps_what_a_check_found_out_about_the_digest() -> None:
    known = made()
    digest = msgspec.structs.replace(known.image.digest, value=f"sha256:{OTHER}")
    known = msgspec.structs.replace(known, image=msgspec.structs.replace(known.image, digest=digest))
    assert refresh(known, facts(), context()).image.digest.value == f"sha256:{OTHER}"


@pytest.mark.parametrize("text", [f"nginx@{DIGEST}", f"sha256:{HEX}"])
def test_an_unresolved_tag_is_resolved_when_the_image_gets_one(text: str) -> None:
    known = made(text)
    assert known.image.tag.value == DIGEST
    assert refresh(known, facts(text, RepoTags=["nginx:1.27.0"]), context()).image.tag.value == "1.27.0"


def test_a_resolved_tag_stays_when_it_moved_to_another_image() -> None:
    known = made(f"nginx@{DIGEST}", RepoTags=["nginx:1.27.0"])
    assert refresh(known, facts(f"nginx@{DIGEST}", RepoTags=[]), context()).image.tag.value == "1.27.0"


# writing side by side


def test_what_a_look_writes_leaves_policy_and_results_alone() -> None:
    seen = made()
    stored = msgspec.structs.replace(seen, status="exited", result=Result(tag="2"), update_detected_at="t")
    merged = observed(stored, seen)
    assert (merged.status, merged.result, merged.update_detected_at) == ("running", Result(tag="2"), "t")


def test_what_a_check_writes_leaves_the_look_alone_and_is_dropped_for_another_image() -> None:
    seen = made()
    report = msgspec.structs.replace(seen, status="old", result=Result(tag="2"))
    assert checked(seen, report).status == "running"
    assert checked(seen, report).result == Result(tag="2")
    other = msgspec.structs.replace(seen, image=msgspec.structs.replace(seen.image, id="sha256:new"))
    assert checked(other, report) == other


# details (§5.11)


def test_details_of_an_inspection() -> None:
    inspected = {
        "NetworkSettings": {
            "Ports": {
                "443/tcp": None,
                "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "", "HostPort": "81"}],
            }
        },
        "Mounts": [
            {"Name": "data", "Source": "/x", "Destination": "/data", "RW": True},
            {"Source": "/etc/x", "Destination": "/etc/x", "RW": False},
            {"Source": "/etc/x", "Destination": "/etc/x", "RW": False},
        ],
        "Config": {"Env": ["A=1=2", " B = 3", "", "A=1=2", "API_TOKEN=x"]},
        "State": {"StartedAt": "2026-01-02T03:04:05.678901234Z"},
    }
    found = details({}, inspected, None)
    assert found.ports == ["443/tcp", "0.0.0.0:8080->80/tcp", "81->80/tcp"]
    assert found.volumes == ["data:/data", "/etc/x:/etc/x:ro"]
    assert [(e.key, e.value, e.sensitive) for e in found.env] == [
        ("A", "1=2", False),
        ("B", " 3", False),
        ("API_TOKEN", "x", True),
    ]
    assert found.started_at == "2026-01-02T03:04:05.678Z"


def test_details_of_a_list_entry_stand_in_and_stored_ones_after_them() -> None:
    entry = {"Ports": [{"PrivatePort": 80}, {"IP": "::", "PrivatePort": 53, "PublicPort": 5353, "Type": "udp"}]}
    from_list = details(entry, {}, None)
    assert from_list.ports == ["80/tcp", ":::5353->53/udp"]
    assert details({}, {}, from_list).ports == from_list.ports


def test_never_started_and_without_health_check() -> None:
    assert started_at({"State": {"StartedAt": "0001-01-01T00:00:00Z"}}) is None
    assert health({"State": {"Health": {"Status": ""}}}) is None
    assert health({"State": {"Health": {"Status": "starting"}}}) == "starting"
