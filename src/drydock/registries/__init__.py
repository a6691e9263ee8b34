"""Container registries over HTTP: which instance serves an image, its tags, digests and dates (registries.md).

Start at `room.py`, then `spec.py` (one row per provider). Three layers: what is asked (`poll.py` with `tag_lists.py`,
`documents.py`, `push_dates.py`), one request with its sign-in (`client.py`, `sign_in.py`), bytes and manners
(`transport.py`, `limiter.py`, over `drydock.http`). What a tag list means is decided in `core.tags`; pulling images is the
Engine's work.
"""
