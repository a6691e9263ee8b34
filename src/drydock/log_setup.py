"""The server's own log: events with fields, as text for people or one JSON object per line (platform.md §7).

Values that are secrets print `***` by their type; this module only decides level, shape and where lines go.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {"fatal": 50, "error": 40, "warn": 30, "info": 20, "debug": 10, "trace": 5}
QUIET_LIBRARIES = ("aiohttp", "asyncio", "aiosqlite", "alembic", "litestar", "sqlalchemy", "uvicorn", "websockets")


def configure(level: str, shape: str, stream: TextIO = sys.stderr, extra: Sequence[Processor] = ()) -> None:
    """Set up structlog and the standard logging of libraries once, at start. `extra` sees each event before it is rendered."""
    threshold = LEVELS.get(level, logging.INFO)
    renderer: Any = structlog.processors.JSONRenderer() if shape == "json" else _text_renderer(stream)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _name_component,
            *extra,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(max(threshold, logging.DEBUG)),
        logger_factory=_NamedLoggers(stream),
        cache_logger_on_first_use=False,
    )
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def _text_renderer(stream: TextIO) -> Any:
    return structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)


class _NamedLogger(structlog.WriteLogger):
    """A line writer that knows the component it belongs to."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.component = name


class _NamedLoggers:
    """Makes a logger for each `structlog.get_logger(name)`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, *names: Any) -> _NamedLogger:
        return _NamedLogger(self._stream, str(names[0]) if names else "drydock")


def _name_component(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.setdefault("component", getattr(logger, "component", "drydock"))
    return event
