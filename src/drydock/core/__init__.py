"""Pure decisions: no I/O, no clock, no randomness except as arguments. Imports nothing of the other rooms."""
