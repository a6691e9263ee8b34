"""What helps to find a fault: the debug dump, and the health of the parts (platform-api.md §4.6, §16.1)."""
