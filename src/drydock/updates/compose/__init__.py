"""Compose projects: which file, which service, the edit in place, and hooks of a service (updates.md §11)."""
