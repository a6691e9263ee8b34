"""The endpoints that Dockhand clients call: environments by number, statistics by environment (dockhand-stats.md)."""
