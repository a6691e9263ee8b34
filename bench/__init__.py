"""The figures that Drydock promises (docs/architecture.md): measured on whole processes, printed by `make bench`."""
