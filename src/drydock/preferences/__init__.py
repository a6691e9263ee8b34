"""Settings of the instance that people change at run time, and one blob of preferences per user (platform-api.md §5)."""
