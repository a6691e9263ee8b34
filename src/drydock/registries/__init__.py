"""Container registries over HTTP: which instance serves an image, its tags, digests and dates (registries.md).

Start reading at `room.py` (what the other rooms use), then `spec.py` (one row per provider). What a tag list means
is decided in `core.tags`; pulling images is the Engine's work.
"""
