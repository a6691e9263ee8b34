"""`drydock healthcheck`: for the HEALTHCHECK line of a container image."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 5


def run(server: str) -> int:
    """0 when `/health` answers 200, else 1 with the reason on standard error."""
    try:
        with urllib.request.urlopen(f"{server.rstrip('/')}/health", timeout=TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError, ValueError) as error:
        print(f"not healthy: {getattr(error, 'reason', error)}", file=sys.stderr)
        return 1
