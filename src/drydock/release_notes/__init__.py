"""Release notes: what is new in the version that an update would install (container-api.md §7.8, §7.9).

`room.py` finds and caches them, `source.py` says where an image comes from, `providers.py` asks GitHub and Docker Hub.
"""
