"""How a host wants to be signed in to: what is known beforehand, and what a challenge teaches (registries.md §5.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from yarl import URL

from drydock.registries.headers import Challenge
from drydock.registries.instances import Instance
from drydock.registries.routing import PUBLIC_ECR
from drydock.registries.spec import PULL_SCOPE

_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|tags|blobs)/")


@dataclass(frozen=True)
class Login:
    """One way to sign in. `scope` is a template with `{name}`, a fixed text, or None for no scope at all."""

    scheme: Literal["none", "basic", "bearer", "ecr"]
    realm: URL | None = None
    service: str | None = None
    scope: str | None = None
    shared: bool = False

    @property
    def server(self) -> tuple[str, URL | None, str | None]:
        """What makes two ways the same for a second try."""
        return self.scheme, self.realm, self.service

    def scope_of(self, name: str) -> str | None:
        """The scope for one repository."""
        return self.scope.replace("{name}", name) if self.scope is not None else None


NONE = Login("none")
BASIC = Login("basic")
ECR = Login("ecr")
ECR_PUBLIC = Login("bearer", URL("https://public.ecr.aws/token/"), shared=True)


def known_login(instance: Instance, host: str) -> Login | None:
    """What the type says about signing in; None when only a challenge can tell."""
    row = instance.provider
    if instance.type == "ecr":
        return ECR_PUBLIC if host == PUBLIC_ECR else (ECR if instance.credentialed else None)
    if row.token_url and (row.token_for == "all" or instance.credentialed):
        realm = URL(row.token_url.format(authurl=instance.authurl, host=host))
        service = row.service.format(host=host) if row.service else None
        return Login("bearer", realm, service, row.scope, shared=row.shared_token and not instance.credentialed)
    return BASIC if row.basic and instance.credentials() else None


def learn(challenges: Sequence[Challenge], url: URL, name: str, *, credentialed: bool) -> list[Login]:
    """The ways a 401 offers, Bearer first; Basic only when there is something to send."""
    bearer = [_bearer(challenge, url, name) for challenge in challenges if challenge.scheme == "bearer"]
    basic = [BASIC for challenge in challenges if challenge.scheme == "basic" and credentialed]
    return [login for login in bearer if login is not None] + basic[:1]


def repository_of(url: URL, fallback: str) -> str:
    """The repository name in an API path; a redirect may have led to another name."""
    match = _REPOSITORY.search(url.path)
    return match[1] if match else fallback


def _bearer(challenge: Challenge, url: URL, name: str) -> Login | None:
    text = challenge.params.get("realm", "").strip()
    if not text:
        return None
    try:
        realm = url.join(URL(text))
    except ValueError:
        return None
    if realm.scheme not in ("http", "https") or not realm.host or realm.user is not None:
        return None
    scope = _pull_only(challenge.params.get("scope", ""))
    template = scope.replace(f":{name}:", ":{name}:") if scope else PULL_SCOPE
    return Login("bearer", realm.with_fragment(None), challenge.params.get("service") or None, template)


def _pull_only(scope: str) -> str:
    """A challenge's scope without actions that change something."""
    return " ".join(part for part in (_without_writes(word) for word in scope.split()) if part)


def _without_writes(word: str) -> str:
    head, colon, actions = word.rpartition(":")
    if not colon:
        return word
    kept = [action for action in actions.split(",") if action not in ("push", "delete")]
    return f"{head}:{','.join(kept)}" if kept else ""
