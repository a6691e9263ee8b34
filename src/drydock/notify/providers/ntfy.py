"""ntfy: push messages by topic (notifications.md §12.11)."""

from __future__ import annotations

from collections.abc import Sequence

from drydock.config import kinds
from drydock.config.components import Wrong
from drydock.config.schema import option, section
from drydock.core.secret import Secret
from drydock.http.client import HttpRequest
from drydock.notify.model import Message, Provider
from drydock.notify.sending import basic, bearer, json_request, over_http, pieces

LONGEST_BODY = 4096
"""Bytes; ntfy turns more into an attachment, or refuses."""


@section("DD_NOTIFICATION_NTFY_", "ntfy", "Push messages through ntfy.sh or a self-hosted server.", family=True)
class NtfyOptions:
    """`DD_NOTIFICATION_NTFY_<NAME>_*`."""

    url: str = option(
        "URL", kinds.service_url("http", "https"), default="https://ntfy.sh", help="The server, without the topic."
    )
    topic: str | None = option("TOPIC", kinds.text(), default=None, help="Topic of the messages. Required.")
    priority: int | None = option("PRIORITY", kinds.integer(0, 5), default=None, help="1 (lowest) to 5 (urgent).")
    auth_user: Secret | None = option("AUTH_USER", kinds.secret(), default=None, help="User name, with a password.")
    auth_password: Secret | None = option("AUTH_PASSWORD", kinds.secret(), default=None, help="Password of the user.")
    auth_token: Secret | None = option(
        "AUTH_TOKEN", kinds.secret(), default=None, help="Access token; wins over user name and password."
    )


def render(options: NtfyOptions, message: Message) -> Sequence[HttpRequest]:
    """One publication to the server's root per 4096 bytes of text."""
    credentials: dict[str, str] = {}
    if options.auth_token:
        credentials = bearer(options.auth_token)
    elif options.auth_user and options.auth_password:
        credentials = basic(options.auth_user.reveal(), options.auth_password)
    return [
        json_request(
            options.url,
            {"topic": options.topic, "title": message.title, "message": part, "priority": options.priority},
            credentials,
        )
        for part in pieces(message.body, LONGEST_BODY)
    ]


def _check(options: NtfyOptions) -> Sequence[Wrong]:
    if (options.auth_user is None) == (options.auth_password is None):
        return ()
    missing = "auth.password" if options.auth_password is None else "auth.user"
    return [Wrong(f'"{missing}" is required')]


PROVIDER = Provider(
    type="ntfy",
    options=NtfyOptions,
    open=over_http(render),
    check=_check,
    advise=lambda options: () if options.topic else [Wrong('"topic" is missing; the server will refuse messages')],
)
