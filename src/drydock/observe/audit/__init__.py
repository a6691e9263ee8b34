"""The audit log: its catalogue, what is written from events, and the trail that everybody appends to."""
