"""The lossless clone (updates.md §6): properties over generated containers, and the faults that users reported."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drydock.core.operation import OPERATION_LABEL
from drydock.docker.namespaces import container_references
from drydock.updates.plan.clone import Clone, Subject, clone
from fakes.engine import HOST_NAME, FakeEngine
from kit.clock import SkippingClock

Document = dict[str, Any]

OLD: Document = {
    "Env": ["PATH=/bin", "VERSION=1", "KEPT=same"],
    "Cmd": ["serve", "--v1"],
    "Entrypoint": ["/entry1"],
    "WorkingDir": "/one",
    "User": "app",
    "StopSignal": "SIGQUIT",
    "Labels": {"org.version": "1", "org.same": "x"},
    "ExposedPorts": {"80/tcp": {}, "90/tcp": {}},
    "Volumes": {"/data": {}},
    "Healthcheck": {"Test": ["CMD", "check1"]},
}
NEW: Document = {
    "Env": ["PATH=/bin:/new", "VERSION=2", "KEPT=same"],
    "Cmd": ["serve", "--v2"],
    "Entrypoint": ["/entry2"],
    "WorkingDir": "/two",
    "User": "root",
    "StopSignal": "SIGTERM",
    "Labels": {"org.version": "2", "org.same": "x"},
    "ExposedPorts": {"8080/tcp": {}},
    "Volumes": {"/other": {}},
    "Healthcheck": {"Test": ["CMD", "check2"]},
}


class Host:
    """A fake Engine with both images, and the clone made the way an update makes it."""

    def __init__(self) -> None:
        self.engine = FakeEngine(SkippingClock())
        self.old, self.new = self.engine.add_image("app:1", OLD), self.engine.add_image("app:2", NEW)
        for network in ("front", "back"):
            self.engine.add_network(network)

    def create(self, name: str, document: Document) -> Document:
        return self.engine.containers[self.engine.add_container(name, document, start=False)]

    def clone(self, container: Document, **more: Any) -> Clone:
        subject = Subject(
            inspect=container,
            source=self.engine.images[container["Image"]]["Config"],
            target=self.engine.images[self.new]["Config"],
            reference="app:2",
            operation="op-1",
            target_image_id=self.new,
            host_name=HOST_NAME,
            default_runtime="runc",
            **more,
        )
        return clone(subject)

    def recreate(self, container: Document, **more: Any) -> Document:
        result = self.clone(container, **more)
        fresh = self.create("successor", result.document)
        for network, endpoint in result.connects.items():
            self.engine.join(network, fresh["Id"], endpoint)
        return fresh


@pytest.fixture
def host() -> Host:
    return Host()


# ── properties ──────────────────────────────────────────────────────────────────────────────────────────────────────

words = st.text(alphabet="abcxyz[]{}\"'$ =,.:-", min_size=1, max_size=8)
names = st.sampled_from(["A", "B", "PATH", "VERSION", "KEPT", "APP_TOKEN"])
env = st.lists(st.tuples(names, words).map(lambda pair: f"{pair[0]}={pair[1]}"), max_size=4, unique_by=lambda e: e[0])
command = st.none() | st.lists(words, min_size=1, max_size=3)
ports = st.dictionaries(st.sampled_from(["70/tcp", "8080/tcp", "53/udp"]), st.just({}), max_size=2)
host_config = st.fixed_dictionaries(
    {},
    optional={
        "RestartPolicy": st.sampled_from(
            [{"Name": "always"}, {"Name": "unless-stopped"}, {"Name": "on-failure", "MaximumRetryCount": 3}],
        ),
        "Memory": st.integers(0, 1 << 40),
        "Ulimits": st.just([{"Name": "nofile", "Soft": 1024, "Hard": 2048}]),
        "Devices": st.just([{"PathOnHost": "/dev/x", "PathInContainer": "/dev/y", "CgroupPermissions": "rwm"}]),
        "DeviceRequests": st.just([{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]),
        "CapAdd": st.just(["NET_ADMIN"]),
        "Sysctls": st.just({"net.core.somaxconn": "1024"}),
        "ExtraHosts": st.just(["db:10.0.0.9"]),
        "Tmpfs": st.just({"/run": "size=1m"}),
        "LogConfig": st.just({"Type": "local", "Config": {"max-size": "10m"}}),
        "PortBindings": st.just({"70/tcp": [{"HostIp": "", "HostPort": ""}]}),
        "Binds": st.just(["/srv/app:/srv:ro", "named:/named"]),
        "FutureField": st.dictionaries(words, words, max_size=2),
    },
)
endpoint = st.fixed_dictionaries(
    {},
    optional={
        "Aliases": st.lists(st.sampled_from(["web", "api"]), min_size=1, max_size=2, unique=True),
        "IPAMConfig": st.just({"IPv4Address": "10.1.0.9"}),
        "DriverOpts": st.just({"x": "y"}),
    },
)
containers = st.fixed_dictionaries(
    {
        "Image": st.just("app:1"),
        "Env": env,
        "Cmd": command,
        "Labels": st.dictionaries(words.map(lambda w: "my." + w), words, max_size=3),
        "ExposedPorts": ports,
        "HostConfig": host_config,
    },
    optional={
        "Entrypoint": st.lists(words, min_size=1, max_size=2),
        "Hostname": st.sampled_from(["web01", "db"]),
        "User": st.just("1000:1000"),
        "Healthcheck": st.sampled_from([{"Test": ["NONE"]}, {"Test": ["CMD", "mine"]}]),
        "Tty": st.booleans(),
        "StopTimeout": st.integers(1, 90),
        "UnknownYet": words,
    },
)
GENERATED = {"Id", "Name", "Created", "Image", "Mounts", "NetworkSettings", "State"}


def comparable(container: Document) -> Document:
    shown = {key: value for key, value in container.items() if key not in GENERATED and not key.startswith("_")}
    config = {key: value for key, value in shown["Config"].items() if key not in ("Image", "Volumes")}
    config["Env"] = sorted(config["Env"])
    config["Labels"] = {k: v for k, v in config["Labels"].items() if k != OPERATION_LABEL}
    if config["Hostname"] == container["Id"][:12]:
        del config["Hostname"]
    host = {key: value for key, value in shown["HostConfig"].items() if key != "Binds"}
    return {"Config": config, "HostConfig": host}


@given(user=containers, networks=st.dictionaries(st.sampled_from(["front", "back"]), endpoint, max_size=2))
@settings(max_examples=200, deadline=None)
def test_a_clone_is_what_the_operator_would_have_created_from_the_new_image(user: Document, networks: Document) -> None:
    """create(user, old) cloned to new == create(user, new): settings stay, defaults are exchanged, nothing else."""
    host = Host()
    if networks:
        first, *others = networks
        user["HostConfig"]["NetworkMode"] = first
        user["NetworkingConfig"] = {"EndpointsConfig": {first: networks[first]}}
    else:
        others = []
    before = host.create("web", user)
    wanted = host.create("wanted", {**user, "Image": "app:2"})
    for container in (before, wanted):
        for network in others:
            host.engine.join(network, container["Id"], networks[network])
    after = host.recreate(before)
    assert comparable(after) == comparable(wanted)
    assert endpoints(after) == endpoints(before)
    assert after["Image"] == host.new


def endpoints(container: Document) -> Document:
    generated = {container["Id"][:12], container["Config"]["Hostname"]}
    return {
        name: {
            **{key: value for key, value in facts.items() if key not in ("Aliases", "IPAddress")},
            "Aliases": [alias for alias in facts.get("Aliases") or [] if alias not in generated],
        }
        for name, facts in container["NetworkSettings"]["Networks"].items()
    }


@given(user=containers)
@settings(max_examples=100, deadline=None)
def test_cloning_twice_changes_nothing_more(user: Document) -> None:
    host = Host()
    once = host.recreate(host.create("web", user))
    once["Name"] = "/once"
    assert comparable(host.recreate(once)) == comparable(once)


# ── defaults of the image ───────────────────────────────────────────────────────────────────────────────────────────


def test_values_baked_into_the_old_image_are_not_carried_over(host: Host) -> None:
    after = host.recreate(host.create("web", {"Image": "app:1", "Env": ["MINE=1"]}))
    assert sorted(after["Config"]["Env"]) == ["KEPT=same", "MINE=1", "PATH=/bin:/new", "VERSION=2"]
    assert after["Config"]["Cmd"] == ["serve", "--v2"]
    assert after["Config"]["Entrypoint"] == ["/entry2"]
    assert after["Config"]["Labels"]["org.version"] == "2"
    assert after["Config"]["WorkingDir"] == "/two"
    assert after["Config"]["User"] == "root"
    assert after["Config"]["StopSignal"] == "SIGTERM"
    assert after["Config"]["Healthcheck"] == {"Test": ["CMD", "check2"]}
    assert set(after["Config"]["ExposedPorts"]) == {"8080/tcp"}


def test_overrides_survive(host: Host) -> None:
    user = {
        "Image": "app:1",
        "Env": ["VERSION=mine", "PATH=/mine"],
        "Labels": {"org.version": "mine"},
        "User": "me",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
    }
    after = host.recreate(host.create("web", user))
    assert set(after["Config"]["Env"]) == {"VERSION=mine", "PATH=/mine", "KEPT=same"}
    assert after["Config"]["Labels"]["org.version"] == "mine"
    assert after["Config"]["User"] == "me"
    assert after["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert set(after["Config"]["ExposedPorts"]) == {"80/tcp", "8080/tcp"}


def test_an_explicit_entrypoint_keeps_a_command_that_equals_the_images(host: Host) -> None:
    after = host.recreate(host.create("web", {"Image": "app:1", "Entrypoint": ["/mine"], "Cmd": ["serve", "--v1"]}))
    assert (after["Config"]["Entrypoint"], after["Config"]["Cmd"]) == (["/mine"], ["serve", "--v1"])


def test_an_explicit_entrypoint_without_command_stays_without(host: Host) -> None:
    before = host.create("web", {"Image": "app:1", "Entrypoint": ["/mine"], "Cmd": None})
    before["Config"]["Cmd"] = None
    assert host.clone(before).document["Cmd"] is None


def test_a_reset_entrypoint_stays_reset(host: Host) -> None:
    after = host.recreate(host.create("web", {"Image": "app:1", "Entrypoint": [""], "Cmd": ["sh"]}))
    assert (after["Config"]["Entrypoint"], after["Config"]["Cmd"]) == (None, ["sh"])


def test_origin_labels_decide(host: Host) -> None:
    labels = {"dd.runtime.entrypoint.origin": "explicit"}
    after = host.recreate(host.create("web", {"Image": "app:1", "Labels": labels}))
    assert after["Config"]["Entrypoint"] == ["/entry1"]
    inherited = {"dd.runtime.entrypoint.origin": "inherited", "dd.runtime.cmd.origin": "inherited"}
    user = {"Image": "app:1", "Labels": inherited, "Entrypoint": ["/pinned"], "Cmd": ["x"]}
    before = host.create("other", user)
    document = host.clone(before).document
    assert "Entrypoint" not in document
    assert "Cmd" not in document


def test_without_the_old_image_everything_is_kept_and_said(host: Host) -> None:
    before = host.create("web", {"Image": "app:1"})
    subject = Subject(inspect=before, source=None, target=NEW, reference="app:2", operation="op")
    result = clone(subject)
    assert "VERSION=1" in result.document["Env"]
    assert result.notes


# ── names and labels ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hostname_that_is_the_old_id_is_not_frozen(host: Host) -> None:
    after = host.recreate(host.create("web", {"Image": "app:1"}))
    assert after["Config"]["Hostname"] == after["Id"][:12]


def test_an_own_hostname_stays(host: Host) -> None:
    assert host.recreate(host.create("web", {"Image": "app:1", "Hostname": "web01"}))["Config"]["Hostname"] == "web01"


def test_host_network_does_not_pin_the_name_of_the_host(host: Host) -> None:
    before = host.create("web", {"Image": "app:1", "HostConfig": {"NetworkMode": "host"}})
    result = host.clone(before)
    assert "Hostname" not in result.document
    assert "NetworkingConfig" not in result.document


def test_labels_with_brackets_and_quotes_are_untouched(host: Host) -> None:
    labels = {'rule[0]."x"': "Host(`a.b`) && {[x]}", "empty": ""}
    after = host.recreate(host.create("web", {"Image": "app:1", "Labels": labels}))
    assert labels.items() <= after["Config"]["Labels"].items()


def test_compose_image_label_follows(host: Host) -> None:
    labels = {"com.docker.compose.image": host.old, "com.docker.compose.config-hash": "h"}
    after = host.recreate(host.create("web", {"Image": "app:1", "Labels": labels}))
    assert after["Config"]["Labels"]["com.docker.compose.image"] == host.new
    assert after["Config"]["Labels"]["com.docker.compose.config-hash"] == "h"
    assert after["Config"]["Labels"][OPERATION_LABEL] == "op-1"


# ── volumes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def volume_at(container: Document, destination: str) -> str:
    return next(m["Name"] for m in container["Mounts"] if m["Destination"] == destination)


def test_anonymous_volumes_of_the_image_keep_their_data(host: Host) -> None:
    before = host.create("web", {"Image": "app:1"})
    after = host.recreate(before)
    assert volume_at(after, "/data") == volume_at(before, "/data")
    assert volume_at(after, "/other") not in (volume_at(before, "/data"),)


def test_anonymous_mounts_without_source_keep_their_data(host: Host) -> None:
    mount = {"Type": "volume", "Target": "/cache", "VolumeOptions": {"NoCopy": True}}
    before = host.create("web", {"Image": "app:1", "HostConfig": {"Mounts": [mount]}})
    after = host.recreate(before)
    assert volume_at(after, "/cache") == volume_at(before, "/cache")
    assert after["HostConfig"]["Mounts"][0]["VolumeOptions"] == {"NoCopy": True}


def test_inherited_volumes_are_not_bound_twice(host: Host) -> None:
    owner = host.create("owner", {"Image": "app:1"})
    before = host.create("web", {"Image": "app:2", "HostConfig": {"VolumesFrom": ["owner:ro"]}})
    result = host.clone(before, inherited_mounts=frozenset(m["Destination"] for m in owner["Mounts"]))
    assert not any("/data" in bind for bind in result.document["HostConfig"].get("Binds") or [])
    assert result.document["HostConfig"]["VolumesFrom"] == ["owner:ro"]


def test_auto_remove_of_the_old_one_cannot_take_a_carried_volume(host: Host) -> None:
    before = host.create("web", {"Image": "app:1", "HostConfig": {"AutoRemove": True}})
    name = volume_at(before, "/data")
    host.recreate(before)
    host.engine.take_away(before["Id"])
    assert name in host.engine.volumes


# ── networks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_static_addresses_and_macs_stay(host: Host) -> None:
    facts = {"IPAMConfig": {"IPv4Address": "10.1.0.9", "IPv6Address": "fd00::9"}, "Aliases": ["web"]}
    user = {
        "Image": "app:1",
        "MacAddress": "02:00:00:00:00:09",
        "HostConfig": {"NetworkMode": "front"},
        "NetworkingConfig": {"EndpointsConfig": {"front": facts}},
    }
    document = host.clone(host.create("web", user)).document
    sent = document["NetworkingConfig"]["EndpointsConfig"]["front"]
    assert sent == {**facts, "MacAddress": "02:00:00:00:00:09"}
    assert document["MacAddress"] == "02:00:00:00:00:09"


def test_a_generated_mac_is_not_pinned(host: Host) -> None:
    before = host.create("web", {"Image": "app:1", "HostConfig": {"NetworkMode": "front"}})
    document = host.clone(before).document
    assert document["NetworkingConfig"]["EndpointsConfig"]["front"] == {}
    assert "MacAddress" not in document


def test_only_one_network_at_create_the_others_by_connect(host: Host) -> None:
    before = host.create("web", {"Image": "app:1", "HostConfig": {"NetworkMode": "front"}})
    host.engine.join("back", before["Id"], {"Aliases": ["db"]})
    result = host.clone(before)
    assert list(result.document["NetworkingConfig"]["EndpointsConfig"]) == ["front"]
    assert result.connects == {"back": {"Aliases": ["db"]}}


def test_a_primary_network_that_was_left_is_not_joined_again(host: Host) -> None:
    before = host.create("web", {"Image": "app:1", "HostConfig": {"NetworkMode": "front"}})
    host.engine.join("back", before["Id"])
    host.engine.leave("front", before["Id"])
    result = host.clone(before)
    assert list(result.document["NetworkingConfig"]["EndpointsConfig"]) == ["back"]
    assert result.document["HostConfig"]["NetworkMode"] == "back"
    assert result.connects == {}


def test_nothing_is_sent_for_the_default_bridge(host: Host) -> None:
    before = host.create("web", {"Image": "app:1"})
    before["NetworkSettings"]["Networks"]["bridge"] |= {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "1.2.3.4"}}
    assert host.clone(before).document["NetworkingConfig"] == {"EndpointsConfig": {"bridge": {}}}


def test_legacy_links_are_kept(host: Host) -> None:
    links = ["/db:/web/database"]
    before = host.create("web", {"Image": "app:1", "HostConfig": {"Links": links}})
    assert host.clone(before).document["HostConfig"]["Links"] == links


def test_a_shared_network_strips_what_the_engine_refuses(host: Host) -> None:
    owner = host.create("owner", {"Image": "app:1"})
    before = host.create("web", {"Image": "app:1", "HostConfig": {"NetworkMode": f"container:{owner['Id']}"}})
    after = host.recreate(before)
    assert after["HostConfig"]["NetworkMode"] == f"container:{owner['Id']}"


def test_references_to_replaced_containers_are_translated(host: Host) -> None:
    owner = host.create("owner", {"Image": "app:1"})
    modes = {"NetworkMode": f"container:{owner['Id']}", "PidMode": f"container:{owner['Id']}"}
    before = host.create("web", {"Image": "app:1", "HostConfig": {**modes, "VolumesFrom": [f"{owner['Id']}:ro"]}})
    assert set(container_references(before).values()) == {owner["Id"]}
    result = host.clone(before, replaced={owner["Id"]: "n" * 64}).document["HostConfig"]
    assert (result["NetworkMode"], result["PidMode"]) == (f"container:{'n' * 64}",) * 2
    assert result["VolumesFrom"] == [f"{'n' * 64}:ro"]


# ── host ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_a_runtime_that_is_not_the_default_is_kept(host: Host) -> None:
    assert "Runtime" not in host.clone(host.create("a", {"Image": "app:1"})).document["HostConfig"]
    other = host.create("b", {"Image": "app:1", "HostConfig": {"Runtime": "kata"}})
    assert host.clone(other).document["HostConfig"]["Runtime"] == "kata"


def test_auto_remove_and_restart_policy_are_settings(host: Host) -> None:
    before = host.create("web", {"Image": "app:1", "HostConfig": {"AutoRemove": True}})
    assert host.clone(before).document["HostConfig"]["AutoRemove"] is True


def test_the_fake_runs_without_a_loop_of_its_own(host: Host) -> None:
    assert asyncio.run(host.engine.version())["ApiVersion"] == "1.41"
