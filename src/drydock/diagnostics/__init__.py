"""What Drydock tells of its own condition: the health of its parts and the debug dump (platform-api.md §4.6, §16.1).

Redaction of the dump is here too. What each room knows of itself is the room's; logs and metrics are rooms of their own.
"""
