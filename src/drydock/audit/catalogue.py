"""Every action that may stand in the audit log (platform.md §9). A test keeps writers and documentation to it."""

from __future__ import annotations

from typing import Final

ACTIONS: Final[frozenset[str]] = frozenset(
    {
        # what happens to containers
        "container-added",
        "container-removed",
        "container-update",
        "container-unhealthy",
        "container-start",
        "container-stop",
        "container-restart",
        "container-delete",
        "env-reveal",
        "preview",
        "maturity-cleared",
        # updates
        "update-available",
        "update-applied",
        "update-applied-dryrun",
        "update-failed",
        "update-queued",
        "update-cancelled",
        "auto-update-blocked",
        "rollback",
        "auto-rollback",
        "compose-updated",
        "compose-sync-failed",
        "update-policy-override-set",
        "update-policy-override-cleared",
        "hook-configured",
        "hook-pre-success",
        "hook-pre-failed",
        "hook-post-success",
        "hook-post-failed",
        "mqtt-command-update",
        # security
        "security-alert",
        "security-scan-passed",
        "security-scan-passed-relative",
        "security-scan-blocked",
        "security-scan-failed",
        "security-scan-skipped",
        "security-signature-verified",
        "security-signature-blocked",
        "security-signature-failed",
        "security-sbom-generated",
        "security-sbom-failed",
        "scanner-asset-pull-started",
        "scanner-asset-pull-succeeded",
        "scanner-asset-pull-failed",
        "scanner-asset-warm-started",
        "scanner-asset-warm-succeeded",
        "scanner-asset-warm-failed",
        # messages, agents, webhooks
        "notification-delivery-failed",
        "notification-rule-changed",
        "agent-disconnect",
        "webhook-watch",
        "webhook-watch-container",
        "webhook-update",
        # people
        "auth-login",
        "auth-logout",
        "api-key-created",
        "api-key-rotated",
        "api-key-revoked",
        "api-key-used-first-time",
        "settings-changed",
        "debug-dump",
    }
)
