"""The event stream (platform.md §2.6)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_", "Event stream", "Live updates of the web interface.")
class StreamSettings:
    """`DD_SSE_*`."""

    sse_max_clients: int = option(
        "SSE_MAX_CLIENTS", kinds.integer(1), default=500, help="Event stream clients at a time.", lenient=True
    )
    sse_debug_log_ip: bool = option(
        "SSE_DEBUG_LOG_IP",
        kinds.boolean(),
        default=False,
        help="Log addresses of event stream clients in clear instead of as a hash.",
        lenient=True,
    )
