"""The audit log: its catalogue, what is written from events, and the trail that everybody appends to."""

from drydock.audit.trail import AuditTrail as Audit

__all__ = ["Audit"]
