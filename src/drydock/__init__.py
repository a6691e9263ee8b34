"""Drydock: a container update manager that says why and never loses a container."""

__version__ = "2.0.0.dev0"
