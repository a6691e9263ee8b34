"""What messages say: the document of a container, the variables of templates, and the texts of each rule (notifications.md §8.2–8.4).

A trigger whose templates are the documented defaults gets the richer texts of §8.4: the same for a local tag update,
better for digests, agents and watchers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from drydock.core.model import ContainerView
from drydock.notify.model import Document, Message, Rule
from drydock.notify.options import BATCH_TITLE, SIMPLE_BODY, SIMPLE_TITLE, CommonOptions
from drydock.notify.templates.render import render

LONGEST_NOTES = 500


@dataclass(frozen=True)
class Place:
    """Where this process is, for the prefix and suffix of §8.3."""

    server: str
    """This server's name while no Engine told one."""
    agents: bool = False
    """Whether agents are configured, so that local containers are told apart from theirs."""

    ask: Callable[[], str | None] = lambda: None
    """The name in force: configured, or reported by the Engine; None while unknown (platform.md §2.1)."""

    @property
    def name(self) -> str:
        """This server's name."""
        return self.ask() or self.server

    def prefix(self, document: Document) -> str:
        """`[agent] `, or `[server] ` for local containers where there are agents."""
        if agent := document.get("agent"):
            return f"[{agent}] "
        return f"[{self.name}] " if self.agents else ""

    def suffix(self, document: Document) -> str:
        """` (watcher)`, unless it says nothing new."""
        watcher = str(document.get("watcher") or "")
        known = watcher in ("", "local", "agent")
        if known or (self.prefix(document) and watcher.lower() == self.server_of(document).lower()):
            return ""
        return f" ({watcher})"

    def server_of(self, document: Document) -> str:
        """The agent, or this server."""
        return str(document.get("agent") or self.name)


def document_of(view: ContainerView, event: Mapping[str, Any] | None = None) -> Document:
    """A container as it leaves the process: redacted by its view, with what happened to it."""
    document: Document = msgspec.to_builtins(view)
    return document if event is None else {**document, "notificationEvent": dict(event)}


def simple(rule: Rule, document: Document, options: CommonOptions, place: Place) -> Message:
    """The message about one container."""
    title, body = _simple_texts(rule, document, options, place)
    return Message(rule=rule, title=None if options.disabletitle else title, body=body, containers=(document,))


def batch(rule: Rule, documents: Sequence[Document], options: CommonOptions, place: Place) -> Message:
    """The message about several containers: `- ` and the simple text of each, a blank line between."""
    bodies = (_simple_texts(rule, document, options, place)[1] for document in documents)
    title = _batch_title(rule, documents, options)
    return Message(
        rule=rule,
        title=None if options.disabletitle else title,
        body="\n".join(f"- {body}\n" for body in bodies),
        containers=tuple(documents),
        batch=True,
    )


def variables(document: Document, place: Place) -> dict[str, Any]:
    """The names that simple templates know (§8.2)."""
    container = _for_templates(document, place)
    kind, result = _part(container, "updateKind"), _part(container, "result")
    return {
        "container": container,
        "event": _part(container, "notificationEvent"),
        "releaseNotes": result.get("releaseNotes"),
        "currentReleaseNotes": container.get("currentReleaseNotes"),
        "suggestedTag": result.get("suggestedTag") or result.get("tag") or "",
        "currentTag": _tag(container),
        "isDigestUpdate": kind.get("kind") == "digest",
        "id": container.get("id"),
        "name": container.get("name"),
        "watcher": container.get("watcher"),
        "kind": kind.get("kind"),
        "semver": kind.get("semverDiff"),
        "local": kind.get("localValue"),
        "remote": kind.get("remoteValue"),
        "link": result.get("link"),
    }


def _for_templates(document: Document, place: Place) -> Document:
    container = {
        **document,
        "notificationAgentPrefix": place.prefix(document),
        "notificationServerName": place.server_of(document),
        "notificationWatcherSuffix": place.suffix(document),
    }
    result = _part(document, "result")
    if notes := _part(result, "releaseNotes"):
        container["result"] = {**result, "releaseNotes": _cut(notes)}
    if notes := _part(document, "currentReleaseNotes"):
        container["currentReleaseNotes"] = _cut(notes)
    return container


def _cut(notes: Document) -> Document:
    body = str(notes.get("body") or "")
    return {**notes, "body": f"{body[:LONGEST_NOTES]}…" if len(body) > LONGEST_NOTES else body}


def _tag(document: Document) -> str:
    return str(_part(_part(document, "image"), "tag").get("value") or "")


def _part(document: Document, name: str) -> Document:
    """An object inside a document; empty when it is missing, or something else (callers may send any document)."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _simple_texts(rule: Rule, document: Document, options: CommonOptions, place: Place) -> tuple[str, str]:
    title, body = _BUILT_IN[rule](_Facts(document, place))
    if rule != "update-available":
        return title, body
    known = variables(document, place)
    if options.simpletitle != SIMPLE_TITLE:
        title = render(options.simpletitle, known)
    if options.simplebody != SIMPLE_BODY:
        body = render(options.simplebody, known)
    return title, body


def _batch_title(rule: Rule, documents: Sequence[Document], options: CommonOptions) -> str:
    if rule == "update-available" and options.batchtitle != BATCH_TITLE:
        return render(options.batchtitle, {"containers": list(documents), "count": len(documents)})
    return _BATCH_TITLES[rule].format(len(documents))


class _Facts:
    """The words that the built-in texts are made of."""

    def __init__(self, document: Document, place: Place) -> None:
        self.prefix = place.prefix(document)
        self.name = str(document.get("name") or "")
        self.suffix = place.suffix(document)
        self.event = _part(document, "notificationEvent")
        self.kind = _part(document, "updateKind")
        self.result = _part(document, "result")
        self.tag = _tag(document)

    @property
    def link(self) -> str:
        """A separate line, or nothing."""
        return f"\n{self.result['link']}" if self.result.get("link") else ""


def _available(facts: _Facts) -> tuple[str, str]:
    kind = facts.kind.get("kind", "unknown")
    container = f"{facts.prefix}Container {facts.name}{facts.suffix}"
    if kind == "digest":
        title = f"{facts.prefix}New image available for container {facts.name}{facts.suffix} (tag {facts.tag})"
        return title, f"{container} running tag {facts.tag} has a newer image available{facts.link}"
    title = f"{facts.prefix}New {kind} found for container {facts.name}{facts.suffix}"
    local, remote = facts.kind.get("localValue") or "", facts.kind.get("remoteValue") or ""
    return title, f"{container} running with {kind} {local} can be updated to {kind} {remote}{facts.link}"


def _applied(facts: _Facts) -> tuple[str, str]:
    title = f"{facts.prefix}Container {facts.name} updated successfully"
    return title, title


def _failed(facts: _Facts) -> tuple[str, str]:
    title = f"{facts.prefix}Container {facts.name} update failed"
    return title, f"{title}: {facts.event.get('error', '')}"


def _security(facts: _Facts) -> tuple[str, str]:
    title = f"{facts.prefix}Security alert for container {facts.name}"
    blocking = facts.event.get("blockingCount")
    more = f" ({blocking} blocking vulnerabilities)" if blocking else ""
    return title, f"{title}{more}\n{facts.event.get('details', '')}"


def _disconnected(facts: _Facts) -> tuple[str, str]:
    title = f"Agent {facts.event.get('agentName', facts.name)} disconnected"
    reason = facts.event.get("reason")
    return title, f"{title}: {reason}" if reason else title


def _reconnected(facts: _Facts) -> tuple[str, str]:
    title = f"Agent {facts.event.get('agentName', facts.name)} reconnected"
    return title, title


def _unhealthy(facts: _Facts) -> tuple[str, str]:
    previous = facts.event.get("previousHealth")
    was = f" (was {previous})" if previous else ""
    body = f"{facts.prefix}Container {facts.name} has entered the unhealthy state{was}"
    return f"{facts.prefix}Container {facts.name} is unhealthy", body


def _matured(facts: _Facts) -> tuple[str, str]:
    target = facts.kind.get("remoteValue") or facts.result.get("tag") or facts.result.get("digest") or ""
    days = facts.event.get("minAgeDays")
    minimum = f" ({days} day minimum)" if days is not None else ""
    body = f"{facts.prefix}Container {facts.name}{facts.suffix} can now be updated to {target}: the maturity period has passed"
    return f"{facts.prefix}Update ready for container {facts.name}{facts.suffix}", body + minimum


_BUILT_IN: dict[Rule, Callable[[_Facts], tuple[str, str]]] = {
    "update-available": _available,
    "update-applied": _applied,
    "update-failed": _failed,
    "security-alert": _security,
    "agent-disconnect": _disconnected,
    "agent-reconnect": _reconnected,
    "container-unhealthy": _unhealthy,
    "maturity-cleared": _matured,
}
_BATCH_TITLES: dict[Rule, str] = {
    "update-available": "{} updates available",
    "update-applied": "{} updates applied",
    "update-failed": "{} updates failed",
    "security-alert": "{} security alerts",
    "agent-disconnect": "{} agents disconnected",
    "agent-reconnect": "{} agents reconnected",
    "container-unhealthy": "{} containers became unhealthy",
    "maturity-cleared": "{} updates ready to apply",
}
