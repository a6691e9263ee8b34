"""SBOM documents as files: exact, private, and nothing but what a reference names."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from drydock.store.sboms import DocumentUnusable, SbomFiles, Stored

SUBJECT = "sha256:" + "a" * 64
DOCUMENT = {"spdxVersion": "SPDX-2.3", "name": "b", "a": [3, 1, 2]}


@pytest.fixture(params=["files", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> SbomFiles:
    return SbomFiles(tmp_path / "sbom" if request.param == "files" else None)


async def test_round_trip_in_canonical_form(files: SbomFiles) -> None:
    stored = await files.put(SUBJECT, "spdx-json", DOCUMENT)
    assert await files.get(stored) == b'{"a":[3,1,2],"name":"b","spdxVersion":"SPDX-2.3"}'
    assert await files.put(SUBJECT, "spdx-json", dict(reversed(DOCUMENT.items()))) == stored


async def test_unknown_and_wrong_references(files: SbomFiles) -> None:
    stored = await files.put(SUBJECT, "spdx-json", DOCUMENT)
    with pytest.raises(DocumentUnusable, match="not found"):
        await files.get(stored._replace(key=f"{'0' * 64}/{'0' * 64}/spdx-json.json"))
    with pytest.raises(DocumentUnusable, match="size mismatch"):
        await files.get(stored._replace(bytes=1))
    with pytest.raises(DocumentUnusable, match="checksum mismatch"):
        await files.get(stored._replace(sha256="0" * 64))


@pytest.mark.parametrize(
    "key", ["../x", "/etc/passwd", f"{'0' * 64}/../spdx-json.json", f"{'0' * 64}/{'0' * 64}/other.json", ""]
)
async def test_keys_that_lead_out(files: SbomFiles, key: str) -> None:
    with pytest.raises(DocumentUnusable, match="Invalid SBOM document ref"):
        await files.get(Stored(key, "0" * 64, 1))


async def test_private_modes(tmp_path: pathlib.Path) -> None:
    stored = await SbomFiles(tmp_path / "sbom").put(SUBJECT, "spdx-json", DOCUMENT)
    path = tmp_path / "sbom" / stored.key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:3]} == {0o700}
    assert [one.name for one in path.parent.iterdir()] == ["spdx-json.json"]


@pytest.mark.parametrize("damage", ["link", "folder", "pipe", "linked folder"])
async def test_what_is_no_regular_file(tmp_path: pathlib.Path, damage: str) -> None:
    files = SbomFiles(tmp_path / "sbom")
    stored = await files.put(SUBJECT, "spdx-json", DOCUMENT)
    path = tmp_path / "sbom" / stored.key
    if damage == "linked folder":
        moved = path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(moved)
    else:
        data = path.read_bytes()
        path.unlink()
        if damage == "link":
            (tmp_path / "copy").write_bytes(data)
            path.symlink_to(tmp_path / "copy")
        elif damage == "folder":
            path.mkdir()
        else:
            os.mkfifo(path)
    with pytest.raises(DocumentUnusable, match="Invalid SBOM document ref"):
        await files.get(stored)


async def test_a_disk_that_refuses(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sbom").write_text("a file where the folder should be")
    with pytest.raises(DocumentUnusable, match="could not be written"):
        await SbomFiles(tmp_path / "sbom").put(SUBJECT, "spdx-json", DOCUMENT)


async def test_collecting_what_nobody_names(files: SbomFiles) -> None:
    kept = await files.put(SUBJECT, "spdx-json", DOCUMENT)
    gone = await files.put("sha256:" + "b" * 64, "cyclonedx-json", {"bomFormat": "CycloneDX"})
    assert await files.collect([kept.key]) == 1
    assert await files.get(kept)
    with pytest.raises(DocumentUnusable):
        await files.get(gone)
    assert await files.collect([kept.key]) == 0
