"""What the room speaks about: messages, providers with their channels, and configured triggers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from drydock.clock import Clock
from drydock.config.components import Component, Member, SectionClass, shown
from drydock.core.errors import DrydockError
from drydock.core.policy.automation import AutoMode
from drydock.http.client import HttpClient
from drydock.notify.options import CommonOptions

Category = Literal["action", "notification"]
Rule = Literal[
    "update-available",
    "update-applied",
    "update-failed",
    "security-alert",
    "agent-disconnect",
    "agent-reconnect",
    "container-unhealthy",
    "maturity-cleared",
]
Document = dict[str, Any]
"""A container as the API shows it, with `notificationEvent` for everything but found updates; redacted."""


class DeliveryFailed(DrydockError):
    """A message was not delivered; the text says what the service answered and holds no secret."""

    code = "delivery-failed"
    default = "The message could not be delivered"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said. `title` None: send the text alone. `batch`: about several containers, even if it is one now."""

    rule: Rule
    title: str | None
    body: str
    containers: tuple[Document, ...]
    batch: bool = False
    digest_kind: str | None = None
    """Set for a digest whose `containers` are rows of findings, not containers: `security-alert-digest`."""


class Channel(Protocol):
    """A way to a service, opened for one trigger."""

    async def send(self, message: Message) -> None:
        """Deliver. Raises `DeliveryFailed`."""
        ...


@dataclass(frozen=True)
class Tools:
    """What channels need from outside; `environ` is the environment of the process."""

    http: HttpClient
    clock: Clock
    environ: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Provider(Member):
    """A type of trigger that sends: `open` gives the channel of one trigger, from the values of its options."""

    open: Callable[[Any, Tools], Channel]
    common: SectionClass | None = CommonOptions
    category: Category = "notification"

    def trigger(self, component: Component[Any], tools: Tools) -> Trigger:
        """The trigger of a component, with its channel."""
        channel = self.open(component.settings, tools)
        return Trigger(self, component.name, component.common, component.settings, channel)


@dataclass(frozen=True)
class Trigger:
    """One configured trigger. `settings` are of the provider's section."""

    provider: Provider
    name: str
    options: CommonOptions
    settings: Any
    channel: Channel = field(repr=False)

    @property
    def id(self) -> str:
        return f"{self.type}.{self.name}"

    @property
    def type(self) -> str:
        return self.provider.type

    @property
    def category(self) -> Category:
        return self.provider.category

    @property
    def auto(self) -> AutoMode:
        """The mode in force; the default depends on the category."""
        return self.options.auto or ("all" if self.category == "notification" else "oninclude")

    def configuration(self) -> dict[str, Any]:
        """Effective options with defaults, secrets masked; a new value at every call."""
        return {**shown(self.settings), **shown(self.options), "auto": self.auto}
