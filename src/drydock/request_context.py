"""Who requested what happens now: set when a request is admitted, read where its consequences are written.

An update that a person starts runs long after the answer, through queue, journal and batches; each task it starts inherits
this value, so that the audit log names the person and no code in between has to pass the name on (platform.md §9).
"""

from __future__ import annotations

from contextvars import ContextVar

from drydock.core.audit import Requester

_ASKING: ContextVar[Requester | None] = ContextVar("requester", default=None)


def asked_by(who: Requester) -> None:
    """From now on this task, and those it starts, act for `who`."""
    _ASKING.set(who)


def requester() -> Requester | None:
    """For whom this task acts; None for what Drydock does by itself."""
    return _ASKING.get()
