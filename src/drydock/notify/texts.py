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
    """This server's name until an Engine reports one."""
    agents: bool = False
    """Whether agents are configured, so that local containers are distinguished from theirs."""

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
    title = _BATCH_TITLES[rule].format(len(documents))
    if rule == "update-available" and options.batchtitle != BATCH_TITLE:
        title = render(options.batchtitle, {"containers": list(documents), "count": len(documents)})
    return Message(
        rule=rule,
        title=None if options.disabletitle else title,
        body="\n".join(f"- {body}\n" for body in bodies),
        containers=tuple(documents),
        batch=True,
    )


def variables(document: Document, place: Place) -> dict[str, Any]:
    """The names that simple templates know (§8.2)."""
    kind, result = _part(document, "updateKind"), _part(document, "result")
    container = {
        **document,
        "notificationAgentPrefix": place.prefix(document),
        "notificationServerName": place.server_of(document),
        "notificationWatcherSuffix": place.suffix(document),
    }
    if notes := _part(result, "releaseNotes"):
        container["result"] = result = {**result, "releaseNotes": _cut(notes)}
    if notes := _part(document, "currentReleaseNotes"):
        container["currentReleaseNotes"] = _cut(notes)
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
    title, body = _built_in(rule, document, place)
    if rule != "update-available":
        return title, body
    known = variables(document, place)
    if options.simpletitle != SIMPLE_TITLE:
        title = render(options.simpletitle, known)
    if options.simplebody != SIMPLE_BODY:
        body = render(options.simplebody, known)
    return title, body


def _built_in(rule: Rule, document: Document, place: Place) -> tuple[str, str]:
    """Title and text of each rule (notifications.md §8.4)."""
    event, kind, result = (_part(document, name) for name in ("notificationEvent", "updateKind", "result"))
    prefix, suffix, name = place.prefix(document), place.suffix(document), str(document.get("name") or "")
    container = f"{prefix}Container {name}"
    match rule:
        case "update-available":
            what = kind.get("kind", "unknown")
            link = f"\n{result['link']}" if result.get("link") else ""
            if what == "digest":
                tag = _tag(document)
                title = f"{prefix}New image available for container {name}{suffix} (tag {tag})"
                return title, f"{container}{suffix} running tag {tag} has a newer image available{link}"
            local, remote = kind.get("localValue") or "", kind.get("remoteValue") or ""
            title = f"{prefix}New {what} found for container {name}{suffix}"
            return title, f"{container}{suffix} running with {what} {local} can be updated to {what} {remote}{link}"
        case "update-applied":
            return f"{container} updated successfully", f"{container} updated successfully"
        case "update-failed":
            return f"{container} update failed", f"{container} update failed: {event.get('error', '')}"
        case "security-alert":
            title = f"{prefix}Security alert for container {name}"
            blocking = event.get("blockingCount")
            more = f" ({blocking} blocking vulnerabilities)" if blocking else ""
            return title, f"{title}{more}\n{event.get('details', '')}"
        case "agent-disconnect":
            title = f"Agent {event.get('agentName', name)} disconnected"
            return title, f"{title}: {event['reason']}" if event.get("reason") else title
        case "agent-reconnect":
            title = f"Agent {event.get('agentName', name)} reconnected"
            return title, title
        case "container-unhealthy":
            was = f" (was {event['previousHealth']})" if event.get("previousHealth") else ""
            return f"{container} is unhealthy", f"{container} has entered the unhealthy state{was}"
        case "maturity-cleared":
            target = kind.get("remoteValue") or result.get("tag") or result.get("digest") or ""
            days = event.get("minAgeDays")
            minimum = f" ({days} day minimum)" if days is not None else ""
            title = f"{prefix}Update ready for container {name}{suffix}"
            return title, f"{container}{suffix} can now be updated to {target}: the maturity period has passed{minimum}"


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
