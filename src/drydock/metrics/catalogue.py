"""Every metric by name, with its labels (platform.md §10, updates.md §14.5, registries.md §10).

Rooms that may not import this one are given the families, or callables around them, by `app`.
"""

from __future__ import annotations

from drydock.metrics import containers, process
from drydock.metrics.families import Alias, Computed, Counter, Family, Gauge, Histogram, Registry, Summary

LOGIN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
UPDATE_BUCKETS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600)
WATCH_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SEND_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OUTCOMES = ("success", "invalid", "locked", "error")
LOGIN_PROVIDERS = ("basic", "oidc")


class Metrics:
    """The families of this process. `documents` gives the containers at each scrape."""

    def __init__(self, documents: containers.Documents, version: str = "") -> None:
        self.registry = Registry()
        self._of_fleet(documents)
        self._of_work()
        self._of_people()
        self.registry.add(*process.families())
        self.registry.add(
            Computed("drydock_build_info", "The version that runs", lambda: [((("version", version),), 1.0)])
        )

    def _of_fleet(self, documents: containers.Documents) -> None:
        type_name = ("type", "name")
        self.maintenance_skips = Counter(
            "dd_watcher_maintenance_skip_total", "Checks skipped outside the maintenance window", type_name
        )
        self.logger_failures = Counter("dd_watcher_logger_init_failures_total", "Fallback loggers used", type_name)
        self.registry_response = Summary("dd_registry_response", "Seconds that registries took to answer", type_name)
        self.watch_seconds = Histogram(
            "drydock_watch_duration_seconds", "How long full checks of a host took", type_name, WATCH_BUCKETS
        )
        self.agents_connected = Gauge("drydock_agent_connected", "1 while an agent answers, else 0", ("agent",))
        self.registry.add(*containers.families(documents), self.maintenance_skips, self.logger_failures)
        self.registry.add(self.registry_response, self.watch_seconds, self.agents_connected)

    def _of_work(self) -> None:
        self.triggers = Counter("dd_trigger_count", "Actions and notifications run", ("type", "name", "status"))
        self.rollbacks = Counter("dd_trigger_rollback_total", "Rollbacks", ("type", "name", "outcome", "reason"))
        self.actions = Counter("dd_container_actions_total", "Actions of users on containers", ("action",))
        self.webhooks = Counter("dd_webhook_total", "Webhook calls", ("action",))
        self.audit_entries = Counter("dd_audit_entries_total", "Audit entries written", ("action",))
        self.legacy = Counter("dd_legacy_input_total", "Old names that were used", ("source", "key"))
        self.update_seconds = Histogram(
            "dd_update_duration_seconds", "How long updates took", ("outcome",), UPDATE_BUCKETS
        )
        self.updates_recovered = Counter("dd_update_recovered_total", "Operations settled after a restart", ("result",))
        self.operations = Counter("drydock_update_operations_total", "Update operations that ended", ("status",))
        self.send_seconds = Histogram(
            "dd_notification_send_seconds", "How long sending a message took", ("type", "name"), SEND_BUCKETS
        )
        self.outbox = Gauge("drydock_outbox_entries", "Messages kept for delivery", ("status",))
        self.updates_active = Gauge("dd_update_active", "Updates that run now")
        work: tuple[Family, ...] = (
            self.triggers,
            Alias("dd_trigger_count_total", self.triggers),
            self.rollbacks,
            self.actions,
            self.webhooks,
            self.audit_entries,
            self.legacy,
            self.update_seconds,
            self.updates_recovered,
            self.updates_active,
            self.operations,
            self.send_seconds,
            self.outbox,
        )
        self.registry.add(*work)

    def _of_people(self) -> None:
        both = ("outcome", "provider")
        self.logins = Counter("drydock_auth_login_total", "Attempts to sign in", both)
        self.login_seconds = Histogram(
            "drydock_auth_login_duration_seconds", "Time that verifications took", both, LOGIN_BUCKETS
        )
        self.unknown_users = Counter("drydock_auth_username_mismatch_total", "Attempts with an unknown user name")
        self.accounts_locked = Gauge("drydock_auth_account_locked_total", "Accounts locked now")
        self.addresses_locked = Gauge("drydock_auth_ip_locked_total", "Addresses locked now")
        for outcome in OUTCOMES:
            for provider in LOGIN_PROVIDERS:
                self.logins.inc(0, outcome=outcome, provider=provider)
        self.registry.add(self.logins, self.login_seconds, self.unknown_users, self.accounts_locked)
        self.registry.add(self.addresses_locked)

    def text(self) -> bytes:
        """The body of `GET /metrics`."""
        return self.registry.text()
