"""One object per watched Engine, here or behind an agent (agents.md §1, §2).

An Engine is reached through its `Host`, found by the container, the operation or the key; whether an agent stands in between is
decided here and nowhere else. What is watched on a host, and when, is not here (`watch/`).
"""
