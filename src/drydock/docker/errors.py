"""What an Engine's refusals and a broken connection mean in the product's own errors (`core.errors.EngineError`).

Podman's habits are translated here too: it answers 500 where Docker answers 409, and plain-text 404 for calls it lacks.
"""

from __future__ import annotations

import contextlib
import errno
import ssl
from collections.abc import Iterator

import aiohttp
import msgspec

from drydock.core.errors import (
    EngineConflict,
    EngineError,
    EngineNotFound,
    EngineNotSupported,
    EngineUnreachable,
)

_HINTS = {
    errno.ENOENT: "Mount the Docker socket into the container, or set the watcher's SOCKET or HOST.",
    errno.EACCES: "The process may not open the socket: run it with the socket's group, or use a socket proxy.",
    errno.EPERM: "The process may not open the socket: run it with the socket's group, or use a socket proxy.",
    errno.ECONNREFUSED: "Nothing listens there: is the Docker Engine running, and HOST and PORT right?",
    errno.EHOSTUNREACH: "The host cannot be reached from here: check the network and a firewall.",
}

# Words of a registry's refusal, as the Engine repeats them, and what the operator can do.
_PULL_HINTS = (
    (("toomanyrequests", "rate limit"), "The registry's pull limit is used up: configure credentials, or wait."),
    (
        ("unauthorized", "access denied", "no basic auth credentials", "authentication required"),
        "The registry wants credentials: configure DD_REGISTRY_* for its host.",
    ),
    (
        ("x509", "certificate"),
        "The Engine does not trust the registry's certificate: add its CA to /etc/docker/certs.d.",
    ),
    (("http response to https client",), "The registry speaks plain HTTP: add it to the Engine's insecure-registries."),
    (("no space left",), "The Engine's disk is full: remove unused images."),
    (("dial tcp", "no such host", "timeout", "connection refused"), "The Engine cannot reach the registry."),
)

_ABSENT = ("manifest unknown", "name unknown", "not found", "no such image", "repository does not exist")


def refusal(status: int, body: bytes, call: str) -> EngineError:
    """The error for an answer of 300 or more to `call` (method and path)."""
    text = message_of(body)
    if 300 <= status < 400:
        return EngineError(f"Unexpected redirect for {call}", engine_status=status)
    if status == 404 and (not _is_document(body) or text == "page not found"):
        return EngineNotSupported(f"This Engine does not offer {call}", engine_status=status)
    if status == 404:
        return EngineNotFound(text or None, engine_status=status, hint=pull_hint(text))
    if status == 409 or (status == 500 and "already in use" in text):
        return EngineConflict(text or None, engine_status=status)
    if status in (401, 403):
        return EngineError(
            text or f"{call} was refused",
            engine_status=status,
            hint="Check AUTH_* of the watcher; a socket proxy needs CONTAINERS, IMAGES, EVENTS, and POST for changes.",
        )
    if status in (405, 501):
        return EngineNotSupported(text or f"This Engine does not offer {call}", engine_status=status)
    return EngineError(text or f"{call} failed with status {status}", engine_status=status, hint=pull_hint(text))


def pull_failure(message: str) -> EngineError:
    """The error for a failure that arrives inside the progress of a pull."""
    hint = pull_hint(message)
    absent = hint is None and any(word in message.lower() for word in _ABSENT)
    return EngineNotFound(message, engine_status=404) if absent else EngineError(message, hint=hint)


def pull_hint(message: str) -> str | None:
    """What to do about a failed pull, from the registry's words in the Engine's message."""
    lowered = message.lower()
    return next((hint for words, hint in _PULL_HINTS if any(word in lowered for word in words)), None)


def message_of(body: bytes) -> str:
    """The Engine's own words in an error body."""
    if _is_document(body):
        document = msgspec.json.decode(body)
        if isinstance(document, dict):
            return str(document.get("message") or document.get("cause") or "").strip()
    return body[:300].decode(errors="replace").strip()


@contextlib.contextmanager
def translated(label: str, limit: float | None = None) -> Iterator[None]:
    """Turn every failure of the connection to `label` into `EngineUnreachable` with what to do about it."""
    try:
        yield
    except TimeoutError as error:
        after = f" within {limit:g} s" if limit else ""
        raise EngineUnreachable(f"The Docker Engine at {label} did not answer{after}") from error
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        raise EngineUnreachable(
            f"No secure connection to the Docker Engine at {label}: {error}",
            hint="Check CAFILE, CERTFILE and KEYFILE of the watcher, and the host name in the Engine's certificate.",
        ) from error
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        reason = error.os_error.strerror or str(error.os_error)
        hint = _HINTS.get(number) if number is not None else None
        raise EngineUnreachable(f"Cannot connect to the Docker Engine at {label}: {reason}", hint=hint) from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise EngineUnreachable(f"The connection to the Docker Engine at {label} was lost") from error


def _is_document(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except msgspec.DecodeError:
        return False
