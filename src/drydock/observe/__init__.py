"""Observation: what containers say (`logs`) and what they cost (`stats`). Audit and metrics live beside them."""
