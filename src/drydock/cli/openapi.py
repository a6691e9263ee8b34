"""`drydock openapi`: the document that the server serves, without a server."""

from __future__ import annotations

import sys


def run() -> int:
    """Print the OpenAPI document."""
    import msgspec

    from drydock import __version__
    from drydock.api.application import schema
    from drydock.compat.application import ROUTES

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(schema(__version__, ROUTES)), indent=2))
    sys.stdout.write("\n")
    return 0
