"""http: the containers themselves to any web hook (notifications.md §12.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote_plus

from yarl import URL

from drydock.config import kinds
from drydock.config.components import Wrong
from drydock.config.kinds import Kind
from drydock.config.schema import option, section
from drydock.core.secret import Secret
from drydock.http.addresses import NO_METADATA
from drydock.http.client import HttpRequest
from drydock.notify.model import Message, Provider
from drydock.notify.sending import basic, bearer, json_request, over_http


def _word(*words: str, fold: bool) -> Kind[str]:
    """One of the upper-case words; `fold` accepts them in any case."""

    def read(text: str) -> str:
        word = text.strip().upper() if fold else text
        if word not in words:
            raise ValueError(text)
        return word

    return Kind("choice", " or ".join(words), read, empty_is_unset=True)


@section("DD_NOTIFICATION_HTTP_", "http", "Containers as JSON to a URL of your choice.", family=True)
class HttpOptions:
    """`DD_NOTIFICATION_HTTP_<NAME>_*`."""

    url: str | None = option("URL", kinds.service_url("http", "https"), default=None, help="Target address. Required.")
    method: str = option(
        "METHOD", _word("GET", "POST", fold=False), default="POST", help="`GET` puts everything into the query."
    )
    auth_type: str | None = option(
        "AUTH_TYPE", _word("BASIC", "BEARER", fold=True), default=None, help="`BASIC` by default."
    )
    auth_user: str | None = option("AUTH_USER", kinds.text(), default=None, help="User name of `BASIC`.")
    auth_password: Secret | None = option("AUTH_PASSWORD", kinds.secret(), default=None, help="Password of `BASIC`.")
    auth_bearer: Secret | None = option("AUTH_BEARER", kinds.secret(), default=None, help="Token of `BEARER`.")
    proxy: str | None = option("PROXY", kinds.service_url("http", "https"), default=None, help="An HTTP proxy.")
    allowmetadata: bool = option(
        "ALLOWMETADATA",
        kinds.boolean(),
        default=False,
        help="Allow link-local addresses and those of cloud metadata services.",
    )


def render(options: HttpOptions, message: Message) -> Sequence[HttpRequest]:
    """One request: the container, or the list of containers."""
    url = options.url or ""
    content: Any = list(message.containers) if message.batch else message.containers[0]
    if message.digest_kind is not None:
        rows = list(message.containers)
        content = {"title": message.title, "body": message.body, "eventKind": message.digest_kind, "containers": rows}
    scheme, headers = _auth_type(options), {}
    if scheme == "BEARER" and options.auth_bearer:
        headers = bearer(options.auth_bearer)
    if scheme == "BASIC" and options.auth_user and options.auth_password:
        headers = basic(options.auth_user, options.auth_password)
    more: dict[str, Any] = {
        "headers": headers,
        "redirects": 0,
        "proxy": options.proxy,
        "rule": None if options.allowmetadata else NO_METADATA,
    }
    if options.method == "POST":
        return [json_request(url, content, **more)]
    pairs = "&".join(f"{quote_plus(name, safe='[]')}={quote_plus(value)}" for name, value in _flat("", content))
    base, sharp, fragment = url.partition("#")
    return [HttpRequest("GET", URL(f"{base}{'&' if '?' in base else '?'}{pairs}{sharp}{fragment}"), **more)]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Pairs in bracket notation; what is empty or missing is left out."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{prefix}[{key}]" if prefix else str(key), item)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            nested = isinstance(item, dict | list | tuple) or not prefix
            yield from _flat(f"{prefix}[{place if nested else ''}]" if prefix else str(place), item)
    elif value is not None:
        yield prefix, str(value).lower() if isinstance(value, bool) else str(value)


def _auth_type(options: HttpOptions) -> str | None:
    """The scheme; None when nothing about credentials is configured."""
    given = (options.auth_type, options.auth_user, options.auth_password, options.auth_bearer)
    return (options.auth_type or "BASIC") if any(one is not None for one in given) else None


def _check(options: HttpOptions) -> Sequence[Wrong]:
    needed: dict[str, object] = {"url": options.url}
    scheme = _auth_type(options)
    if scheme == "BASIC":
        needed |= {"auth.user": options.auth_user, "auth.password": options.auth_password}
    if scheme == "BEARER":
        needed["auth.bearer"] = options.auth_bearer
    return [Wrong(f'"{name}" is required') for name, value in needed.items() if value is None]


PROVIDER = Provider(type="http", options=HttpOptions, open=over_http(render), check=_check)
