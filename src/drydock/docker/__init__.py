"""Docker Engine adapter: everything that speaks the Engine API. Imports `core` only."""
