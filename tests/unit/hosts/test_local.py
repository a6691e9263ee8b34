"""Hosts of configured watchers: what cannot be reached safely is refused with its reason, and nothing is sent."""

from __future__ import annotations

import pytest

from drydock.core.errors import EngineAuthBlocked, HostUnavailable
from drydock.core.model import HostKey
from drydock.hosts.local import full_engine, local_hosts
from drydock.hosts.settings import WatcherSettings
from kit.clock import ManualClock


async def test_a_host_whose_tls_files_cannot_be_read_is_refused_with_the_reason() -> None:
    faulty = WatcherSettings(name="nas", host="nas.lan", protocol="https", cafile="/nowhere/ca.pem")
    hosts = local_hosts([WatcherSettings(name="local"), faulty], ManualClock())
    host = hosts.of(HostKey(None, "nas"))
    assert host.state.connection == "refused"
    assert "CAFILE=/nowhere/ca.pem cannot be read" in str(host.state.reason)
    with pytest.raises(EngineAuthBlocked, match="cannot be read"):
        await host.reader.list_containers()
    host.note(None)
    assert host.state.connection == "refused", "what was never sent has no outcome"
    await hosts.close()


def test_a_key_that_is_not_configured_names_the_host() -> None:
    hosts = local_hosts([WatcherSettings(name="local")], ManualClock())
    with pytest.raises(HostUnavailable, match="Watcher gone is not running"):
        hosts.of(HostKey(None, "gone"))
    with pytest.raises(HostUnavailable, match="Agent edge-a is not connected"):
        hosts.of(HostKey("edge-a", "local"))
    assert full_engine(hosts.of(HostKey(None, "local"))) is hosts.of(HostKey(None, "local")).reader
