"""The folder of icons: age, limits, atomic writes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from drydock.icons.cache import IconCache
from drydock.icons.settings import IconSettings
from drydock.icons.sources import IconName, icon_name
from kit.clock import SkippingClock


def name(slug: str) -> IconName:
    return icon_name("simple", slug)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


def test_an_icon_is_fresh_for_its_time_to_live(tmp_path: Path, clock: SkippingClock) -> None:
    cache = IconCache(tmp_path, clock, IconSettings(cache_ttl_s=1.0))
    assert cache.read(name("a")) is None
    cache.write(name("a"), b"x")
    assert cache.read(name("a")) == (b"x", True)
    clock.advance(1.1)
    assert cache.read(name("a")) == (b"x", False)
    cache.write(name("a"), b"y")
    assert cache.read(name("a")) == (b"y", True)


def test_files_are_private_and_nothing_temporary_stays(tmp_path: Path, clock: SkippingClock) -> None:
    cache = IconCache(tmp_path / "icons", clock, IconSettings())
    cache.write(name("a"), b"x")
    path = tmp_path / "icons" / "simple" / "a.svg"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert kept(tmp_path) == ["a.svg"]


def test_a_write_that_fails_leaves_the_old_icon(tmp_path: Path, clock: SkippingClock) -> None:
    cache = IconCache(tmp_path, clock, IconSettings())
    path = tmp_path / "simple" / "a.svg"
    path.mkdir(parents=True)  # cannot be replaced by a file
    with pytest.raises(OSError, match=r"a\.svg"):
        cache.write(name("a"), b"x")
    assert os.listdir(path.parent) == ["a.svg"]


@pytest.mark.parametrize("limits", [{"cache_max_files": 2}, {"cache_max_bytes": 6}])
def test_the_oldest_make_room_and_the_newest_stays(
    tmp_path: Path, clock: SkippingClock, limits: dict[str, Any]
) -> None:
    cache = IconCache(tmp_path, clock, IconSettings(cache_enforcement_interval_s=0.001, **limits))
    for slug in "abcd":
        cache.write(name(slug), b"xxx")
        clock.advance(1)
    assert kept(tmp_path) == ["c.svg", "d.svg"]


def test_the_icon_just_written_is_protected(tmp_path: Path, clock: SkippingClock) -> None:
    cache = IconCache(tmp_path, clock, IconSettings(cache_max_bytes=2))
    cache.write(name("a"), b"xxxx")
    assert kept(tmp_path) == ["a.svg"]


def test_room_is_made_at_most_once_in_an_interval(tmp_path: Path, clock: SkippingClock) -> None:
    cache = IconCache(tmp_path, clock, IconSettings(cache_max_files=1, cache_enforcement_interval_s=5.0))
    for slug in "abc":
        cache.write(name(slug), b"x")
    assert len(kept(tmp_path)) == 3
    clock.advance(6)
    cache.write(name("d"), b"x")
    assert kept(tmp_path) == ["d.svg"]


def test_clearing_counts_icons_only(tmp_path: Path, clock: SkippingClock) -> None:
    cache = IconCache(tmp_path, clock, IconSettings())
    assert cache.clear() == 0
    cache.write(name("a"), b"x")
    cache.write(icon_name("homarr", "b.png"), b"x")
    (tmp_path / "simple" / ".left.part").write_bytes(b"of a crash")
    assert cache.clear() == 2
    assert kept(tmp_path) == []
