"""mock: writes messages to the log instead of sending them (notifications.md §12.19)."""

from __future__ import annotations

import structlog

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.notify.model import Message, Provider, Tools

log = structlog.get_logger("notify.mock")


@section("DD_NOTIFICATION_MOCK_", "mock", "Messages to Drydock's own log, to try templates and rules.", family=True)
class MockOptions:
    """`DD_NOTIFICATION_MOCK_<NAME>_*`."""

    mock: str = option("MOCK", kinds.text(), default="mock", help="A word that is logged with each message.")


class MockChannel:
    """Logs."""

    def __init__(self, options: MockOptions, tools: Tools) -> None:
        del tools
        self._options = options

    async def send(self, message: Message) -> None:
        """Log the message."""
        log.info("notify.message", mock=self._options.mock, rule=message.rule, title=message.title, body=message.body)


PROVIDER = Provider(type="mock", options=MockOptions, open=MockChannel, for_trial=True)
