"""Prometheus metrics (platform.md §10): families and their text form, what events count, what is read at a scrape.

No room knows this one: they publish events, or keep a number that `room.Needs` asks for.
"""
