"""The HTTP/1.1 connection with bounds that uvicorn does not have: size and time of a request's head.

A head larger than `HEAD_BYTES`, or one that is not complete after `HEAD_S`, ends the connection with the API's error envelope, so
that strangers can neither fill the memory nor hold connections by sending a byte now and then. Bodies are bounded in
`api.middleware`. What a request means is not judged here.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 64 * 1024
"""Request line and headers together."""
HEAD_S: Final = 20.0
"""How long a head may take from the first byte, and how long a connection may say nothing useful."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `http=` of `uvicorn.Config`."""

    head_s: float = HEAD_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head = self._raw = 0
        self._in_head = False
        self._refusal = HTTPStatus.BAD_REQUEST
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        began = self._in_head
        super().data_received(data)
        if self._in_head:
            self._raw = (self._raw if began else 0) + len(data)
            if self._raw > HEAD_BYTES:  # one endless header, which the parser has not reported yet
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._deadline is None and self._waiting():
            self._arm()

    def _waiting(self) -> bool:
        """Nothing is being answered: a head is on its way, or there is noise between two requests."""
        if self.transport.is_closing():
            return False
        idle = self.cycle is None or self.cycle.response_complete
        return self._in_head or (idle and self.timeout_keep_alive_task is None)

    def on_message_begin(self) -> None:
        self._head, self._in_head = 0, True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        self._disarm()
        super().handle_websocket_upgrade()

    def _grow(self, size: int) -> None:
        self._head += size
        if self._head > HEAD_BYTES:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise ValueError("the request's head is too large")  # the parser stops, and `send_400_response` follows

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.head_s, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._waiting():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        self._refusal = status
        self.send_400_response(status.phrase)

    def send_400_response(self, msg: str) -> None:
        """The answer to an invalid request, in the API's error envelope; the connection ends."""
        del msg
        status = self._refusal
        body = msgspec.json.encode({"error": status.phrase})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "content-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._disarm()
        self.transport.write(head.encode() + body)
        self.transport.close()
