"""The providers: one module each. A new one is its own file and a line in this list.

A module declares its options (`config.schema`), a pure `render(options, message) -> [Request]` or its own channel,
and a `PROVIDER`. Sending, retries, proxies, masking, validation and the reference of its options come from those.
"""

from __future__ import annotations

from drydock.notify.model import Provider
from drydock.notify.providers import command, http, mock, ntfy

PROVIDERS: tuple[Provider, ...] = (
    command.PROVIDER,
    http.PROVIDER,
    mock.PROVIDER,
    ntfy.PROVIDER,
)
