"""One object per watched Engine, here or behind an agent: everything that asks an Engine asks its host (agents.md §2)."""
