"""A thin client of a running server, for commands that need one."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 60


class ClientError(Exception):
    """The server refused or did not answer; the text says what to do."""


@dataclass(frozen=True)
class Client:
    """Asks one server. `token` is an API key or token, sent as a bearer credential to this server only."""

    server: str
    token: str | None = None

    def get(self, path: str, **query: str) -> Any:
        """The JSON document at `path`. Raises ClientError."""
        return self.call("GET", path, query)

    def text(self, path: str, **query: str) -> str:
        """The text at `path`. Raises ClientError."""
        return self._send("GET", path, query, None).decode(errors="replace")

    def call(self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> Any:
        """One request for a JSON document. Raises ClientError with the server's own words."""
        answer = self._send(method, path, query, None if body is None else json.dumps(body).encode())
        try:
            return json.loads(answer)
        except ValueError as error:
            raise ClientError(f"The server at {self.server} is not Drydock. See --server.") from error

    def url(self, path: str, query: dict[str, str] | None = None) -> str:
        """The address of `path` at this server."""
        return f"{self.server.rstrip('/')}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")

    def _send(self, method: str, path: str, query: dict[str, str] | None, data: bytes | None) -> bytes:
        try:
            headers = {"Accept": "application/json"}
            if data is not None:
                headers["Content-Type"] = "application/json"
            if self.token:
                headers["Authorization"] = f"Bearer {self.token}"
            request = urllib.request.Request(self.url(path, query), data, headers, method=method)
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                found: bytes = answer.read()
                return found
        except urllib.error.HTTPError as error:
            try:
                document = json.load(error)
            except ValueError:
                document = {}
            text = document.get("error", error.reason)
            scope = (document.get("details") or {}).get("requiredScope")
            if error.code == 401:
                text = f"{text}: give a token with --token, --token-file or DD_CLIENT_TOKEN"
            elif scope:
                text = f"{text} (the token lacks the scope {scope!r})"
            raise ClientError(str(text)) from error
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise self.unreachable(getattr(error, "reason", error)) from error

    def unreachable(self, reason: object) -> ClientError:
        """No server answers, with what to do about it."""
        return ClientError(f"No Drydock answers at {self.server} ({reason}). Is it running? See --server.")


def client(server: str, token: str | None, token_file: str | None) -> Client:
    """A client with the token given, or the one in the file."""
    if token is None and token_file is not None:
        try:
            token = Path(token_file).read_text("utf-8").strip()
        except OSError as error:
            raise ClientError(f"The token file {token_file} cannot be read: {error.strerror}") from error
    return Client(server, token)
