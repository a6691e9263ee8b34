"""Digests of tags and what they lead to: HEAD first, documents by digest, platform entry, configuration (registries.md §4.3–4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from drydock.clock import Clock
from drydock.core.errors import RegistryError
from drydock.core.reference import is_digest, is_tag
from drydock.http.client import Answer
from drydock.registries import errors, manifests
from drydock.registries.cache import DiskCache
from drydock.registries.client import FACT_LIFE_S, Client, failed
from drydock.registries.instances import Route
from drydock.registries.manifests import Config, Platform
from drydock.registries.transport import Account, RegistryRequest
from drydock.single_flight import SingleFlight

log = structlog.get_logger("registries")

MANIFEST_CAP = 4 * 1024 * 1024
CONFIG_CAP = 8 * 1024 * 1024
MOST_LEVELS = 3
NO_HEAD = frozenset({400, 405, 501})


@dataclass(frozen=True)
class Resolved:
    """Where a digest leads for one platform. `platform_digest`: the manifest; `config_digest`: the image id.

    `schema1`: an old document that only contains `created` and cannot be compared.
    """

    platform_digest: str
    config_digest: str | None = None
    created: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    schema1: bool = False


@dataclass(frozen=True)
class _Document:
    kind: manifests.Kind
    content: dict[str, Any]


class Documents:
    """Answers questions about digests; documents come from the cache once they were seen.

    All raise `RegistryError` and its children.
    """

    def __init__(self, client: Client, cache: DiskCache, clock: Clock) -> None:
        self._client = client
        self._cache = cache
        self._clock = clock
        self._reads: SingleFlight[_Document] = SingleFlight()
        self._configs: SingleFlight[Config] = SingleFlight()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._reads.close()
        await self._configs.close()

    async def head(self, route: Route, tag: str, account: Account, *, listed: bool = False) -> str:
        """Digest of the top-level document of a tag; `listed`: the tag list has it, so a 404 is not believed."""
        if not is_tag(tag) and not is_digest(tag):
            raise RegistryError(f"{errors.clean(tag)} is not a valid tag")
        facts = self._client.facts(route.needed, route.authority)
        status = 0
        if facts.no_head_until <= self._clock.monotonic():
            request = _manifest_request(route, tag, account, "HEAD")
            answer = await self._client.request(request)
            status = answer.status
            digest = digest_of(answer.headers) if status == 200 else None
            if digest is not None:
                return digest
            if status not in NO_HEAD and status != 200 and not (status == 404 and listed):
                raise failed(answer, request, f"tag {tag}")
        # the bytes of a GET decide, not its header; the document serves `resolve` as well
        answer = await self._get_manifest(route, tag, account)
        digest = manifests.content_digest(answer.body)
        await self._read(route, digest, answer)
        if status not in (0, 404):
            facts.no_head_until = self._clock.monotonic() + FACT_LIFE_S
        return digest

    async def resolve(self, route: Route, digest: str, platform: Platform, account: Account) -> Resolved:
        """What `digest` means for `platform`; a configuration that cannot be had is none."""
        _check_digest(digest)
        for _ in range(MOST_LEVELS + 1):
            document = await self._document(route, digest, account)
            if document.kind == "schema1":
                return Resolved(digest, created=manifests.schema1_created(document.content), schema1=True)
            if document.kind == "manifest":
                config_digest, data = manifests.config_descriptor(document.content)
                if config_digest is None:
                    return Resolved(digest)
                config = await self._config(route, config_digest, data, account)
                return Resolved(digest, config_digest, config.created, config.labels)
            entry = manifests.choose(document.content, platform)
            digest = entry["digest"]
            if manifests.is_config(entry):
                config = await self._config(route, digest, None, account)
                return Resolved(digest, digest, config.created, config.labels)
        raise RegistryError(f"manifest index nested past {MOST_LEVELS} levels")

    async def manifest(self, route: Route, reference: str, account: Account) -> bytes | None:
        """The bytes of a manifest as they are; None when there is none. For what stands beside an image."""
        request = _manifest_request(route, reference, account)
        answer = await self._client.request(request)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise failed(answer, request, f"manifest {reference}")
        return answer.body

    async def blob(self, route: Route, digest: str, account: Account, cap: int, accept: str = "*/*") -> bytes:
        """The bytes of a blob of at most `cap` bytes, checked against its digest."""
        _check_digest(digest)
        url = route.url(f"blobs/{digest}")
        request = RegistryRequest("GET", url, {"Accept": accept}, cap, "blob", route, account)
        answer = await self._client.request(request)
        if answer.status != 200:
            raise failed(answer, request, f"blob {digest}")
        if manifests.content_digest(answer.body, digest) != digest:
            raise RegistryError(f"{route.host}: digest mismatch for a blob of {route.repository}")
        return answer.body

    async def _document(self, route: Route, digest: str, account: Account) -> _Document:
        kept = await self._kept("manifest", route, digest)
        if kept is not None:
            account.served(route)
            content = manifests.decode(kept[1])
            return _Document(manifests.kind_of(content, kept[0]), content)

        async def fetch() -> _Document:
            answer = await self._get_manifest(route, digest, account)
            if manifests.content_digest(answer.body, digest) != digest:
                raise RegistryError(f"{route.host}: digest mismatch for {route.repository}@{digest}")
            return await self._read(route, digest, answer)

        return await self._reads.run((*route.key, digest), fetch)

    async def _read(self, route: Route, digest: str, answer: Answer) -> _Document:
        content = manifests.decode(answer.body)
        media = answer.headers.get("Content-Type") or ""
        kind = manifests.kind_of(content, media)
        await self._cache.put("manifest", _key(route, digest), answer.body, media)
        return _Document(kind, content)

    async def _config(self, route: Route, digest: str, data: bytes | None, account: Account) -> Config:
        """Creation date and labels; empty when they cannot be had, which never fails a digest check."""

        async def fetch() -> Config:
            body = await self.blob(route, digest, account, CONFIG_CAP, manifests.ACCEPT_CONFIG)
            config = manifests.read_config(body)
            await self._cache.put("config", _key(route, digest), body)
            return config

        try:
            if data is not None:
                return manifests.read_config(data)
            kept = await self._kept("config", route, digest)
            if kept is not None:
                account.served(route)
                return manifests.read_config(kept[1])
            return await self._configs.run((*route.key, digest), fetch)
        except RegistryError as error:
            log.warning("registries.config_unreadable", image=f"{route.host}/{route.repository}", reason=error.message)
            return Config(None, {})

    async def _kept(self, kind: str, route: Route, digest: str) -> tuple[str, bytes] | None:
        """The document from the disk, if its bytes are still those of its digest."""
        kept = await self._cache.get(kind, _key(route, digest))
        if kept is None or manifests.content_digest(kept[1], digest) == digest:
            return kept
        log.warning("registries.cache_entry_damaged", kind=kind, digest=digest)
        await self._cache.drop(kind, _key(route, digest))
        return None

    async def _get_manifest(self, route: Route, reference: str, account: Account) -> Answer:
        request = _manifest_request(route, reference, account)
        answer = await self._client.request(request)
        if answer.status == 406 or (answer.status == 404 and b"accept header" in answer.body.lower()):
            request = _manifest_request(route, reference, account, accept=manifests.ACCEPT_OLD)
            answer = await self._client.request(request)
        if answer.status != 200:
            raise failed(answer, request, f"manifest {reference}" if is_digest(reference) else f"tag {reference}")
        return answer


def digest_of(headers: Mapping[str, str]) -> str | None:
    """The digest of a document from `Docker-Content-Digest`, else from an `ETag` of that form."""
    tag = (headers.get("ETag") or "").removeprefix("W/").strip('"')
    for text in ((headers.get("Docker-Content-Digest") or "").strip(), tag):
        if is_digest(text):
            return text
    return None


def _manifest_request(
    route: Route, reference: str, account: Account, method: str = "GET", accept: str = manifests.ACCEPT
) -> RegistryRequest:
    kind = "head" if method == "HEAD" else "manifest"
    url = route.url(f"manifests/{reference}")
    return RegistryRequest(method, url, {"Accept": accept}, MANIFEST_CAP, kind, route, account)


def _check_digest(digest: str) -> None:
    if not is_digest(digest):
        raise RegistryError(f"{errors.clean(digest)} is not a valid digest")


def _key(route: Route, digest: str) -> str:
    """Rights and digest: content is the same in every repository, but not every caller may read it."""
    return f"{route.needed.credential_id}|{digest}"
