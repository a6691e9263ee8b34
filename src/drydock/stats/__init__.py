"""What containers cost: figures, snapshots, collection with an audience, the fleet summary (container-api.md §10)."""
