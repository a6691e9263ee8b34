"""Resource usage of containers: figures, snapshots, collection while there are viewers, the fleet summary (container-api.md §10).

The one-round statistics of Dockhand clients are in `compat/dockhand/`; metrics of the process are in `metrics/`.
"""
