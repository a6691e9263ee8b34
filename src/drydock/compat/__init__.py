"""What exists only for other people's clients: Dockhand's routes, the WUD shim, names of former versions."""
