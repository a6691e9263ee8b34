"""Carrying out plans: the journal that survives, the executor that performs effects, the worker, locks, hooks, backups."""
