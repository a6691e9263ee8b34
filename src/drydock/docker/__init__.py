"""The Docker Engine API: connection, documents, events, log frames. Imports `core` only.

`api.py` is what the rest sees: `EngineReader`, and `Engine` for what changes something. Which Engine belongs to which
container is decided in `hosts/`.
"""
