"""Watching: one watcher per host = schedule, discovery, check, events (watching.md).

What runs on a host is asked of `hosts/`, what is new of `registries/`; what that means is decided in `core/`, and written
into `fleet/` here, field by field. Updating containers is not here.
"""
