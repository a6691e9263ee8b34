"""What an update does, as generators of effects: no socket, no clock, no store (updates.md §5–§7, §9).

`update` is the whole of it, `preflight` what comes before the first change, `clone` and `podman` how the old container's
document becomes the new one's, `health_gate` the judgement, `rollback` the way back, `recovery` what a crash left behind.
"""
