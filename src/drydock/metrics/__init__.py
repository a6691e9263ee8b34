"""Prometheus metrics: families and their text form, the catalogue of names, and what is collected at a scrape."""
