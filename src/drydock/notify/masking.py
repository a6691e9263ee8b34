"""The configuration of a trigger as it may be shown (notifications.md §11.2).

Secrets are replaced whole; addresses of services stay readable without user name, password and query values.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from drydock.config.kinds import SERVICE_URL
from drydock.config.schema import Option, section_of
from drydock.core.secret import Secret

MASK = "[REDACTED]"
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


def shown(options: Any) -> dict[str, Any]:
    """All options that have a value, nested as their names say (`AUTH_USER` is `auth.user`), masked."""
    found: dict[str, Any] = {}
    for field, spec in section_of(type(options)).fields.items():
        value = getattr(options, field)
        if value is not None:
            _place(found, spec.names[0].lower().split("_"), _masked(spec, value))
    return found


def _place(into: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for parent in parents:
        into = into.setdefault(parent, {})
    into[last] = value


def _masked(spec: Option, value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK
    if spec.kind.name == SERVICE_URL:
        return shown_url(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def strict(node: Any) -> Any:
    """A configuration for logs and the debug dump: also what only tells where and to whom is masked, at any depth."""
    if isinstance(node, dict):
        return {key: _hidden(value) if key.lower() in _TELLING else strict(value) for key, value in node.items()}
    return [strict(item) for item in node] if isinstance(node, list) else node


def _hidden(value: Any) -> Any:
    if isinstance(value, list):
        return [MASK for _ in value]
    return value if value in (None, "") else MASK


def shown_url(url: str) -> str:
    """A URL without its user name, password and query values."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{host}" if at and userinfo else host
    query = "&".join(f"{quote(name)}={MASK}" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))
