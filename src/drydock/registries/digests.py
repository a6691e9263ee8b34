"""Digests of tags and what they lead to: HEAD first, documents by digest, platform entry, configuration (registries.md §4.3–4.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import structlog
from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import RegistryError
from drydock.registries import faults, manifests
from drydock.registries.cache import DiskCache
from drydock.registries.client import FACT_LIFE_S, Client, failed
from drydock.registries.headers import digest_of
from drydock.registries.hosts import authority, is_digest, is_tag
from drydock.registries.manifests import Config, Platform
from drydock.registries.routing import Route
from drydock.registries.transport import Ask, Call
from drydock.registries.wire import Answer
from drydock.single_flight import SingleFlight

log = structlog.get_logger("registries")

MANIFEST_CAP = 4 * 1024 * 1024
CONFIG_CAP = 8 * 1024 * 1024
MOST_LEVELS = 3
NO_HEAD = frozenset({400, 405, 501})


@dataclass(frozen=True)
class Resolved:
    """Where a digest leads for one platform. `platform_digest`: the manifest; `config_digest`: the image id.

    `schema1`: an old document that only tells `created` and cannot be compared.
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


class Digests:
    """Answers questions about digests; documents come from the cache once they were seen."""

    def __init__(self, client: Client, cache: DiskCache, clock: Clock) -> None:
        self._client = client
        self._cache = cache
        self._clock = clock
        self._documents: SingleFlight[_Document] = SingleFlight()
        self._configs: SingleFlight[Config] = SingleFlight()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._documents.close()
        await self._configs.close()

    async def head(self, route: Route, tag: str, call: Call, *, listed: bool = False) -> str:
        """Digest of the top-level document of a tag; `listed`: the tag list has it, so a 404 is not believed.

        Raises `RegistryError` and its children.
        """
        if not is_tag(tag) and not is_digest(tag):
            raise RegistryError(f"{faults.clean(tag)} is not a valid tag")
        facts = self._client.facts(call.instance, authority(URL(route.api_base)))
        if facts.no_head_until > self._clock.monotonic():
            return await self._by_get(route, tag, call)
        answer = await self._ask("HEAD", route, tag, call, "head")
        digest = digest_of(answer.headers) if answer.status == 200 else None
        if digest is not None:
            return digest
        if answer.status not in NO_HEAD and answer.status != 200 and not (answer.status == 404 and listed):
            raise failed(answer, route, f"tag {tag}")
        digest = await self._by_get(route, tag, call)
        if answer.status != 404:
            facts.no_head_until = self._clock.monotonic() + FACT_LIFE_S
        return digest

    async def resolve(self, route: Route, digest: str, platform: Platform, call: Call) -> Resolved:
        """What `digest` means for `platform`. Raises `RegistryError` and its children; a missing configuration is none."""
        if not is_digest(digest):
            raise RegistryError(f"{faults.clean(digest)} is not a valid digest")
        for _ in range(MOST_LEVELS + 1):
            document = await self._document(route, digest, call)
            if document.kind == "schema1":
                return Resolved(digest, created=manifests.schema1_created(document.content), schema1=True)
            if document.kind == "manifest":
                return await self._configured(route, digest, document, call)
            entry = manifests.choose(document.content, platform)
            digest = entry["digest"]
            if manifests.is_config(entry):
                config = await self._config(route, digest, None, call)
                return Resolved(digest, digest, config.created, config.labels)
        raise RegistryError(f"manifest index nested past {MOST_LEVELS} levels")

    async def manifest(self, route: Route, reference: str, call: Call) -> bytes | None:
        """The bytes of a manifest as they are; None when there is none. For what stands beside an image."""
        answer = await self._ask("GET", route, reference, call, "manifest")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise failed(answer, route, f"manifest {reference}")
        return answer.body

    async def blob(self, route: Route, digest: str, call: Call, cap: int) -> bytes:
        """The bytes of a blob of at most `cap` bytes, checked against its digest."""
        if not is_digest(digest):
            raise RegistryError(f"{faults.clean(digest)} is not a valid digest")
        url = URL(f"{route.api_base}/{route.name}/blobs/{digest}", encoded=True)
        answer = await self._client.request(Ask("GET", url, {"Accept": "*/*"}, cap, "blob"), call, route.name)
        if answer.status != 200:
            raise failed(answer, route, f"blob {digest}")
        if manifests.content_digest(answer.body, digest) != digest:
            raise RegistryError(f"{route.host}: digest mismatch for a blob of {route.repository}")
        return answer.body

    async def _configured(self, route: Route, digest: str, document: _Document, call: Call) -> Resolved:
        config_digest, data = manifests.config_descriptor(document.content)
        if config_digest is None:
            return Resolved(digest)
        config = await self._config(route, config_digest, data, call)
        return Resolved(digest, config_digest, config.created, config.labels)

    async def _by_get(self, route: Route, tag: str, call: Call) -> str:
        """The digest of what GET answers; the bytes decide, not the header. Keeps the document for `resolve`."""
        answer = await self._get_manifest(route, tag, call)
        digest = manifests.content_digest(answer.body)
        await self._read(answer, digest, call)
        return digest

    async def _document(self, route: Route, digest: str, call: Call) -> _Document:
        kept = await self._kept("manifest", digest, call)
        if kept is not None:
            call.ledger.served(call.label)
            return _Document(manifests.kind_of(manifests.decode(kept[1]), kept[0]), manifests.decode(kept[1]))
        key = call.instance.credential_id, route.host, route.repository, digest
        return await self._documents.run(key, lambda: self._fetch(route, digest, call))

    async def _fetch(self, route: Route, digest: str, call: Call) -> _Document:
        answer = await self._get_manifest(route, digest, call)
        if manifests.content_digest(answer.body, digest) != digest:
            raise RegistryError(f"{route.host}: digest mismatch for {route.repository}@{digest}")
        return await self._read(answer, digest, call)

    async def _read(self, answer: Answer, digest: str, call: Call) -> _Document:
        content = manifests.decode(answer.body)
        media = answer.headers.get("Content-Type") or ""
        kind = manifests.kind_of(content, media)
        await self._cache.put("manifest", _key(call, digest), answer.body, media)
        return _Document(kind, content)

    async def _config(self, route: Route, digest: str, data: bytes | None, call: Call) -> Config:
        """Creation date and labels; empty when they cannot be had, which never fails a digest check."""
        try:
            if data is not None:
                return manifests.read_config(data)
            kept = await self._kept("config", digest, call)
            if kept is not None:
                call.ledger.served(call.label)
                return manifests.read_config(kept[1])
            key = call.instance.credential_id, route.host, route.repository, digest
            return await self._configs.run(key, lambda: self._fetch_config(route, digest, call))
        except RegistryError as error:
            log.warning("registries.config_unreadable", image=f"{route.host}/{route.repository}", reason=error.message)
            return Config(None, {})

    async def _fetch_config(self, route: Route, digest: str, call: Call) -> Config:
        url = URL(f"{route.api_base}/{route.name}/blobs/{digest}", encoded=True)
        ask = Ask("GET", url, {"Accept": manifests.ACCEPT_CONFIG}, CONFIG_CAP, "blob")
        answer = await self._client.request(ask, call, route.name)
        if answer.status != 200:
            raise failed(answer, route, "image configuration")
        if manifests.content_digest(answer.body, digest) != digest:
            raise RegistryError(f"{route.host}: digest mismatch for the configuration of {route.repository}")
        config = manifests.read_config(answer.body)
        await self._cache.put("config", _key(call, digest), answer.body)
        return config

    async def _kept(self, kind: str, digest: str, call: Call) -> tuple[str, bytes] | None:
        kept = await self._cache.get(kind, _key(call, digest))
        if kept is None or manifests.content_digest(kept[1], digest) == digest:
            return kept
        log.warning("registries.cache_entry_damaged", kind=kind, digest=digest)
        await self._cache.drop(kind, _key(call, digest))
        return None

    async def _get_manifest(self, route: Route, reference: str, call: Call) -> Answer:
        answer = await self._ask("GET", route, reference, call, "manifest")
        if _media_type_refused(answer):
            answer = await self._ask("GET", route, reference, call, "manifest", manifests.ACCEPT_OLD)
        if answer.status != 200:
            what = f"manifest {reference}" if is_digest(reference) else f"tag {reference}"
            raise failed(answer, route, what)
        return answer

    async def _ask(
        self, method: str, route: Route, reference: str, call: Call, kind: str, accept: str = manifests.ACCEPT
    ) -> Answer:
        url = URL(f"{route.api_base}/{route.name}/manifests/{reference}", encoded=True)
        return await self._client.request(Ask(method, url, {"Accept": accept}, MANIFEST_CAP, kind), call, route.name)


def _key(call: Call, digest: str) -> str:
    return f"{call.instance.credential_id}|{digest}"


def _media_type_refused(answer: Answer) -> bool:
    return answer.status == 406 or (answer.status == 404 and b"accept header" in answer.body.lower())
