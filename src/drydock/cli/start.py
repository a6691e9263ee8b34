"""Starts the server lean: what must happen before its modules are imported."""

from __future__ import annotations

import gc
import signal
import sys

from drydock.lean import without


def serve() -> int:
    """Import and run the server; its exit status."""
    # Until the server has its own handler: as process 1 of a container it would not hear SIGTERM at all without one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    gc.disable()  # until it has started: collecting a thousand fresh modules again and again takes 0.3 s
    with without("rich", "better_exceptions"):  # 8 MB, for tracebacks that the server prints without them
        import structlog  # noqa: F401
    from drydock.cli.serve import run

    return run()
