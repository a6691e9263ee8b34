"""The endpoints that Dockhand clients call: environments by number, statistics by environment (dockhand-stats.md).

Nothing else of Drydock depends on this; the formulas of the figures are in `stats/figures.py`.
"""
