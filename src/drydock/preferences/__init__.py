"""Settings that people change at run time: those of the instance, and one blob of preferences per user (platform-api.md §5).

Not here: what variables configure (`config/`), and what the update mode permits (`updates/`).
"""
