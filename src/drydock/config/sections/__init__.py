"""The sections of the configuration, one module per group; `config.load` holds the explicit list."""
