"""Image references: reading them, naming their registry, comparing repositories (watching.md §2, §4; registries.md §2).

Which registry component serves a reference, and how a lookup override is applied, lives in `registries/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from drydock.core.errors import InvalidReference

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
UNKNOWN_TAG = "unknown"

_HUB_HOSTS = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_HUB_PREFIXES = (f"{DOCKER_HUB}/", "registry-1.docker.io/")
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "": ":443"}

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_CONTENT_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_PLAIN_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::\d{1,5})?"
)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed `[domain/]path[:tag][@digest]`; domain and path are lower-case, absent parts are None."""

    path: str
    domain: str | None = None
    tag: str | None = None
    digest: str | None = None

    @property
    def registry_host(self) -> str:
        """Canonical host of the registry, `docker.io` when the reference names none."""
        return canonical_host(self.domain) if self.domain else DOCKER_HUB

    @property
    def repository(self) -> str:
        """Path at the registry: Docker Hub's official images get their `library/`."""
        return official(self.registry_host, self.path)

    def candidates(self) -> list[str]:
        """Every spelling under which an image set may name this repository (watching.md §2), longest forms last."""
        short = self.path.removeprefix("library/")
        prefixes = ["", *_HUB_PREFIXES, *([f"{self.domain}/"] if self.domain else [])]
        return list(dict.fromkeys(f"{prefix}{path}" for prefix in prefixes for path in (self.path, short)))

    def with_tag(self, tag: str) -> Reference:
        """The same repository at another tag, without a digest."""
        return Reference(path=self.path, domain=self.domain, tag=tag)

    def __str__(self) -> str:
        name = f"{self.domain}/{self.path}" if self.domain else self.path
        tag = f":{self.tag}" if self.tag else ""
        return f"{name}{tag}@{self.digest}" if self.digest else f"{name}{tag}"


class Parts(NamedTuple):
    """A reference as text, `name[:tag][@digest]`, each part spelled as it was; a bare image id has no name."""

    name: str
    tag: str | None = None
    digest: str | None = None


def split(text: str) -> Parts:
    """Take a reference apart without judging it: for texts of the Engine, of files and of records. Never raises."""
    if text.startswith("sha256:"):
        return Parts("", digest=text)
    name, _, digest = text.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # the colon of a port
        return Parts(name, digest=digest or None)
    return Parts(head, tag, digest or None)


def pull_name(host: str, repository: str) -> str:
    """The shortest name by which an Engine pulls: without host and `library/` for Docker Hub (host "" means Hub too)."""
    if not host or canonical_host(host) == DOCKER_HUB:
        return repository.removeprefix("library/")
    return f"{host}/{repository}"


def parse(text: str) -> Reference:
    """Read an image reference. Missing parts stay None; defaults (`docker.io`, `latest`) are the caller's.

    Raises InvalidReference with the part that is wrong.
    """
    name, at, digest = text.strip().partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(text, "the digest after '@' must look like sha256:<64 hex digits>")
    domain, rest = None, name
    first, slash, after = name.partition("/")
    # A host is recognised by a dot, a port, upper case, or its name.
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        domain, rest = first.lower(), after
    path, colon, tag = rest.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _invalid(text, "the tag must be 1 to 128 of A-Z a-z 0-9 _ . -")
    if domain is not None and not _DOMAIN.fullmatch(domain):
        raise _invalid(text, "the part before the first '/' is not a registry host")
    if not _PATH.fullmatch(path.lower()):
        raise _invalid(text, "the repository name is missing or has characters that no registry allows")
    return Reference(path=path.lower(), domain=domain, tag=tag or None, digest=digest or None)


def try_parse(text: str) -> Reference | None:
    """`parse`, with None for a text that is no reference."""
    try:
        return parse(text)
    except InvalidReference:
        return None


def _invalid(text: str, why: str) -> InvalidReference:
    return InvalidReference(
        f"Not a valid image reference: {text[:200]!r}: {why}", hint="Use [host/]name[:tag][@digest]"
    )


def canonical_host(host: str) -> str:
    """Bare lower-case `host[:port]`: no scheme, path or default port; all names of Docker Hub become `docker.io`."""
    scheme, separator, rest = host.strip().lower().partition("://")
    if not separator:
        scheme, rest = "", scheme
    bare = rest.split("/", 1)[0].removesuffix(_DEFAULT_PORTS.get(scheme, ":443"))
    return DOCKER_HUB if bare in _HUB_HOSTS else bare


def same_repository(a: Reference, b: Reference) -> bool:
    """Whether both name the same repository of the same registry, whatever the spelling, tag or digest."""
    return a.registry_host == b.registry_host and a.repository == b.repository


def own_digests(image: Reference, repo_digests: Iterable[str]) -> list[str]:
    """Digests of a `RepoDigests` list that belong to this image's repository, in order; all of them when none does.

    Malformed entries (no `@`, an empty side) are ignored (watching.md §5.6).
    """
    pairs = [entry.partition("@")[::2] for entry in repo_digests]
    usable = [(repository, digest) for repository, digest in pairs if repository and digest]
    own = [digest for name, digest in usable if (found := try_parse(name)) and same_repository(found, image)]
    return list(dict.fromkeys(own or [digest for _, digest in usable]))


def is_host(text: str) -> bool:
    """Whether a canonical host may be asked: a plain name or an address, no user, no path."""
    return _PLAIN_HOST.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Whether this is a repository path by the OCI grammar."""
    return len(text) <= 255 and _PATH.fullmatch(text) is not None


def is_tag(text: object) -> bool:
    """Whether this is a tag by the OCI grammar."""
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


def is_digest(text: object) -> bool:
    """Whether this is a sha256 or sha512 digest as registries give it."""
    return isinstance(text, str) and _CONTENT_DIGEST.fullmatch(text) is not None


def official(host: str, repository: str) -> str:
    """The path at the registry: Docker Hub's official images live under `library/`."""
    return f"library/{repository}" if host == DOCKER_HUB and "/" not in repository else repository
