"""The event stream of the web interface: names, payloads, replay, limits, acknowledgements (platform-api.md §12)."""
