"""Release notes: what is new in the version that an update would install (container-api.md §7.8, §7.9)."""
