"""The audit log (platform.md §9): the trail that every room writes to, its catalogue of actions, and entries of events.

The hash chain lives in `store.audit`. Who writes uses `kernel.audit`; who asked is `request_context`.
"""
