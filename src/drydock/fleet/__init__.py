"""The one picture of all containers: in memory, indexed, encoded once, written through to the store.

Rooms further up change a container only through `fleet.Fleet`.
"""
