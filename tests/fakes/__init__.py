"""Twins of things outside, in memory, that pass the same conformance suites as the real ones."""
