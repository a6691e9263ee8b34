"""What Drydock reports about its own condition: the health of its parts and the debug dump (platform-api.md §4.6, §16.1).

Redaction of the dump is here too. What each room knows about itself is the room's; logs and metrics are separate rooms.
"""
