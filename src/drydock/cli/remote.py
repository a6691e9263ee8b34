"""A small client of a running server, for the commands that need one (cli.md).

Errors are told as a person reads them: what happened, and what to do.
"""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from drydock.core.errors import DrydockError
from drydock.core.secret import Secret

CONNECT_LIMIT_S = 5.0
ANSWER_LIMIT_S = 60.0
SHORTEST_PREFIX = 4


class RemoteError(DrydockError):
    """The server cannot be asked, or refuses."""

    code = "server-refused"
    default = "The server refused"


def token_of(token: str | None, token_file: str | None) -> Secret | None:
    """The token of `--token`, else the first line of `--token-file`. Raises `RemoteError` for an unreadable file."""
    if token:
        return Secret(token)
    if token_file is None:
        return None
    try:
        return Secret(pathlib.Path(token_file).read_text().strip())
    except OSError as error:
        raise RemoteError(f"Cannot read the token file: {error.strerror or error}") from error


class Remote:
    """One server. Make it with `connected`."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def json(self, path: str, **query: str) -> Any:
        """GET a JSON document."""
        async with self._answer(path, query) as answer:
            return await answer.json()

    async def text(self, path: str, **query: str) -> str:
        """GET a text."""
        async with self._answer(path, query) as answer:
            return await answer.text()

    @asynccontextmanager
    async def socket(self, path: str, **query: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket. Raises `Refused` where the upgrade is refused."""
        try:
            async with self._session.ws_connect(self.server + path, params=query, max_msg_size=0) as socket:
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(error.status) from error
        except aiohttp.ClientConnectionError as error:
            raise _unreachable(self.server) from error

    async def container(self, name: str) -> dict[str, Any]:
        """The container with this name, id, or unique beginning of an id."""
        listed = (await self.json("/api/v1/containers"))["data"]
        for fits in (_is_id, _is_name, _begins):
            found = [each for each in listed if fits(each, name)]
            if len(found) == 1:
                return dict(found[0])
            if found:
                ids = ", ".join(sorted(each["id"][:12] for each in found))
                raise RemoteError(f"{name} is not unique", hint=f"Give an id: {ids}")
        raise RemoteError(f"No container {name}", hint="`drydock ls` shows the watched containers.")

    @asynccontextmanager
    async def _answer(self, path: str, query: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.get(self.server + path, params=query) as answer:
                if answer.status >= 400:
                    raise await _refusal(answer)
                yield answer
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise _unreachable(self.server) from error


class Refused(RemoteError):
    """An upgrade was refused; `http_status` says why."""

    def __init__(self, http_status: int) -> None:
        super().__init__(f"The server refused the stream ({http_status})")
        self.http_status = http_status


@asynccontextmanager
async def connected(server: str, token: Secret | None) -> AsyncIterator[Remote]:
    """A client of `server` (`http://host:port`), with a bearer token if there is one."""
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    limits = aiohttp.ClientTimeout(total=ANSWER_LIMIT_S, sock_connect=CONNECT_LIMIT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=limits) as session:
        yield Remote(server.rstrip("/"), session)


async def _refusal(answer: aiohttp.ClientResponse) -> RemoteError:
    try:
        body = await answer.json()
    except (ValueError, aiohttp.ContentTypeError):
        body = {}
    message = str(body.get("error") or answer.reason) if isinstance(body, dict) else str(answer.reason)
    details = body.get("details") or {} if isinstance(body, dict) else {}
    if answer.status == 401:
        return RemoteError(
            message, hint="Give an API key with the scope `read`: --token, --token-file or DD_CLIENT_TOKEN."
        )
    if answer.status == 403 and details.get("requiredScope"):
        return RemoteError(message, hint=f"The token lacks the scope `{details['requiredScope']}`.")
    return RemoteError(message, hint=details.get("hint"))


def _unreachable(server: str) -> RemoteError:
    return RemoteError(f"No server answers at {server}", hint="Give its address: --server or DD_CLIENT_SERVER.")


def _is_id(container: dict[str, Any], text: str) -> bool:
    return bool(container["id"] == text)


def _is_name(container: dict[str, Any], text: str) -> bool:
    return text in (container["name"], container.get("displayName"))


def _begins(container: dict[str, Any], text: str) -> bool:
    return len(text) >= SHORTEST_PREFIX and str(container["id"]).startswith(text)


def complaint(error: DrydockError) -> str:
    """The error as a person reads it."""
    return f"{error.message}. {error.hint}" if error.hint else error.message
