"""The only place that builds I/O objects from the settings, starts them in order and stops them in reverse.

`server` puts the whole process together; each other module builds one room for it. `light` holds what one-shot commands
need as well, and imports neither the HTTP framework nor the store.
"""
