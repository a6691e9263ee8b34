"""The only place that builds I/O objects from the settings, starts them in order and stops them in reverse."""
