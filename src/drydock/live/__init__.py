"""What browsers receive live: the event stream with its replay and limits, and acknowledged self-updates (platform-api.md §12).

Frames and queues are in `drydock.sse`; HTTP is in `api.routes.events`. Logs and statistics have their own streams.
"""
