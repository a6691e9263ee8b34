"""An image of Drydock itself, put together from this machine: interpreter, standard library, shared libraries, packages.

No base image can be pulled, so the root file system is what the running interpreter and this installation consist of. The
layer is made once per run; images that differ in their configuration share it.
"""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import io
import pathlib
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from .images import Pusher, busybox_entries, digest_of

ROOT = pathlib.Path(__file__).parents[2]
HOME = "usr/local"
LIBRARY = f"{HOME}/lib/python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = f"{LIBRARY}/site-packages"
COMMON = "self/common"
"""The repository into which the layer is uploaded; the others only refer to it."""

PROGRAM = f"#!/{HOME}/bin/python3\nimport sys\nfrom drydock.__main__ import main\nsys.exit(main())\n"

_UNUSED = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages", "pydoc_data"}
_LEFT_OUT = frozenset({"asyncpg", "faker"})
"""Locked, large, and not needed to start a server on SQLite."""

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_LIBRARY_LINE = re.compile(r"(?:=> )?(/\S+) \(0x")


def configuration(port: int, version: str, **more: Any) -> dict[str, Any]:
    """The image configuration, as the Dockerfile has it; the health check costs less than the program's own."""
    check = ["CMD", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{port}/health"]
    return {
        "Env": [f"PATH=/{HOME}/bin:/bin", "DD_STORE_PATH=/store", f"DRYDOCK_IMAGE={version}"],
        "Entrypoint": ["drydock"],
        "Cmd": ["serve"],
        "Volumes": {"/store": {}},
        "Healthcheck": {"Test": check, "Interval": 1_000_000_000, "Timeout": 20_000_000_000, "Retries": 20},
        **more,
    }


def push(images: Pusher, repository: str, tag: str, config: Mapping[str, Any]) -> str:
    """Push one tag; its reference."""
    images.blob(COMMON, layer()[0])
    images.mount(repository, COMMON, digest_of(layer()[0]))
    images.push(repository, tag, config=config, created=f"2026-01-0{int(tag[-1]) + 1}T00:00:00Z", packed=layer())
    return f"{images.host}/{repository}:{tag}"


@functools.cache
def layer() -> tuple[bytes, str]:
    """The one layer: compressed bytes, and the digest of the plain ones."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT, dereference=True) as archive:
        busybox_entries(archive)
        _text(archive, f"{HOME}/bin/drydock", PROGRAM)
        for place, source in sorted({place: source for source, place in _files()}.items()):
            archive.add(source, place, recursive=False)  # modification times keep the bytecode valid
    return gzip.compress(raw.getvalue(), 1, mtime=0), digest_of(raw.getvalue())


def _files() -> Iterator[tuple[pathlib.Path, str]]:
    """Files of this machine, and where they go."""
    interpreter = pathlib.Path(sys.executable).resolve()
    yield interpreter, f"{HOME}/bin/python3"
    found = [interpreter]
    for source, place in (*_standard_library(), *_packages()):
        yield source, place
        if ".so" in source.suffixes:
            found.append(source)
    for library in _shared(found):
        yield library, str(library).lstrip("/")
    authorities = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    if authorities.exists():
        yield authorities, "etc/ssl/certs/ca-certificates.crt"


def _standard_library() -> Iterator[tuple[pathlib.Path, str]]:
    folder = pathlib.Path(sysconfig.get_path("stdlib"))
    for file in folder.rglob("*"):
        inside = file.relative_to(folder)
        unused = _UNUSED & set(inside.parts) or any(part.startswith("config-") for part in inside.parts)
        if file.is_file() and not unused and ".opt-" not in file.name and "_tkinter" not in file.name:
            yield file.resolve(), f"{LIBRARY}/{inside}"


def _packages() -> Iterator[tuple[pathlib.Path, str]]:
    """The locked dependencies as they are installed here, and our own sources."""
    site = pathlib.Path(sysconfig.get_path("purelib"))
    for name in _PINNED.findall((ROOT / "requirements.lock").read_text()):
        if name.lower() not in _LEFT_OUT:
            for listed in importlib.metadata.distribution(name).files or []:
                place = site / listed
                if place.is_file() and not str(listed).startswith(".."):
                    yield place, f"{PACKAGES}/{listed}"
    own = ROOT / "src"
    for file in (own / "drydock").rglob("*"):
        if file.is_file():
            yield file, f"{PACKAGES}/{file.relative_to(own)}"


def _shared(programs: list[pathlib.Path]) -> set[pathlib.Path]:
    """The shared libraries that the programs load, with the loader itself."""
    answer = subprocess.run(["ldd", *map(str, programs)], check=False, capture_output=True, text=True)
    return {pathlib.Path(path) for path in _LIBRARY_LINE.findall(answer.stdout)}


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o755
    archive.addfile(entry, io.BytesIO(text.encode()))
