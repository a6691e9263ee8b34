"""Icons of containers: fetched once from public collections, checked, kept on disk (platform-api.md §15).

`room.py` gives them, `sources.py` lists the collections, `svg.py` makes drawings harmless. The browser never loads an icon
from elsewhere; which icon a container shows is decided by its labels, not here.
"""
