"""Watching: which containers run here, what is newer for each, and why (watching.md).

A `Watcher` is a schedule, a discovery and a check of one Docker host. Decisions are `core`'s; talking is `docker`'s and
`registries`'. What it learns goes into `fleet`, which tells everybody else.
"""
