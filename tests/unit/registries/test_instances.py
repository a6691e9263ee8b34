"""Configuration of registries: shapes, seeds, selection, masking, look-alike hosts (registries.md §1–3)."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest

from drydock.core.reference import official
from drydock.registries.instances import Instance, Route, Router, claims
from drydock.registries.spec import PROVIDERS, TYPES
from kit.registries import register

AUTH = base64.b64encode(b"user:pass").decode()
SELF = ("custom", "artifactory", "nexus", "harbor", "gitea", "forgejo")
SEEDED = [
    "alicr",
    "codeberg",
    "dhi",
    "docr",
    "ecr",
    "gar",
    "gcr",
    "ghcr",
    "hub",
    "ibmcr",
    "lscr",
    "mau",
    "ocir",
    "quay",
    "trueforge",
]


def keys_of(type_: str, keys: Mapping[str, str]) -> dict[str, str]:
    return {f"DD_REGISTRY_{type_.upper()}_MINE_{key.upper()}": value for key, value in keys.items()}


def registered(type_: str, keys: Mapping[str, str]) -> Instance | None:
    instances, problems = register(keys_of(type_, keys))
    found = next((item for item in instances if item.id == f"{type_}.mine"), None)
    assert (found is None) == bool(problems)
    return found


ACCEPTED = [
    *[
        (type_, {"login": "u", "password": "p"})
        for type_ in ("hub", "dhi", "alicr", "ocir", "codeberg", "docr", "ibmcr")
    ],
    *[(type_, {"auth": AUTH}) for type_ in ("hub", "dhi", "alicr", "ocir", "codeberg", "docr", "ibmcr")],
    ("hub", {"login": "u", "token": "t"}),
    ("alicr", {"auth": ""}),
    ("docr", {"token": "t"}),
    ("ibmcr", {"apikey": "k"}),
    *[(type_, {"username": "u", "token": "t"}) for type_ in ("ghcr", "lscr", "trueforge")],
    ("quay", {"namespace": "n", "account": "a", "token": "t"}),
    ("ecr", {"accesskeyid": "a", "secretaccesskey": "s", "region": "eu-west-1"}),
    ("acr", {"clientid": "i", "clientsecret": "s"}),
    *[(type_, {"clientemail": "e", "privatekey": "k"}) for type_ in ("gar", "gcr")],
    ("gitlab", {"token": "t"}),
    ("gitlab", {"token": "t", "url": "https://reg.example", "authurl": "https://git.example"}),
    ("mau", {"token": "t"}),
    *[(type_, {"url": "https://reg.example:8443/prefix/"}) for type_ in SELF],
    ("custom", {"url": "reg.example", "login": "u", "password": "p", "insecure": "True", "concurrency": "32"}),
    ("custom", {"url": "http://reg:5000", "auth": AUTH, "authurl": "https://tokens.example"}),
]

REJECTED = [
    *[(type_, {"token": "t"}) for type_ in ("hub", "dhi", "ghcr", "lscr", "trueforge", "quay")],
    *[(type_, {"login": "u"}) for type_ in ("hub", "dhi", "alicr", "ocir", "codeberg", "ibmcr", "ghcr")],
    ("hub", {"login": "u", "password": "p", "token": "t"}),
    ("hub", {"auth": AUTH, "login": "u"}),
    ("hub", {"auth": ""}),
    ("hub", {"auth": "not base64"}),
    ("hub", {"auth": "YQ"}),
    ("hub", {"login": "", "password": "p"}),
    ("hub", {"login": "u", "password": "p", "colour": "red"}),
    ("alicr", {"auth": AUTH, "password": "p"}),
    ("ibmcr", {"apikey": "k", "login": "u", "password": "p"}),
    ("quay", {"namespace": "n", "token": "t"}),
    ("ecr", {"accesskeyid": "a", "secretaccesskey": "s"}),
    ("ecr", {"accesskeyid": "a", "secretaccesskey": "s", "region": "evil.example/"}),
    ("acr", {}),
    ("acr", {"clientid": "i"}),
    ("gar", {"clientemail": "e"}),
    ("gitlab", {"url": "https://reg.example"}),
    *[(type_, {"login": "u", "password": "p"}) for type_ in SELF],
    ("custom", {"url": "https://u:p@reg.example"}),
    ("custom", {"url": "ftp://reg.example"}),
    ("custom", {"url": "https://"}),
    ("custom", {"url": "https://reg.example?x=1"}),
    ("custom", {"url": "https://reg.example", "login": "u"}),
    ("custom", {"url": "https://reg.example", "insecure": "yes"}),
    ("custom", {"url": "https://reg.example", "concurrency": "0"}),
    ("custom", {"url": "https://reg.example", "concurrency": "33"}),
    ("custom", {"url": "https://reg.example", "cafile": "/does/not/exist"}),
    ("custom", {"url": "https://reg.example", "clientcert": "/does/not/exist"}),
]


@pytest.mark.parametrize(("type_", "keys"), ACCEPTED)
def test_accepted(type_: str, keys: dict[str, str]) -> None:
    assert registered(type_, keys) is not None


@pytest.mark.parametrize(("type_", "keys"), REJECTED)
def test_rejected_with_a_reason_that_shows_no_value(type_: str, keys: dict[str, str]) -> None:
    variables = keys_of(type_, keys) or {f"DD_REGISTRY_{type_.upper()}_MINE": ""}
    instances, problems = register(variables)
    assert [item for item in instances if item.id == f"{type_}.mine"] == []
    assert len(problems) == 1
    assert problems[0].startswith(f"Error when registering component {type_} (")
    for value in keys.values():
        assert len(value) < 6 or value not in problems[0]


def test_an_unknown_type_is_explained() -> None:
    (problem,) = register({"DD_REGISTRY_ZOT_MINE_URL": "https://x"})[1]
    assert problem.startswith("Error when registering component zot (DD_REGISTRY_ZOT_MINE_URL: unknown registry type")
    assert all(type_ in problem for type_ in TYPES)
    assert register({"DD_REGISTRY_AUTO_MINE": ""})[1] != []


def test_there_are_23_types() -> None:
    assert len(TYPES) == len(set(TYPES)) == len(PROVIDERS) == 23


def test_variable_names() -> None:
    instances, problems = register({"dd_registry_Custom_Lab_Url": "https://reg.example", "DD_OTHER": "x"})
    assert "custom.lab" in [item.id for item in instances]
    assert problems == []
    assert register({"DD_REGISTRY_CUSTOM_LAB_EXTRA_URL": "x"})[1] != []
    both = {"DD_REGISTRY_HUB_MINE": "", "DD_REGISTRY_HUB_MINE_AUTH": AUTH}
    assert next(item for item in register(both)[0] if item.id == "hub.mine").credentialed


def test_seeds() -> None:
    instances, problems = register({})
    assert [item.id for item in instances] == [f"{type_}.public" for type_ in sorted(SEEDED)]
    assert problems == []


def test_credentials_drop_the_seed_and_a_login_alone_does_not() -> None:
    ids = [item.id for item in register(keys_of("hub", {"auth": AUTH}))[0]]
    assert "hub.mine" in ids
    assert "hub.public" not in ids
    anonymous = [item.id for item in register({"DD_REGISTRY_HUB_MINE": ""})[0]]
    assert {"hub.mine", "hub.public"} <= set(anonymous)


def test_a_failed_public_leaves_the_type_without_instance() -> None:
    instances, problems = register({"DD_REGISTRY_HUB_PUBLIC_TOKEN": "t"})
    assert len(problems) == 1
    assert [item for item in instances if item.type == "hub"] == []


SECRET_KEYS = {
    "hub": {"login": "u", "token": "t"},
    "ghcr": {"username": "u", "token": "t"},
    "ecr": {"accesskeyid": "a", "secretaccesskey": "s", "region": "eu-west-1"},
    "acr": {"clientid": "i", "clientsecret": "s"},
    "gar": {"clientemail": "e", "privatekey": "k"},
    "ibmcr": {"apikey": "k"},
    "alicr": {"auth": AUTH},
}
MASKED = frozenset(
    {"password", "auth", "token", "apikey", "clientsecret", "privatekey", "accesskeyid", "secretaccesskey"}
)


@pytest.mark.parametrize("type_", SECRET_KEYS)
def test_masking(type_: str) -> None:
    keys = SECRET_KEYS[type_]
    instance = registered(type_, keys)
    assert instance is not None
    shown = instance.masked()
    for key, value in keys.items():
        assert shown[key] == ("[REDACTED]" if key in MASKED else value)


# routing


def route(variables: Mapping[str, str], host: str, repository: str = "acme/app", lookup: str | None = None) -> Route:
    return Router(register(variables)[0]).route(host, repository, lookup=lookup)


@pytest.mark.parametrize(
    ("host", "instance", "base"),
    [
        ("docker.io", "hub.public", "https://registry-1.docker.io/v2"),
        ("index.docker.io", "hub.public", "https://registry-1.docker.io/v2"),
        ("registry.hub.docker.com", "hub.public", "https://registry-1.docker.io/v2"),
        ("DOCKER.IO", "hub.public", "https://registry-1.docker.io/v2"),
        ("dhi.io", "dhi.public", "https://dhi.io/v2"),
        ("ghcr.io", "ghcr.public", "https://ghcr.io/v2"),
        ("lscr.io", "lscr.public", "https://lscr.io/v2"),
        ("quay.io", "quay.public", "https://quay.io/v2"),
        ("oci.trueforge.org", "trueforge.public", "https://oci.trueforge.org/v2"),
        ("public.ecr.aws", "ecr.public", "https://public.ecr.aws/v2"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "ecr.public", "https://1.dkr.ecr.eu-west-1.amazonaws.com/v2"),
        ("1.dkr.ecr.cn-north-1.amazonaws.com.cn", "ecr.public", "https://1.dkr.ecr.cn-north-1.amazonaws.com.cn/v2"),
        ("1.dkr-ecr.eu-west-1.on.aws", "ecr.public", "https://1.dkr-ecr.eu-west-1.on.aws/v2"),
        ("gcr.io", "gcr.public", "https://gcr.io/v2"),
        ("eu.gcr.io", "gcr.public", "https://eu.gcr.io/v2"),
        ("europe-west1-docker.pkg.dev", "gar.public", "https://europe-west1-docker.pkg.dev/v2"),
        ("dock.mau.dev", "mau.public", "https://dock.mau.dev/v2"),
        ("codeberg.org", "codeberg.public", "https://codeberg.org/v2"),
        ("registry.digitalocean.com", "docr.public", "https://registry.digitalocean.com/v2"),
        ("de.icr.io", "ibmcr.public", "https://de.icr.io/v2"),
        ("fra.ocir.io", "ocir.public", "https://fra.ocir.io/v2"),
        ("registry.cn-hangzhou.aliyuncs.com", "alicr.public", "https://registry.cn-hangzhou.aliyuncs.com/v2"),
        ("x.cr.aliyuncs.com", "alicr.public", "https://x.cr.aliyuncs.com/v2"),
        ("mcr.microsoft.com", "auto.public", "https://mcr.microsoft.com/v2"),
        ("registry.example:5000", "auto.public", "https://registry.example:5000/v2"),
        ("localhost:5000", "unknown", ""),
        ("registry:5000", "unknown", ""),
        ("10.0.0.5:5000", "unknown", ""),
        ("[::1]:5000", "unknown", ""),
    ],
)
def test_who_serves_a_host(host: str, instance: str, base: str) -> None:
    found = route({}, host)
    assert (found.instance_id, found.api_base) == (instance, base)
    assert found.reason


ALL_TYPES = (
    keys_of("acr", SECRET_KEYS["acr"])
    | keys_of("gitlab", {"token": "t"})
    | keys_of("custom", {"url": "https://reg.example"})
)


@pytest.mark.parametrize(
    "host",
    [
        "evilghcr.io",
        "ghcr.io.evil.net",
        "ghcr.io@evil.net",
        "ghcrxio",
        "evilazurecr.io",
        "azurecr.io",
        "x.azurecr.io.evil.net",
        "evildocker.io",
        "docker.io.evil.net",
        "evilquay.io",
        "evillscr.io",
        "evildhi.io",
        "evilgcr.io",
        "1.dkr.ecr.eu-west-1.amazonaws.com.evil.net",
        "1.dkr.ecr.evil.net",
        "public.ecr.aws.evil.net",
        "evil-docker.pkg.dev.evil.net",
        "a.reg.example",
        "reg.example.evil.net",
        "reg.example:444",
        "example",
        "registry.gitlab.com.evil.net",
        "",
        "..",
        "\x00",
        "a b",
        "[",
    ],
)
def test_look_alikes_are_claimed_by_nobody(host: str) -> None:
    found = route(ALL_TYPES, host)
    assert found.instance_id in ("auto.public", "unknown")
    assert not any(claims(item, host) for item in register(ALL_TYPES)[0])


def test_credentialed_before_anonymous_then_by_name() -> None:
    variables = {
        "DD_REGISTRY_GHCR_AAA": "",
        "DD_REGISTRY_GHCR_ZZZ_USERNAME": "u",
        "DD_REGISTRY_GHCR_ZZZ_TOKEN": "t",
        "DD_REGISTRY_GHCR_YYY_USERNAME": "u",
        "DD_REGISTRY_GHCR_YYY_TOKEN": "t",
    }
    assert route(variables, "ghcr.io").instance_id == "ghcr.yyy"


def test_exact_authority_beats_a_pattern_and_the_longest_path_wins() -> None:
    variables = {
        "DD_REGISTRY_CUSTOM_GHCR_URL": "https://ghcr.io",
        "DD_REGISTRY_NEXUS_A_URL": "https://reg.example/team",
        "DD_REGISTRY_NEXUS_B_URL": "https://reg.example/team/inner",
        "DD_REGISTRY_NEXUS_C_URL": "https://reg.example",
    }
    assert route(variables, "ghcr.io").instance_id == "custom.ghcr"
    assert route(variables, "reg.example", "team/inner/app").instance_id == "nexus.b"
    found = route(variables, "reg.example", "team/app")
    assert (found.instance_id, found.api_base, found.name) == ("nexus.a", "https://reg.example/team/v2", "app")
    assert route(variables, "reg.example", "teamwork/app").instance_id in ("nexus.a", "nexus.b", "nexus.c")


def test_ecr_by_region() -> None:
    base = {"accesskeyid": "a", "secretaccesskey": "s"}
    variables = {
        f"DD_REGISTRY_ECR_{name}_{key.upper()}": value
        for name, region in (("A", "us-east-1"), ("B", "eu-west-1"))
        for key, value in (base | {"region": region}).items()
    }
    assert route(variables, "1.dkr.ecr.eu-west-1.amazonaws.com").instance_id == "ecr.b"


@pytest.mark.parametrize(
    ("url", "host", "served"),
    [
        ("http://reg:5000", "reg:5000", True),
        ("http://reg", "reg", True),
        ("http://reg:80", "reg:80", True),
        ("https://reg.example:443", "reg.example", True),
        ("https://Reg.Example/", "reg.example", True),
        ("https://[fd00::1]:5000", "[fd00::1]:5000", True),
        ("https://reg.example:8443", "reg.example", False),
        ("http://example.com", "io", False),
    ],
)
def test_authority_of_self_hosted(url: str, host: str, served: bool) -> None:
    found = route({"DD_REGISTRY_CUSTOM_LAB_URL": url}, host)
    assert (found.instance_id == "custom.lab") is served


@pytest.mark.parametrize(
    ("lookup", "host", "repository"),
    [
        (None, "reg.example", "acme/app"),
        ("  ", "reg.example", "acme/app"),
        ("https://other.example:8443/whatever", "other.example:8443", "acme/app"),
        ("other.example", "other.example", "acme/app"),
        ("other.example:5000", "other.example:5000", "acme/app"),
        ("other.example/team/thing:1.2", "other.example", "team/thing"),
        ("team/thing@sha256:" + "a" * 64, "docker.io", "team/thing"),
        ("nginx", "docker.io", "library/nginx"),
        ("UPPER CASE!", "reg.example", "acme/app"),
        ("https://docker.io", "docker.io", "acme/app"),
    ],
)
def test_lookup_override(lookup: str | None, host: str, repository: str) -> None:
    found = route({}, "reg.example", "acme/app", lookup)
    assert (found.host, found.repository) == (host, repository)


def test_an_override_to_a_private_address_is_served_by_nobody() -> None:
    for lookup in ("127.0.0.1:2375", "http://169.254.169.254/latest", "[::ffff:169.254.169.254]:80", "localhost"):
        assert route({}, "docker.io", "library/nginx", lookup).instance_id == "unknown"


def test_official_images() -> None:
    assert route({}, "docker.io", "nginx").repository == official("docker.io", "nginx") == "library/nginx"
    assert route({}, "ghcr.io", "nginx").repository == "nginx"


def test_auto_can_be_switched_off() -> None:
    found = Router(register({})[0], auto=False).route("mcr.microsoft.com", "dotnet/sdk")
    assert found.instance_id == "unknown"
    assert "DD_REGISTRIES_AUTO" in found.reason


PULLS = [
    ("hub", {"login": "u", "token": "t"}, ("u", "t")),
    ("hub", {"auth": AUTH}, ("user", "pass")),
    ("docr", {"token": "t"}, ("doctl", "t")),
    ("docr", {"login": "u", "password": "p"}, ("u", "p")),
    ("ibmcr", {"apikey": "k"}, ("iamapikey", "k")),
    ("ghcr", {"username": "u", "token": "t"}, ("u", "t")),
    ("acr", {"clientid": "i", "clientsecret": "s"}, ("i", "s")),
    ("gitlab", {"token": "t"}, ("oauth2", "t")),
    ("mau", {"token": "t"}, ("oauth2", "t")),
    ("quay", {"namespace": "n", "account": "a", "token": "t"}, ("n+a", "t")),
    ("custom", {"url": "https://reg.example"}, None),
]


@pytest.mark.parametrize(("type_", "keys", "expected"), PULLS)
def test_pull_credentials(type_: str, keys: dict[str, str], expected: tuple[str, str] | None) -> None:
    instance = registered(type_, keys)
    assert instance is not None
    found = instance.credentials
    assert (found and (found.username, found.password.reveal())) == expected


def test_a_google_key_gets_its_newlines() -> None:
    import json

    instance = registered("gar", {"clientemail": "me@x", "privatekey": "BEGIN\\nkey\\nEND"})
    assert instance is not None
    found = instance.credentials
    assert found is not None
    assert found.username == "_json_key"
    assert json.loads(found.password.reveal())["private_key"] == "BEGIN\nkey\nEND"
