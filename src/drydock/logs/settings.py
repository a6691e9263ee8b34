"""The server's own log (platform.md §2.4)."""

from __future__ import annotations

from typing import Literal

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_LOG_", "Log", "The server's own log.")
class LogSettings:
    """`DD_LOG_*`."""

    level: Literal["fatal", "error", "warn", "info", "debug", "trace"] = option(
        "LEVEL",
        kinds.choice("fatal", "error", "warn", "info", "debug", "trace"),
        default="info",
        help="Lowest level written.",
    )
    format: Literal["text", "json"] = option(
        "FORMAT", kinds.choice("text", "json"), default="text", help="`json`: one object per line.", lenient=True
    )
    buffer_enabled: bool = option(
        "BUFFER_ENABLED",
        kinds.boolean(),
        default=True,
        help="Keep the last 1,000 entries for the log endpoints.",
        lenient=True,
    )
