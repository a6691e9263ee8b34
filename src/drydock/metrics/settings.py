"""The Prometheus endpoint (platform.md §2.4, §10)."""

from __future__ import annotations

from collections.abc import Iterator

from drydock.config import kinds
from drydock.config.reader import Reading
from drydock.config.schema import option, section
from drydock.config.source import Problem
from drydock.core.secret import Secret


@section("DD_PROMETHEUS_", "Metrics", "The Prometheus endpoint.")
class MetricsSettings:
    """`DD_PROMETHEUS_*`."""

    enabled: bool = option(
        "ENABLED", kinds.boolean(), default=True, help="`false`: `/metrics` answers with an empty body."
    )


@section("DD_METRICS_", "Metrics of containers", "What else `/metrics` contains.")
class ContainerMetricsSettings:
    """`DD_METRICS_*`."""

    containerstats: bool = option(
        "CONTAINERSTATS",
        kinds.boolean(),
        default=False,
        help="CPU and memory of every running container; asks the Engines in each interval of statistics.",
    )


@section("DD_SERVER_", "Access to the metrics", "Who may read `/metrics`.")
class MetricsAccessSettings:
    """`DD_SERVER_METRICS_*`."""

    metrics_auth: bool = option(
        "METRICS_AUTH", kinds.boolean(), default=True, help="`/metrics` asks for the API's credentials."
    )
    metrics_token: Secret | None = option(
        "METRICS_TOKEN", kinds.secret(), default=None, help="Bearer token for `/metrics`, at least 16 characters."
    )

    @staticmethod
    def problems(reading: Reading[MetricsAccessSettings]) -> Iterator[Problem]:
        """A token that can be guessed is refused."""
        token = reading.settings.metrics_token if reading.settings else None
        if token is not None and len(token.reveal()) < 16:
            yield Problem("DD_SERVER_METRICS_TOKEN", "[REDACTED] is too short, must have 16 characters", fatal=True)
