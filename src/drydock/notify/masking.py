"""The configuration of a trigger as it may be shown (notifications.md §11.2).

Secrets are replaced whole; addresses of services stay readable without user name, password and query values.
"""

from __future__ import annotations

from typing import Any

from drydock.core.secret import MASK

_TELLING = frozenset(
    [
        "host",
        "hostname",
        "url",
        "urls",
        "webhook",
        "webhookurl",
        "channel",
        "channelid",
        "roomid",
        "apikey",
        "token",
        "password",
        "username",
        "user",
        "botusername",
        "cmd",
        "topic",
    ]
)


def strict(node: Any) -> Any:
    """A configuration for logs and the debug dump: also what only tells where and to whom is masked, at any depth."""
    if isinstance(node, dict):
        return {key: _hidden(value) if key.lower() in _TELLING else strict(value) for key, value in node.items()}
    return [strict(item) for item in node] if isinstance(node, list) else node


def _hidden(value: Any) -> Any:
    if isinstance(value, list):
        return [MASK for _ in value]
    return value if value in (None, "") else MASK
